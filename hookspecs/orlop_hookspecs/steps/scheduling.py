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

    PHASE = "built"
    SLOT = "process"

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

    PHASE = "built"
    SLOT = "process"

    because: str
    class_: str
    priority: int
