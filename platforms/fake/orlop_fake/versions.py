"""Which Linux has what first, as data: a machine with an older kernel refuses it as that kernel does.

Sources: the manual pages of the calls and namespaces (their histories), mount_setattr(2) for the file systems
that can be id-mapped, set_mempolicy(2), seccomp(2), and cgroup-v2.rst of each release.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    Version = tuple[int, int]

CALLS: Mapping[str, Version] = {
    "open_tree": (5, 2),
    "move_mount": (5, 2),
    "fsopen": (5, 2),
    "clone3": (5, 3),
    "openat2": (5, 6),
    "close_range": (5, 9),
    "mount_setattr": (5, 12),
}
"""System calls without which no container is made; those of the Linux platform."""

NAMESPACES: Mapping[str, Version] = {"cgroup": (4, 6), "time": (5, 6)}

LISTENERS: Version = (5, 0)
"""Filters that can have a listener (SECCOMP_FILTER_FLAG_NEW_LISTENER)."""

FLAGS: Mapping[str, Version] = {"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": (5, 19)}
"""Flags of filters."""

ATTRIBUTES: Mapping[str, Version] = {"nosymfollow": (5, 14)}
"""Attributes of mounts, for mount_setattr(2)."""

IDMAPPED: Mapping[str, Version] = {
    "ext4": (5, 12),
    "vfat": (5, 12),
    "xfs": (5, 12),
    "host": (5, 12),
    "btrfs": (5, 15),
    "f2fs": (5, 18),
    "erofs": (5, 19),
    "squashfs": (6, 2),
    "tmpfs": (6, 3),
}
"""File systems that can be id-mapped (mount_setattr(2)); ``host`` is what the machine's disk has."""

MEMORY_MODES: Mapping[str, Version] = {"MPOL_PREFERRED_MANY": (5, 15), "MPOL_WEIGHTED_INTERLEAVE": (6, 9)}
"""Modes of memory policies."""

FILES: Mapping[str, Version] = {
    "cgroup.freeze": (5, 2),
    "cgroup.kill": (5, 14),
    "cpu.cfs_burst_us": (5, 14),
    "cpu.idle": (5, 15),
    "cpu.max.burst": (5, 14),
    "memory.oom.group": (4, 19),
    "memory.swap.high": (5, 8),
}
"""Files of cgroups."""

CONTROLLERS: Mapping[tuple[int, str], Version] = {
    (1, "misc"): (5, 13),
    (2, "cpuset"): (5, 0),
    (2, "hugetlb"): (5, 6),
    (2, "misc"): (5, 13),
}
"""Controllers by the version of cgroups."""


REMEDY = "Linux 5.12 or newer: Host(linux=(5, 12))"


def lacking(linux: Version) -> str:
    """Return which of :data:`CALLS` a kernel of version *linux* lacks, in words; empty: none."""
    for name, since in CALLS.items():
        if linux < since:
            return f"the kernel has no {name}(2), which came with Linux {'.'.join(map(str, since))}"
    return ""
