"""Plugin ``capabilities``: ``process.capabilities`` (config.md, Linux Process; capabilities(7)).

"Any value which cannot be mapped to a relevant kernel interface, or cannot be granted otherwise MUST be
logged as a warning by the runtime": the executor does, and leaves it out. The features document lists the
names that are known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Handle, Problem, Remark
from orlop_hookspecs.steps.exec import SetCapabilities
from orlop_linux.plugins.shared import containers, plugin_info

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from orlop_hookspecs.documents import Config
    from orlop_hookspecs.hooks.identity import PluginInfo
    from orlop_hookspecs.steps.base import Step

SETS = ("bounding", "effective", "inheritable", "permitted", "ambient")

NAMES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
"""All capabilities in the order of their numbers (linux/capability.h; Linux 5.9 added the last one)."""


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info("capabilities", "the five capability sets", after=("process",))


@hookimpl
def orlop_handles() -> Sequence[Handle]:
    """Return the five sets."""
    return (
        *containers("process.capabilities", *(f"process.capabilities.{name}" for name in SETS)),
        *(Handle(f"process.capabilities.{name}[]") for name in SETS),
    )


@hookimpl
def orlop_features() -> Mapping[str, Any]:
    """List the names that are known (features-linux.md, Capabilities)."""
    return {"linux.capabilities": list(NAMES)}


@hookimpl
def orlop_validate(config: Config) -> Sequence[Problem]:
    """Refuse effective capabilities that are not permitted: capset(2) refuses the whole set."""
    wanted = config.process and config.process.capabilities
    if not wanted:
        return ()
    permitted = wanted.permitted or ()
    return tuple(
        Problem(
            f"/process/capabilities/effective/{index}",
            "an effective capability must be in the permitted set as well",
            name,
        )
        for index, name in enumerate(wanted.effective or ())
        if name not in permitted and name in NAMES
    )


@hookimpl
def orlop_remark(config: Config) -> Sequence[Remark]:
    """Tell of what is left out on every host: unknown names, and ambient ones that no kernel raises."""
    return tuple(_idle(config))


def _idle(config: Config) -> Iterator[Remark]:
    wanted = config.process and config.process.capabilities
    if not wanted:
        return
    possible = set(wanted.permitted or ()) & set(wanted.inheritable or ())
    for kind in SETS:
        for index, name in enumerate(getattr(wanted, kind) or ()):
            pointer = f"/process/capabilities/{kind}/{index}"
            if name not in NAMES:
                message = "no capability of this name is known: it is left out with a warning"
                yield Remark(pointer, message, name, _close(name))
            elif kind == "ambient" and name not in possible:
                message = "it is not both permitted and inheritable: it is left out with a warning"
                yield Remark(pointer, message, name)


def _close(name: str) -> str:
    from difflib import get_close_matches

    upper = name.upper()
    close = get_close_matches(upper if upper.startswith("CAP_") else f"CAP_{upper}", NAMES, 1, 0.8)
    return f"did you mean {close[0]}?" if close else ""


@hookimpl
def orlop_plan(config: Config) -> Sequence[Step]:
    """Plan the sets as they are listed; what is not listed is dropped."""
    if config.process is None:
        return ()
    wanted = config.process.capabilities
    if wanted is None:
        return (SetCapabilities(because="/process/capabilities"),)
    return (
        SetCapabilities(
            because="/process/capabilities",
            bounding=tuple(wanted.bounding or ()),
            effective=tuple(wanted.effective or ()),
            permitted=tuple(wanted.permitted or ()),
            inheritable=tuple(wanted.inheritable or ()),
            ambient=tuple(wanted.ambient or ()),
        ),
    )
