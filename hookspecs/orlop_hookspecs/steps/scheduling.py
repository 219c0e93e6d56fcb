"""Steps by which the host sets how the kernel schedules the container process (config.md, Linux Process).

The host does it, because a process in a user namespace of its own may not; and when everything else is done,
because a policy made for the program would slow, starve or forbid the making of its container.
"""

from __future__ import annotations

from orlop_hookspecs.steps.base import Step, step


@step
class SetScheduler(Step):
    """Set policy, parameters and flags (sched_setattr(2)); times are in nanoseconds.

    Policies that have no use for the nice value keep it for the time when the process leaves them. A flag
    that keeps what is there must keep what the step names, or the step fails.
    """

    ACT = "set the scheduler {policy}"
    PHASE = "built"
    SLOT = "process"
    JOINS = True

    because: str
    policy: str
    nice: int = 0
    priority: int = 0
    flags: tuple[str, ...] = ()
    runtime: int = 0
    deadline: int = 0
    period: int = 0


@step
class SetIoPriority(Step):
    """Set class and level of I/O (ioprio_set(2)); what the process starts inherits them."""

    ACT = "set the I/O priority"
    PHASE = "built"
    SLOT = "process"
    JOINS = True

    because: str
    class_: str
    priority: int


@step
class SetCpuAffinity(Step):
    """Set the CPUs of a process that joins the container (sched_setaffinity(2)), exactly these.

    The first time before it is moved into the container's cgroup, the second time after it. CPUs that the
    kernel would leave out, because they are not there or the cpuset lacks them, make the step fail.
    """

    ACT = "set the CPU affinity"
    PHASE = "clone"
    SLOT = "affinity"
    JOINS = True

    because: str
    cpus: tuple[tuple[int, int], ...]
    """Ranges of CPU numbers, first and last."""
    final: bool = False
    """Set it when the process is in the container's cgroup."""

    @property
    def phase(self) -> str:
        """``clone`` or ``confined``."""
        return "confined" if self.final else "clone"

    @property
    def slot(self) -> str:
        """``affinity`` or ``traits``."""
        return "traits" if self.final else "affinity"
