"""What the kernel keeps of a process beside its credentials: scheduling, I/O, domain, memory policy."""

from __future__ import annotations

import errno
from typing import NamedTuple

from orlop_fake.refusals import refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop_fake.processes import Process

REAL_TIME = frozenset({"SCHED_FIFO", "SCHED_RR"})
DEADLINE = "SCHED_DEADLINE"
RESET = "SCHED_FLAG_RESET_ON_FORK"

POLICIES = ("SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_ISO", "SCHED_IDLE", DEADLINE)
"""Scheduling policies by number (linux/sched.h)."""

_MODES = {
    "MPOL_DEFAULT": "default",
    "MPOL_PREFERRED": "prefer",
    "MPOL_BIND": "bind",
    "MPOL_INTERLEAVE": "interleave",
    "MPOL_LOCAL": "local",
    "MPOL_PREFERRED_MANY": "prefer (many)",
    "MPOL_WEIGHTED_INTERLEAVE": "weighted interleave",
}
_MODE_FLAGS = {
    "MPOL_F_STATIC_NODES": "static",
    "MPOL_F_RELATIVE_NODES": "relative",
    "MPOL_F_NUMA_BALANCING": "balancing",
}


class Traits(NamedTuple):
    """All of it for one process; children inherit it."""

    policy: str = "SCHED_OTHER"
    nice: int = 0
    priority: int = 0
    flags: tuple[str, ...] = ()
    runtime: int = 0
    deadline: int = 0
    period: int = 0
    io_class: str = ""
    io_priority: int = 0
    domain: str = "LINUX"
    memory_mode: str = "MPOL_DEFAULT"
    memory_nodes: tuple[int, ...] = ()
    memory_flags: tuple[str, ...] = ()
    profile: str = "unconfined"
    """AppArmor's."""
    next_profile: str = ""
    """The profile from the next execve(2) on; empty: the same one."""
    label: str = ""
    """SELinux's."""
    next_label: str = ""
    keyring_label: str = ""
    cpus: tuple[int, ...] = ()
    """CPUs to which the process has been bound; empty: all that its cpuset allows."""

    def executed(self) -> Traits:
        """Return what a program has after execve(2)."""
        if not (self.next_profile or self.next_label):
            return self
        return self._replace(
            profile=self.next_profile or self.profile,
            label=self.next_label or self.label,
            next_profile="",
            next_label="",
        )

    def forked(self) -> Traits:
        """Return what a child inherits: sched(7), Resetting scheduling policy for child processes.

        Raises:
            OSError: EAGAIN: a process with a deadline has no children.
        """
        if RESET not in self.flags:
            if self.policy == DEADLINE:
                raise refusal(errno.EAGAIN)
            return self
        flags = tuple(flag for flag in self.flags if flag != RESET)
        child = self._replace(flags=flags, nice=max(self.nice, 0))
        if self.policy == DEADLINE or self.policy in REAL_TIME:
            child = child._replace(
                policy="SCHED_OTHER", nice=0, priority=0, runtime=0, deadline=0, period=0, flags=()
            )
        return child

    def memory_text(self) -> str:
        """Return the memory policy as numa_maps shows it (proc(5))."""
        flags = [text for flag, text in _MODE_FLAGS.items() if flag in self.memory_flags]
        nodes = ",".join(
            str(first) if first == last else f"{first}-{last}" for first, last in _runs(self.memory_nodes)
        )
        shown = _MODES[self.memory_mode] + (f"={'|'.join(flags)}" if flags else "")
        return f"{shown}:{nodes}" if nodes else shown


def _runs(numbers: tuple[int, ...]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def allowed(process: Process, file: str, count: int) -> set[int]:
    """Return which of *count* CPUs or memory nodes the cpusets of *process* allow by *file*."""
    there = set(range(count))
    for group in process.cgroups.values():
        text = group.read(file).strip() if file in group.values else ""
        if text:
            here: set[int] = set()
            for part in text.split(","):
                first, _, last = part.partition("-")
                here.update(range(int(first), int(last or first) + 1))
            there &= here
    return there


def cpus_text(process: Process) -> str:
    """Return the CPUs of *process* as its status shows them; empty where no hierarchy knows the host."""
    host = next((group.hierarchy.host for group in process.cgroups.values()), None)
    if host is None:
        return ""
    cpus = process.traits.cpus or tuple(sorted(allowed(process, "cpuset.cpus", host.cpus)))
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in _runs(cpus))


PLAIN = Traits()
"""What a process has that nobody has changed."""
