"""Limits of cgroups that processes meet: memory, RDMA devices, and cgroups themselves, on both versions."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from tests.unit.fake.test_profiles import PLAIN, config

import orlop
from orlop_fake import FakeKernel, FakePlatform, Task

MIB = 1 << 20
BOTH = pytest.mark.parametrize("cgroups", ["v1", "v2"])


def started(kernel: FakeKernel, program: Any, **resources: Any) -> orlop.Container:
    kernel.add_rootfs("/image")
    kernel.add_files({"/image/bin/program": program})
    wanted = config(PLAIN | {"resources": resources})
    wanted["process"]["args"] = ["/bin/program"]
    box = orlop.Runtime.compose(FakePlatform(kernel)).create("box", wanted)
    box.start()
    return box


def eater(size: int) -> Any:
    def child(p: Task) -> Any:
        p.allocate(size)
        yield p.forever()

    return child


def family(p: Task) -> Any:
    """Have two children that use memory, and tell how they end."""
    for size in (2 * MIB, 3 * MIB):
        p.fork(eater(size))
    for _ in range(2):
        pid, status = yield p.wait_child()
        p.write(f"{pid}:{status} ")
    yield p.forever()


@BOTH
def test_a_limit_that_is_taken_away_from_processes(cgroups: str) -> None:
    kernel = FakeKernel(cgroups=cgroups)
    box = started(kernel, family, memory={"limit": 8 * MIB})
    group = kernel.cgroup("box", "memory")
    assert group.memory == 5 * MIB
    if cgroups == "v1":
        with pytest.raises(OSError, match="busy") as caught:
            group.write("memory.limit_in_bytes", str(4 * MIB))
        assert caught.value.errno == errno.EBUSY
        assert kernel.output("box") == ""
    else:
        group.write("memory.max", str(4 * MIB))
        kernel.advance(0)
        assert kernel.output("box") == "3:137 "
        assert {"oom 1", "oom_kill 1", "max 1"} <= set(group.read("memory.events").splitlines())
        group.write("memory.max", "0")
        assert box.status == "running"  # whoever uses nothing need not die
        assert group.memory == 0
    box.delete(force=True)
    assert kernel.leaks() == []


def test_a_group_that_dies_together() -> None:
    kernel = FakeKernel()
    box = started(kernel, family, memory={"limit": 8 * MIB})
    group = kernel.cgroup("box", "memory")
    group.write("memory.oom.group", "1")
    group.write("memory.max", str(4 * MIB))
    assert box.status == "stopped"
    assert {"oom_kill 3", "oom_group_kill 1"} <= set(group.read("memory.events").splitlines())
    box.delete()


@BOTH
def test_what_is_counted_for_want_of_memory(cgroups: str) -> None:
    def program(p: Task) -> Any:
        p.fork(eater(9 * MIB))
        yield p.forever()

    kernel = FakeKernel(cgroups=cgroups)
    box = started(kernel, program, memory={"limit": 8 * MIB})
    group = kernel.cgroup("box", "memory")
    if cgroups == "v1":
        assert group.read("memory.oom_control") == "oom_kill_disable 0\nunder_oom 0\noom_kill 1"
        assert (group.read("memory.failcnt"), group.read("memory.usage_in_bytes")) == ("1", "0")
        assert group.parent is not None
        assert "oom_kill 0" in group.parent.read("memory.oom_control")
    else:
        assert "oom_kill 1" in group.read("memory.events").splitlines()
        assert group.parent is not None
        assert "oom_kill 1" in group.parent.read("memory.events").splitlines()
    of_others = ("memory.events", "memory.current") if cgroups == "v1" else ("memory.oom_control", "tasks")
    for file in of_others:
        assert file not in group.files()
        with pytest.raises(FileNotFoundError):
            group.read(file)
    assert box.stats()["memory"]["events"] == {"oom": 1, "oom_kill": 1}
    box.delete(force=True)


def test_who_is_not_to_be_killed_is_not() -> None:
    def program(p: Task) -> Any:
        p.fork(eater(3 * MIB))
        p.process.oom_score_adj = -1000
        p.allocate(4 * MIB)
        try:
            p.allocate(8 * MIB)
        except MemoryError:
            raise
        except OSError as error:
            p.write(f"{errno.errorcode[error.errno or 0]} ")
        _, status = yield p.wait_child()
        p.write(f"child {status}")

    kernel = FakeKernel()
    box = started(kernel, program, memory={"limit": 8 * MIB})
    assert box.wait() == 0
    assert kernel.output("box") == "ENOMEM child 137"
    box.delete()


@BOTH
def test_rdma_limits_refuse_and_are_given_back(cgroups: str) -> None:
    def child(p: Task) -> Any:
        p.use_rdma("mlx5_0", handles=1, objects=10)
        p.write("child has 1 ")
        yield p.wait_signal()

    def program(p: Task) -> Any:
        pid = p.fork(child)
        yield p.sleep(1)
        for device, handles in (("mlx5_0", 2), ("mlx5_0", 1), ("mlx5_7", 1)):
            try:
                p.use_rdma(device, handles=handles)
                p.write(f"{handles} ")
            except OSError as error:
                p.write(f"{errno.errorcode[error.errno or 0]} ")
        p.kill(pid, 9)
        yield p.wait_child()
        p.use_rdma("mlx5_0", handles=1, objects=1 << 20)
        yield p.forever()

    kernel = FakeKernel(cgroups=cgroups)
    box = started(kernel, program, rdma={"mlx5_0": {"hcaHandles": 2}})
    group = kernel.cgroup("box", "rdma")
    assert group.read("rdma.max") == "mlx5_0 hca_handle=2 hca_object=max"
    assert group.read("rdma.current") == "mlx5_0 hca_handle=1 hca_object=10"
    kernel.advance(2)
    assert kernel.output("box") == "child has 1 EAGAIN 1 ENODEV "
    assert group.read("rdma.current") == f"mlx5_0 hca_handle=2 hca_object={1 << 20}"
    assert {"rdma.max", "rdma.current"} <= set(group.files())
    box.kill("KILL")
    box.wait()
    assert group.read("rdma.current") == "mlx5_0 hca_handle=0 hca_object=0"
    box.delete()
    assert kernel.leaks() == []


def test_cgroups_below_are_limited_in_depth_and_number() -> None:
    root = FakeKernel().hierarchies[""].root
    top = root.make("top")
    top.write("cgroup.max.depth", "2")
    below = top.make("a").make("b")
    with pytest.raises(BlockingIOError):
        below.make("c")
    top.write("cgroup.max.depth", "max")
    top.write("cgroup.max.descendants", "3")
    below.make("c")
    for group in (top, below):
        with pytest.raises(BlockingIOError):
            group.make("d")
    root.make("beside").make("d")


@BOTH
def test_a_freezer_holds_programs_and_what_comes_to_them(cgroups: str) -> None:
    def program(p: Task) -> Any:
        p.write("begun ")
        number = yield p.wait_signal(15)
        p.write(f"got {number} ")
        yield p.sleep(5)
        p.write("slept ")
        yield p.forever()

    kernel = FakeKernel(cgroups=cgroups)
    box = started(kernel, program, pids={"limit": 10})
    box.pause()
    box.kill("TERM")
    kernel.advance(60)
    assert (kernel.output("box"), box.status) == ("begun ", "paused")
    box.resume()
    kernel.advance(1)
    assert kernel.output("box") == "begun got 15 "
    box.pause()
    kernel.advance(60)
    assert kernel.output("box") == "begun got 15 "
    box.resume()
    kernel.advance(0)
    assert kernel.output("box") == "begun got 15 slept "
    box.pause()
    box.kill("KILL")
    assert box.wait() == 137
    box.delete()
    assert kernel.leaks() == []
