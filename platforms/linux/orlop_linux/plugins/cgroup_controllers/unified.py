"""``linux.resources.unified``: files of cgroup v2 by their names (config-linux.md, Unified)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.hooks.capability import Problem
from orlop_hookspecs.steps.cgroups import WriteCgroup
from orlop_linux.plugins.shared import NAME_MAX, token

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

POINTER = "/linux/resources/unified"

LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
MEMBERSHIP = frozenset(
    {
        "cgroup.freeze",
        "cgroup.kill",
        "cgroup.procs",
        "cgroup.subtree_control",
        "cgroup.threads",
        "cgroup.type",
    }
)
"""Files that are no limits: they move, freeze or kill processes, which is the runtime's business."""


def problems(unified: Mapping[str, str]) -> Iterator[Problem]:
    """Yield names that are not ``controller.file``, and files that set no limit."""
    for key, value in unified.items():
        here = f"{POINTER}/{token(key)}"
        controller, dot, file = key.partition(".")
        if (
            not (dot and controller and file and file[0] != "." and LETTERS.issuperset(key))
            or len(key) > NAME_MAX
        ):
            yield Problem(here, "this is not the name of a file of a controller, such as memory.high", key)
        elif key in MEMBERSHIP:
            yield Problem(here, "this file does not limit a resource", key)
        elif not value.strip():
            yield Problem(here, "the value is empty", value)


def steps(unified: Mapping[str, str]) -> Iterator[WriteCgroup]:
    """Yield one step for each file, in the order of the config; each line of a value is written by itself."""
    for key, value in unified.items():
        controller = key.partition(".")[0]
        yield WriteCgroup(
            because=f"{POINTER}/{token(key)}",
            controller="" if controller == "cgroup" else controller,
            v1=None,
            v2=tuple((key, line) for line in value.split("\n") if line.strip()),
            append=True,
        )
