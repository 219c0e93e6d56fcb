"""What the kernel keeps of a process beside its credentials: scheduling, I/O, domain, memory policy."""

from __future__ import annotations

import errno
from typing import NamedTuple

from orlop_fake.refusals import refusal

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


PLAIN = Traits()
"""What a process has that nobody has changed."""
