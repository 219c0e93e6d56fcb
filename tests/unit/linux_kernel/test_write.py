"""Which file a resource is written to, and what is said when it cannot be."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orlop_hookspecs.errors import PlatformError, StepError
from orlop_hookspecs.steps import SetOomScore, WriteCgroup
from orlop_linux.kernel import update
from orlop_linux.kernel.cgroups import write as module
from orlop_linux.kernel.cgroups.write import Target, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orlop_hookspecs.record import Record


@pytest.fixture
def targets(tmp_path: Path) -> Iterator[dict[str, Target]]:
    made = {}
    for name, version, controllers, files in (
        ("memory", 1, ("memory",), ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")),
        ("blkio", 1, ("blkio",), ("blkio.bfq.weight",)),
        ("unified", 2, (), ("hugetlb.2MB.max", "rdma.max", "cgroup.max.depth")),
    ):
        place = tmp_path / name
        place.mkdir()
        for file in files:
            (place / file).write_text("")
        if version == 2:
            (place / "cgroup.controllers").write_text("hugetlb rdma\n")
        made[name] = Target(os.open(place, os.O_RDONLY), str(place), version, controllers)
    yield made
    for target in made.values():
        os.close(target.fd)


def content(targets: dict[str, Target], name: str) -> str:
    target, _, file = name.partition("/")
    return Path(targets[target].directory, file).read_text()


def resource(controller: str, **fields: Any) -> WriteCgroup:
    return WriteCgroup(because="/linux/resources/x", controller=controller, **fields)


def test_v1_is_taken_where_v1_has_the_controller(targets: dict[str, Target]) -> None:
    step = resource("memory", v1=(("memory.limit_in_bytes", "4096"),), v2=(("memory.max", "4096"),))
    write(list(targets.values()), step, "cgroups")
    assert content(targets, "memory/memory.limit_in_bytes") == "4096"


def test_the_unified_hierarchy_has_what_v1_has_not(targets: dict[str, Target]) -> None:
    step = resource("hugetlb", v1=(("hugetlb.2MB.limit_in_bytes", "0"),), v2=(("hugetlb.2MB.max", "0"),))
    write(list(targets.values()), step, "cgroups")
    assert content(targets, "unified/hugetlb.2MB.max") == "0"


def test_the_v1_name_of_a_controller_counts_on_v1(targets: dict[str, Target]) -> None:
    step = resource(
        "io",
        v1_controller="blkio",
        alternatives=True,
        v1=(("blkio.weight", "100"), ("blkio.bfq.weight", "100")),
    )
    write(list(targets.values()), step, "cgroups")
    assert content(targets, "blkio/blkio.bfq.weight") == "100"


def test_core_files_need_no_controller(targets: dict[str, Target]) -> None:
    write(list(targets.values()), resource("", v2=(("cgroup.max.depth", "3"),)), "cgroups")
    assert content(targets, "unified/cgroup.max.depth") == "3"


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            resource("memory", v2=(("memory.high", "1"),)),
            "this needs cgroup v2, and the host has controller memory",
        ),
        (resource("rdma", v1=(("rdma.max", "x"),)), "this property does not exist on cgroup v2"),
        (resource("cpu", v1=(("cpu.shares", "2"),), v2=(("cpu.weight", "1"),)), "no cgroup controller cpu"),
        (
            resource("memory", v1=(("memory.nothing", "1"),)),
            "cannot write '1' to memory.nothing: no such file",
        ),
        (resource("memory", v1=(("../memory.limit_in_bytes", "1"),)), "is not a file that sets a resource"),
        (resource("memory", v1=(("cgroup.procs", "1"),)), "is not a file that sets a resource"),
        (
            resource("memory", alternatives=True, v1=(("memory.a", "1"), ("memory.b", "1"))),
            "cannot write '1' to memory.a",
        ),
    ],
)
def test_what_cannot_be_applied_is_an_error_that_names_the_property(
    targets: dict[str, Target], step: WriteCgroup, message: str
) -> None:
    with pytest.raises(StepError) as caught:
        write(list(targets.values()), step, "cgroups")
    assert message in str(caught.value)
    assert caught.value.pointer == "/linux/resources/x"
    assert caught.value.plugin == "cgroups"
    assert caught.value.errno


def test_a_missing_controller_is_told_with_those_that_are_there(targets: dict[str, Target]) -> None:
    with pytest.raises(StepError, match="it has blkio, hugetlb, memory, rdma"):
        write(list(targets.values()), resource("pids", v1=(("pids.max", "1"),)), "cgroups")


def test_without_cgroups_nothing_can_be_limited() -> None:
    with pytest.raises(StepError, match="no cgroup of its own"):
        write([], resource("pids", v1=(("pids.max", "1"),)), "cgroups")


def test_nothing_to_do_on_this_version_is_no_error(targets: dict[str, Target]) -> None:
    write(list(targets.values()), resource("memory", v1=()), "cgroups")
    assert content(targets, "memory/memory.limit_in_bytes") == ""


class MemoryController:
    """The v1 rule that memory may never exceed memory+swap."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, limit: int, with_swap: int) -> None:
        self.values = {"memory.limit_in_bytes": limit, "memory.memsw.limit_in_bytes": with_swap}
        monkeypatch.setattr(module, "write_file", self.write)

    def write(self, directory: int, name: str, text: str) -> None:
        changed = {**self.values, name: int(text)}
        if changed["memory.limit_in_bytes"] > changed["memory.memsw.limit_in_bytes"]:
            raise OSError(22, "Invalid argument")
        self.values = changed


@pytest.mark.parametrize("now", [(10, 10), (100, 100)])
@pytest.mark.parametrize("reverse", [False, True])
def test_memory_and_swap_are_set_in_the_order_that_works(
    targets: dict[str, Target], monkeypatch: pytest.MonkeyPatch, now: tuple[int, int], reverse: bool
) -> None:
    controller = MemoryController(monkeypatch, *now)
    pairs = [("memory.limit_in_bytes", "40"), ("memory.memsw.limit_in_bytes", "50")]
    if reverse:
        pairs.reverse()
    write(list(targets.values()), resource("memory", v1=tuple(pairs)), "cgroups")
    assert list(controller.values.values()) == [40, 50]


def test_the_order_is_found_across_the_steps_of_an_update(
    targets: dict[str, Target], monkeypatch: pytest.MonkeyPatch, record: Record
) -> None:
    controller = MemoryController(monkeypatch, 10, 10)
    path = targets["memory"].directory
    mount, _, name = path.rpartition("/")
    Path(path, "cgroup.procs").write_text("")
    record.kernel["cgroups"] = [{"mount": mount, "path": f"/{name}", "version": 1, "controllers": ["memory"]}]
    steps = [
        resource("memory", v1=(("memory.limit_in_bytes", "40"),)),
        resource("memory", v1=(("memory.memsw.limit_in_bytes", "50"),)),
    ]
    update.apply(record, steps)
    assert list(controller.values.values()) == [40, 50]


def test_an_update_refuses_steps_that_are_none(record: Record) -> None:
    with pytest.raises(PlatformError, match="SetOomScore cannot be applied"):
        update.apply(record, [SetOomScore(because="", score=0)])
