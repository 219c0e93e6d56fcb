"""Steps that the host applies to the waiting container process, because the process itself may not."""

from __future__ import annotations

from orlop_hookspecs.steps.base import Step, step


@step
class SetOomScore(Step):
    """Write /proc/PID/oom_score_adj of the container process (proc(5)), -1000 to 1000."""

    PHASE = "host-with-pid"
    SLOT = "process"
    JOINS = True

    because: str
    score: int
