"""Plugin ``selinux``: ``process.selinuxLabel``, ``linux.mountLabel`` (config.md, config-linux.md).

Who mounts and who makes the keyring reads the labels from the config itself; without this plugin a config
that has one is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Handle, Problem
from orlop_linux.plugins.shared import plugin_info

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orlop_hookspecs.documents import Config
    from orlop_hookspecs.hooks.identity import PluginInfo
    from orlop_hookspecs.steps.base import Step

PROCESS = "/process/selinuxLabel"
MOUNT = "/linux/mountLabel"
LABEL_MAX = 4000
"""Bytes of a label: a write to /proc/PID/attr is cut after a page."""
FIELDS_MIN = 3
"""User, role and type; whether a level follows depends on the policy (selinux(8))."""


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info("selinux", "SELinux labels of the process and of mounts", after=("process",))


@hookimpl
def orlop_handles() -> Sequence[Handle]:
    """Return both labels."""
    return (Handle("process.selinuxLabel"), Handle("linux.mountLabel"))


@hookimpl
def orlop_features() -> Mapping[str, Any]:
    """Say that labels are applied."""
    return {"linux.selinux.enabled": True}


def _labels(config: Config) -> Iterator[tuple[str, str]]:
    """Yield pointer and label of what is set; engines write an empty one when they ask for none."""
    process, linux = config.process, config.linux
    if process is not None and process.selinux_label:
        yield PROCESS, process.selinux_label
    if linux is not None and linux.mount_label:
        yield MOUNT, linux.mount_label


@hookimpl
def orlop_validate(config: Config) -> Sequence[Problem]:
    """Refuse what no policy has as a label."""
    return tuple(Problem(pointer, why, label) for pointer, label in _labels(config) for why in _faults(label))


def _faults(label: str) -> Iterator[str]:
    fields = label.split(":", FIELDS_MIN)
    if len(fields) < FIELDS_MIN or not all(fields):
        yield "the label must be user:role:type or user:role:type:level"
    elif not label.isprintable() or " " in label or '"' in label:
        yield "the label contains a space, a quote or a control character"
    elif len(label.encode(errors="surrogateescape")) > LABEL_MAX:
        yield f"the label is longer than {LABEL_MAX} bytes"


@hookimpl
def orlop_plan(config: Config) -> Sequence[Step]:
    """Plan the label of the process, and the question whether the host has SELinux."""
    found = tuple(_labels(config))
    if not found:
        return ()
    from orlop_hookspecs.steps.security import RequireSecurityModule, SetSelinuxLabel

    steps: list[Step] = [RequireSecurityModule(because=pointer, module="selinux") for pointer, _ in found]
    steps += [SetSelinuxLabel(because=pointer, label=label) for pointer, label in found if pointer == PROCESS]
    return steps
