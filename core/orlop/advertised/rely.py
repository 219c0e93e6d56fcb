"""Which word of a features document speaks for which property of a config.

By config.md, a runtime ignores properties that it does not know (Extensibility) and refuses values that it
does not support (Valid values). So a missing property is lost without a word, and a missing value is an
error. Where the specification says otherwise, or leaves room, the entry here does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SWITCHES: Mapping[str, str] = {
    "process.apparmorProfile": "linux.apparmor.enabled",
    "process.selinuxLabel": "linux.selinux.enabled",
    "mounts[].uidMappings": "linux.mountExtensions.idmap.enabled",
    "mounts[].gidMappings": "linux.mountExtensions.idmap.enabled",
    "linux.mountLabel": "linux.selinux.enabled",
    "linux.intelRdt": "linux.intelRdt.enabled",
    "linux.intelRdt.schemata": "linux.intelRdt.schemata",
    "linux.intelRdt.enableMonitoring": "linux.intelRdt.monitoring",
    "linux.netDevices": "linux.netDevices.enabled",
    "linux.resources.rdma": "linux.cgroup.rdma",
    "linux.resources.unified": "linux.cgroup.v2",
    "linux.seccomp": "linux.seccomp.enabled",
}
"""Properties that a boolean of the document speaks for, with all that is below them."""

SECTIONS: Mapping[str, str] = {"linux.memoryPolicy": "linux.memoryPolicy.modes"}
"""Sections that a list of the document speaks for: who names the words has the section."""

WORDS: Mapping[str, str] = {
    "linux.namespaces[].type": "linux.namespaces",
    "linux.seccomp.defaultAction": "linux.seccomp.actions",
    "linux.seccomp.syscalls[].action": "linux.seccomp.actions",
    "linux.seccomp.syscalls[].args[].op": "linux.seccomp.operators",
    "linux.seccomp.architectures[]": "linux.seccomp.archs",
    "linux.seccomp.flags[]": "linux.seccomp.supportedFlags",
    "linux.memoryPolicy.mode": "linux.memoryPolicy.modes",
    "linux.memoryPolicy.flags[]": "linux.memoryPolicy.flags",
}
"""Values that must stand in a list of the document: others are refused."""

CAPABILITIES = tuple(
    f"process.capabilities.{name}[]"
    for name in ("bounding", "effective", "inheritable", "permitted", "ambient")
)
"""Values that are left out with a warning when the runtime does not know them (config.md, Linux Process)."""

PROTECTING = (
    "hooks",
    "root.readonly",
    "process.user",
    "process.rlimits",
    "process.noNewPrivileges",
    "process.apparmorProfile",
    "process.selinuxLabel",
    "mounts[].options",
    "mounts[].uidMappings",
    "mounts[].gidMappings",
    "linux.devices",
    "linux.gidMappings",
    "linux.maskedPaths",
    "linux.mountLabel",
    "linux.namespaces",
    "linux.readonlyPaths",
    "linux.resources",
    "linux.rootfsPropagation",
    "linux.seccomp",
    "linux.sysctl",
    "linux.uidMappings",
)
"""Properties whose loss leaves a container less confined, or its files with other owners: that is an error,
while the loss of anything else is a warning."""

FOREIGN = ("solaris", "windows", "vm", "zos", "freebsd")
"""Sections of platforms for which features documents have no words."""


def within(path: str, places: Mapping[str, str] | tuple[str, ...]) -> str:
    """Return the longest of *places* that property *path* is, or is below; empty when there is none."""
    found = [one for one in places if path == one or path.startswith((f"{one}.", f"{one}[", f"{one}{{"))]
    return max(found, key=len, default="")
