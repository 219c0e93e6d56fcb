"""Steps on the container process itself: at its birth, and by the host while it waits."""

from __future__ import annotations

from orlop_hookspecs.steps.base import Step, step


@step
class SetOomScore(Step):
    """Write /proc/PID/oom_score_adj of the container process (proc(5)), -1000 to 1000."""

    ACT = "set the OOM score {score}"
    PHASE = "host-with-pid"
    SLOT = "process"
    JOINS = True

    because: str
    score: int


@step
class KeepGroups(Step):
    """Leave the process the supplementary groups that the runtime was started with (credentials(7)).

    No setgroups(2) is made for it: :class:`SetUser` must have no groups then.
    """

    ACT = "keep the caller's supplementary groups"
    PHASE = "clone"
    SLOT = "idmap"
    JOINS = True

    because: str
