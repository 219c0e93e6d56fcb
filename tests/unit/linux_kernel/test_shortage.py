"""What is behind a container process that ended without a word: a limit, if the kernel has killed it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orlop_hookspecs.errors import StepError
from orlop_hookspecs.plan import Plan, PlannedStep
from orlop_hookspecs.record import Record
from orlop_hookspecs.steps import WriteCgroup
from orlop_linux.kernel.shortage import explained

LIMIT = "/linux/resources/memory/limit"
FILES = {
    1: ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"),
    2: ("memory.events", "low 0\nhigh 0\nmax 7\noom 1\noom_kill {}\noom_group_kill 0\n"),
}


def record(place: Path, version: int, kills: int, controllers: tuple[str, ...] = ("memory",)) -> Record:
    directory = place / "box"
    directory.mkdir()
    (directory / "cgroup.procs").write_text("")
    name, text = FILES[version]
    (directory / name).write_text(text.format(kills))
    made = Record(id="box", bundle="/b", rootfs="/r", platform="linux", phase="creating")
    made.kernel["cgroups"] = [
        {"mount": str(place), "path": "/box", "version": version, "controllers": list(controllers)}
    ]
    return made


def plan(*pointers: str) -> Plan:
    steps = [
        WriteCgroup(
            because=pointer,
            controller="memory",
            v1=(("memory.limit_in_bytes", "1"),),
            v2=(("memory.max", "1"),),
        )
        for pointer in pointers
    ]
    return Plan({"host": tuple(PlannedStep(one, "host", "resources", "cgroups") for one in steps)})


def ended(**parts: Any) -> StepError:
    return StepError("the container process ended while it was being made", container="box", **parts)


@pytest.mark.parametrize("version", [1, 2])
def test_the_limit_is_named(tmp_path: Path, version: int) -> None:
    found = explained(ended(), plan("/linux/resources/pids/limit", LIMIT), record(tmp_path, version, 2))
    assert (found.pointer, found.plugin, found.value) == (LIMIT, "cgroups", "1")
    assert "too small for the container's start" in str(found)
    assert "(value: '1') [plugin cgroups]; until" in str(found)


def test_so_is_one_of_unified(tmp_path: Path) -> None:
    pointer = "/linux/resources/unified/memory.max"
    assert explained(ended(), plan(pointer), record(tmp_path, 2, 1)).pointer == pointer


def test_a_limit_above_is_nobodys(tmp_path: Path) -> None:
    found = explained(ended(), plan(), record(tmp_path, 1, 1))
    assert (found.pointer, found.plugin) == ("", "")
    assert "too small" in str(found)


@pytest.mark.parametrize(
    ("error", "kills", "controllers"),
    [
        (ended(), 0, ("memory",)),
        (ended(), 3, ("pids",)),
        (ended(pointer="/mounts/1"), 3, ("memory",)),
        (ended(errno=2), 3, ("memory",)),
    ],
)
def test_other_ends_are_left_as_they_are(
    tmp_path: Path, error: StepError, kills: int, controllers: tuple[str, ...]
) -> None:
    assert explained(error, plan(LIMIT), record(tmp_path, 1, kills, controllers)) is error


def test_a_cgroup_that_is_gone_says_nothing(tmp_path: Path) -> None:
    made = record(tmp_path, 2, 1)
    (tmp_path / "box").rename(tmp_path / "other")
    error = ended()
    assert explained(error, plan(LIMIT), made) is error
