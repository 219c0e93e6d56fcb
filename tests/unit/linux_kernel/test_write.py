"""Which file a resource is written to, and what is said when it cannot be."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orlop_hookspecs.errors import PlatformError, StepError
from orlop_hookspecs.steps import SetOomScore, WriteCgroup
from orlop_linux.kernel import update
from orlop_linux.kernel.cgroups import restore as restoring
from orlop_linux.kernel.cgroups import write as module
from orlop_linux.kernel.cgroups.hierarchies import Hierarchy
from orlop_linux.kernel.cgroups.restore import earlier, restore
from orlop_linux.kernel.cgroups.write import Target, check, write

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


def replace(directory: int, name: str, text: str) -> None:
    """Write as to a control file, which says afterwards what was written and nothing of before."""
    fd = os.open(name, os.O_WRONLY | os.O_TRUNC, dir_fd=directory)
    os.write(fd, text.encode())
    os.close(fd)


@pytest.fixture
def unified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    monkeypatch.setattr(module, "write_file", replace)
    monkeypatch.setattr(restoring, "write_file", replace)
    place = tmp_path / "group"
    place.mkdir()
    (place / "cgroup.controllers").write_text("cpu io memory rdma\n")
    (place / "cgroup.procs").write_text("")
    for name, text in (
        ("memory.max", "4096\n"),
        ("memory.swap.max", "max\n"),
        ("memory.current", "3000\n"),
        ("cpu.max", "50000 100000\n"),
        ("rdma.max", "mlx5_0 hca_handle=3 hca_object=max\n"),
        ("io.weight", "default 100\n8:0 50\n"),
    ):
        (place / name).write_text(text)
    target = Target(os.open(place, os.O_RDONLY), str(place), 2, ())
    yield target
    os.close(target.fd)


def test_memory_and_swap_become_swap_alone(unified: Target) -> None:
    step = resource("memory", v2=(("memory.swap.max", "5000"),), minus="memory.max")
    write([unified], step, "cgroups")
    assert Path(unified.directory, "memory.swap.max").read_text() == "904"


@pytest.mark.parametrize("limit", ["max", "5001"])
def test_a_sum_below_the_memory_is_refused(unified: Target, limit: str) -> None:
    Path(unified.directory, "memory.max").write_text(limit)
    step = resource("memory", v2=(("memory.swap.max", "5000"),), minus="memory.max")
    with pytest.raises(StepError, match=f"the memory alone may be {limit}"):
        write([unified], step, "cgroups")


def test_a_limit_below_the_usage_is_refused_when_asked_for(unified: Target) -> None:
    with pytest.raises(StepError, match="3000 are in use") as caught:
        write([unified], resource("memory", v2=(("memory.max", "2999"),), usage="memory.current"), "cgroups")
    assert caught.value.errno == errno.EBUSY
    assert Path(unified.directory, "memory.max").read_text() == "4096\n"
    for text in ("3000", "max"):
        write([unified], resource("memory", v2=(("memory.max", text),), usage="memory.current"), "cgroups")
        assert Path(unified.directory, "memory.max").read_text() == text
    write([unified], resource("memory", v2=(("memory.max", "1"),)), "cgroups")


def test_what_is_not_set_keeps_its_value(unified: Target) -> None:
    write([unified], resource("cpu", v2=(("cpu.max", "= 7000"),), keep=True), "cgroups")
    assert Path(unified.directory, "cpu.max").read_text() == "50000 7000"


def test_a_limit_that_the_kernel_ignores_is_an_error(
    unified: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "write_file", lambda *_: None)
    step = resource("memory", v2=(("memory.max", "64"),), verify=True)
    with pytest.raises(StepError, match="the kernel ignores '64' in"):
        write([unified], step, "cgroups")
    write([unified], resource("memory", v2=(("memory.max", "-1"),), verify=True), "cgroups")


def test_a_device_without_the_first_file_gets_the_second(
    unified: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def put(directory: int, name: str, text: str) -> None:
        if name == "io.bfq.weight":
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        done.append(f"{name} {text}")

    monkeypatch.setattr(module, "write_file", put)
    pairs = (("io.bfq.weight", "8:0 10"), ("io.weight", "8:0 1"))
    write([unified], resource("io", v2=pairs, alternatives=True), "cgroups")
    assert done == ["io.weight 8:0 1"]


def test_a_missing_controller_is_known_before_anything_is_touched(tmp_path: Path, unified: Target) -> None:
    hierarchies = [Hierarchy(unified.directory, 2, (), ()), Hierarchy(str(tmp_path), 1, ("pids",), ())]
    check(hierarchies, resource("memory", v2=(("memory.max", "1"),)), "cgroups")
    check(hierarchies, resource("pids", v1=(("pids.max", "1"),)), "cgroups")
    with pytest.raises(StepError, match="no cgroup controller hugetlb"):
        check(hierarchies, resource("hugetlb", v2=(("hugetlb.2MB.max", "1"),)), "cgroups")


def test_an_update_that_fails_is_taken_back(unified: Target, record: Record) -> None:
    mount, _, name = unified.directory.rpartition("/")
    record.kernel["cgroups"] = [{"mount": mount, "path": f"/{name}", "version": 2, "controllers": []}]
    before = {path.name: path.read_text().strip() for path in Path(unified.directory).iterdir()}
    steps = [
        resource("memory", v2=(("memory.max", "8192"),)),
        resource("cpu", v2=(("cpu.max", "= 7000"),), keep=True),
        resource("io", v2=(("io.weight", "200"),)),
        resource("memory", v2=(("memory.nothing", "1"),)),
    ]
    with pytest.raises(StepError, match=r"memory\.nothing") as caught:
        update.apply(record, steps)
    assert caught.value.cleanup is None
    before["io.weight"] = "default 100"
    assert {path.name: path.read_text().strip() for path in Path(unified.directory).iterdir()} == before


@pytest.mark.parametrize(
    ("name", "text", "present", "expected"),
    [
        ("rdma.max", "mlx5_0 hca_handle=1", "mlx5_0 hca_handle=3 hca_object=max", None),
        ("rdma.max", "rxe0 hca_handle=1", "", "rxe0 hca_handle=max hca_object=max"),
        ("io.max", "8:0 rbps=1", "8:16 rbps=5", "8:0 rbps=max wbps=max riops=max wiops=max"),
        ("memory.oom_control", "1", "oom_kill_disable 0\nunder_oom 0", "0"),
        ("cpuset.cpus", "0", "", "\n"),
        ("cpu.weight", "5", "100", None),
        ("io.bfq.weight", "8:0 5", "default 100", "8:0 default"),
        ("some.map", "a 1", "b 2\nc 3", ""),
    ],
)
def test_what_takes_a_write_back(
    unified: Target, name: str, text: str, present: str, expected: str | None
) -> None:
    Path(unified.directory, name).write_text(present)
    found = earlier(unified, [(name, text)], resource("x", append=name == "some.map"))
    wanted = present if expected is None else expected
    assert found == ([(unified.fd, name, wanted)] if wanted else [])


def test_what_cannot_be_taken_back_is_told(unified: Target) -> None:
    failure = restore([(unified.fd, "memory.max", "1"), (unified.fd, "memory.gone", "2")])
    assert failure is not None
    assert failure.errno == errno.ENOENT
    assert Path(unified.directory, "memory.max").read_text() == "1"
