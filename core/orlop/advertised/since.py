"""Which version of the specification introduced what: the tags of the runtime-spec, compared with each other.

What is not listed is as old as its document: version 1.0.0 for configs, 1.1.0 for features documents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.documents import versions

if TYPE_CHECKING:
    from collections.abc import Mapping

    Release = tuple[int, int, int]

OLDEST: Release = (1, 0, 0)
FIRST_WITH_FEATURES: Release = (1, 1, 0)
"""The release that defines the features document (features.md)."""

FEATURES: Mapping[str, Release] = {
    "potentiallyUnsafeConfigAnnotations": (1, 2, 0),
    "linux.mountExtensions": (1, 2, 0),
    "linux.memoryPolicy": (1, 3, 0),
    "linux.netDevices": (1, 3, 0),
    "linux.intelRdt.schemata": (1, 3, 0),
    "linux.intelRdt.monitoring": (1, 3, 0),
}
"""Properties of the features document by path, with all that is below them."""

CONFIG: Mapping[str, Release] = {
    "vm": (1, 0, 2),
    "process.commandLine": (1, 0, 2),
    "process.user.umask": (1, 0, 2),
    "hooks.createRuntime": (1, 0, 2),
    "hooks.createContainer": (1, 0, 2),
    "hooks.startContainer": (1, 0, 2),
    "linux.personality": (1, 0, 2),
    "linux.resources.rdma": (1, 0, 2),
    "linux.resources.memory.useHierarchy": (1, 0, 2),
    "linux.seccomp.flags": (1, 0, 2),
    "linux.intelRdt.closID": (1, 0, 2),
    "linux.intelRdt.memBwSchema": (1, 0, 2),
    "domainname": (1, 1, 0),
    "zos": (1, 1, 0),
    "process.scheduler": (1, 1, 0),
    "process.ioPriority": (1, 1, 0),
    "mounts[].uidMappings": (1, 1, 0),
    "mounts[].gidMappings": (1, 1, 0),
    "linux.timeOffsets": (1, 1, 0),
    "linux.resources.memory.checkBeforeUpdate": (1, 1, 0),
    "linux.resources.cpu.burst": (1, 1, 0),
    "linux.resources.cpu.idle": (1, 1, 0),
    "linux.resources.unified": (1, 1, 0),
    "linux.seccomp.defaultErrnoRet": (1, 1, 0),
    "linux.seccomp.listenerPath": (1, 1, 0),
    "linux.seccomp.listenerMetadata": (1, 1, 0),
    "linux.seccomp.syscalls[].errnoRet": (1, 1, 0),
    "linux.intelRdt.enableCMT": (1, 1, 0),
    "linux.intelRdt.enableMBM": (1, 1, 0),
    "process.execCPUAffinity": (1, 2, 1),
    "freebsd": (1, 3, 0),
    "linux.netDevices": (1, 3, 0),
    "linux.memoryPolicy": (1, 3, 0),
    "linux.intelRdt.schemata": (1, 3, 0),
    "linux.intelRdt.enableMonitoring": (1, 3, 0),
}
"""Properties of configs by path, with all that is below them."""


def introduced(path: str, table: Mapping[str, Release], oldest: Release) -> Release:
    """Return the release that introduced *path*, by the longest entry of *table* that it is or is under."""
    found = oldest
    for known, release in table.items():
        if path == known or path.startswith((f"{known}.", f"{known}[", f"{known}{{")):
            found = max(found, release)
    return found


def release_of(text: object) -> Release | None:
    """Return the release that version *text* belongs to; ``None`` when it is no version.

    A pre-release counts as its release: what a release adds is there before it.
    """
    version = versions.parse(text) if isinstance(text, str) else None
    return None if version is None else (version.major, version.minor, version.patch)


def spell(release: Release) -> str:
    """Return *release* as it is written."""
    return ".".join(map(str, release))
