"""Plugin ``capabilities``: ``process.capabilities`` (config.md, Linux Process; capabilities(7)).

A name that is not in the table is refused rather than warned about, because the features document lists
exactly what is accepted. A known capability that the host or the caller lacks is left out with a warning by
the executor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Handle, Problem
from orlop_hookspecs.steps.exec import SetCapabilities
from orlop_linux.plugins.shared import containers, plugin_info

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    names = frozenset(NAMES)
    return (
        *containers("process.capabilities", *(f"process.capabilities.{name}" for name in SETS)),
        *(
            Handle(f"process.capabilities.{name}[]", values=names, feature="linux.capabilities")
            for name in SETS
        ),
    )


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
        if name not in permitted
    )


def _ordered(names: Sequence[str] | None) -> tuple[str, ...]:
    """Return each of *names* once, in the order of their numbers."""
    wanted = set(names or ())
    return tuple(name for name in NAMES if name in wanted)


@hookimpl
def orlop_plan(config: Config) -> Sequence[Step]:
    """Plan the sets; what is not listed is dropped.

    An ambient capability counts only while it is permitted and inheritable (capabilities(7), Ambient); the
    kernel does not let others be raised, so the executor leaves them out with a warning.
    """
    if config.process is None:
        return ()
    wanted = config.process.capabilities
    if wanted is None:
        return (SetCapabilities(because="/process/capabilities"),)
    return (
        SetCapabilities(
            because="/process/capabilities",
            bounding=_ordered(wanted.bounding),
            effective=_ordered(wanted.effective),
            permitted=_ordered(wanted.permitted),
            inheritable=_ordered(wanted.inheritable),
            ambient=_ordered(wanted.ambient),
        ),
    )
