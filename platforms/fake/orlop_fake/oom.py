"""Memory that a cgroup does not allow: what is counted, and who is killed for it.

Sources: Documentation/admin-guide/cgroup-v2.rst ("Memory Interface Files"), cgroup-v1/memory.rst (2.5, 10),
proc_pid_oom_score_adj(5).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from orlop_fake.processes import SIGKILL
from orlop_fake.refusals import refusal

if TYPE_CHECKING:
    from orlop_fake.cgroups import Cgroup
    from orlop_fake.processes import Process
    from orlop_fake.scheduler import Scheduler

_NEVER = -1000
"""The oom_score_adj of a process that is not killed for want of memory."""


def count(group: Cgroup, event: str) -> None:
    """Count *event* in *group*, and on version 2 in those above it as well."""
    for each in group.line() if group.hierarchy.version == 2 else (group,):
        each.events[event] = each.events.get(event, 0) + 1


def kill_one(full: Cgroup, scheduler: Scheduler, asking: Process | None = None) -> None:
    """Kill whoever uses most of the memory of *full*, or the whole group that it says dies together.

    Raises:
        OSError: ENOMEM: nobody there may be killed.
    """
    count(full, "max")
    count(full, "oom")
    if full.values.get("memory.oom_control") == "1":
        raise refusal(errno.ENOMEM)
    limit = full.memory_limit() or 0
    members = [one for below in full.subtree() for one in below.processes if one.oom_score_adj != _NEVER]
    if not members:
        raise refusal(errno.ENOMEM)
    victim = max(
        members,
        key=lambda one: (one.memory + one.oom_score_adj * limit // 1000, one is asking, one.pid),
    )
    home = victim.cgroups[full.hierarchy.name]
    together = None
    for group in home.line():
        if group.values.get("memory.oom.group") == "1":
            together = group
        if group is full:
            break
    if together is None:
        count(home, "oom_kill")
        scheduler.exit(victim, 128 + SIGKILL)
        return
    count(together, "oom_group_kill")
    victims = [one for one in members if together in one.cgroups[full.hierarchy.name].line()]
    for one in victims:
        count(one.cgroups[full.hierarchy.name], "oom_kill")
    for one in victims:  # the end of a first process is that of others, which have been killed as well
        scheduler.exit(one, 128 + SIGKILL)
