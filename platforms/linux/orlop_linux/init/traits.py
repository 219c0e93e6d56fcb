"""What the process keeps across execve(2) and only it can give itself: execution domain, memory policy."""

from __future__ import annotations

import errno
import os

from orlop_linux.init import failure, syscalls
from orlop_linux.init.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from orlop_linux.init.context import Context

DOMAINS = {"LINUX": 0x0000, "LINUX32": 0x0008}
"""Execution domains of personality(2)."""

MODES = {
    "MPOL_DEFAULT": 0,
    "MPOL_PREFERRED": 1,
    "MPOL_BIND": 2,
    "MPOL_INTERLEAVE": 3,
    "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5,
    "MPOL_WEIGHTED_INTERLEAVE": 6,
}
"""Modes of set_mempolicy(2) (linux/mempolicy.h)."""

MODE_FLAGS = {
    "MPOL_F_NUMA_BALANCING": 1 << 13,
    "MPOL_F_RELATIVE_NODES": 1 << 14,
    "MPOL_F_STATIC_NODES": 1 << 15,
}
"""Flags of set_mempolicy(2)."""

_MOVABLE = MODE_FLAGS["MPOL_F_RELATIVE_NODES"] | MODE_FLAGS["MPOL_F_STATIC_NODES"]


def set_personality(_context: Context, fields: dict[str, Any], _index: int) -> None:
    """Execute SetPersonality."""
    syscalls.personality(DOMAINS[fields["domain"]])


def set_memory_policy(_context: Context, fields: dict[str, Any], _index: int) -> None:
    """Execute SetMemoryPolicy.

    Without a flag that says otherwise the kernel leaves out nodes that it does not have or that the cpuset
    does not allow, and says nothing.

    Raises:
        Failure: It did.
    """
    nodes = 0
    for first, last in fields["nodes"]:
        nodes |= (1 << last + 1) - (1 << first)
    flags = sum(MODE_FLAGS[flag] for flag in set(fields["flags"]))
    syscalls.set_mempolicy(MODES[fields["mode"]] | flags, nodes)
    if nodes and not flags & _MOVABLE and syscalls.get_mempolicy() != nodes:
        raise Failure(errno.EINVAL, failure.DETAIL_NODES)


def set_affinity(cpus: Iterable[Sequence[int]]) -> None:
    """Let the process run on exactly the CPUs of these ranges (sched_setaffinity(2)).

    The kernel leaves out CPUs that there are not or that the cpuset does not allow, and says nothing.

    Raises:
        OSError: EINVAL: it did, or all of them.
    """
    wanted = {cpu for first, last in cpus for cpu in range(first, last + 1)}
    os.sched_setaffinity(0, wanted)
    if os.sched_getaffinity(0) != wanted:
        raise OSError(errno.EINVAL, "")


def set_cpu_affinity(_context: Context, fields: dict[str, Any], _index: int) -> None:
    """Execute SetCpuAffinity, the final one.

    Raises:
        Failure: The host or the cpuset lacks one of the CPUs.
    """
    try:
        set_affinity(fields["cpus"])
    except OSError as error:
        raise Failure(error.errno or 0, failure.DETAIL_AFFINITY) from None


OPS = {
    "SetCpuAffinity": set_cpu_affinity,
    "SetPersonality": set_personality,
    "SetMemoryPolicy": set_memory_policy,
}
