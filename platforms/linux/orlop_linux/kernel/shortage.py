"""Why a container process has ended while it was being made: killed by the kernel, for lack of memory.

A limit may be smaller than what the process needs before its program runs. The kernel takes such a limit, and
kills whoever goes beyond it (cgroups(7), memory; cgroup-v2.rst, memory.events).
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import OrlopError, StepError
from orlop_linux.live.cgroups import READ, groups_of

if TYPE_CHECKING:
    from typing import Any

    from orlop_hookspecs.plan import Plan
    from orlop_hookspecs.record import Record

_FILES = {1: "memory.oom_control", 2: "memory.events"}
_COUNTER = b"oom_kill"
_LIMITS = ("/linux/resources/memory/limit", "/linux/resources/memory/swap")
_UNIFIED = "/linux/resources/unified/memory."
_SIZE = 4096


def explained(error: OrlopError, plan: Plan, record: Record) -> OrlopError:
    """Return *error*, or the error for the limit that is behind it: the process has ended without a word."""
    if error.pointer or error.errno is not None or not _was_killed(record):
        return error
    limit = _limit(plan)
    found = StepError(
        "the limit is too small for the container's start: the kernel has killed the container process",
        container=record.id,
        errno=errno.ENOMEM,
        hint="until the program runs, the runtime itself needs a few MiB in the container's cgroup",
    )
    if limit is not None:
        step: Any = limit.step
        pairs = step.v2 or step.v1 or ()
        found.pointer, found.plugin = step.because, limit.plugin
        found.value = pairs[0][1] if pairs else ""
    return found


def _limit(plan: Plan) -> Any:  # noqa: ANN401 - a planned step
    """Return the step that limits the memory; ``None``: no step of the plan does, but a cgroup above."""
    planned = {
        one.step.because: one for one in plan.steps("host") if type(one.step).__name__ == "WriteCgroup"
    }
    names = [*_LIMITS, *(name for name in planned if name.startswith(_UNIFIED))]
    return next((planned[name] for name in names if name in planned), None)


def _was_killed(record: Record) -> bool:
    """Tell whether the kernel has killed a process of the container's own cgroups for lack of memory."""
    for group in groups_of(record):
        if group.version == 1 and "memory" not in group.controllers:
            continue
        try:
            directory = group.open()
        except (OSError, OrlopError):
            continue
        try:
            file = os.open(_FILES[group.version], READ, dir_fd=directory)
        except OSError:
            continue
        finally:
            os.close(directory)
        try:
            lines = os.read(file, _SIZE).splitlines()
        except OSError:
            continue
        finally:
            os.close(file)
        counts = [line.split()[-1] for line in lines if line.split()[:1] == [_COUNTER]]
        if any(count != b"0" for count in counts):
            return True
    return False
