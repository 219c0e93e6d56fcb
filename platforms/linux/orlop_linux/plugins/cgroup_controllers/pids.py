"""``linux.resources.pids`` (config-linux.md, PIDs)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.hooks.capability import Problem
from orlop_hookspecs.steps.cgroups import WriteCgroup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orlop_hookspecs.documents import Pids

POINTER = "/linux/resources/pids/limit"
UNLIMITED = -1


def problems(pids: Pids) -> Iterator[Problem]:
    """Yield a limit below -1."""
    if pids.limit < UNLIMITED:
        yield Problem(POINTER, "the limit must be a number of tasks, or -1 for unlimited", pids.limit)


def steps(pids: Pids) -> Iterator[WriteCgroup]:
    """Yield the limit; 0 is a limit like any other (version 1.3 of the specification says so)."""
    pairs = (("pids.max", "max" if pids.limit == UNLIMITED else str(pids.limit)),)
    yield WriteCgroup(because=POINTER, controller="pids", v1=pairs, v2=pairs)
