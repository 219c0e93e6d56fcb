"""Scheduling, I/O priority, execution domain and memory policy on the fake kernel: effects and refusals."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from tests.unit.fake.planned import Container, base, machine, made

from orlop_fake import Host, Task
from orlop_fake.traits import PLAIN, Traits
from orlop_hookspecs import steps
from orlop_hookspecs.errors import StepError
from orlop_hookspecs.steps import Step

DEADLINE = {"policy": "SCHED_DEADLINE", "runtime": 10**7, "deadline": 2 * 10**7}
RESET = "SCHED_FLAG_RESET_ON_FORK"


def scheduler(**wanted: Any) -> Step:
    return made(steps.SetScheduler, **wanted)


def memory(mode: str, *nodes: tuple[int, int], flags: tuple[str, ...] = ()) -> Step:
    return made(steps.SetMemoryPolicy, mode=mode, nodes=nodes, flags=flags)


def refused(kernel: Any, step: Step, *more: Step) -> int:
    one = Container(kernel, base(*more, step))
    with pytest.raises(StepError) as caught:
        one.create()
    assert caught.value.step == step.describe()
    one.delete()
    assert kernel.leaks() == []
    return caught.value.errno or 0


@pytest.mark.parametrize(
    ("wanted", "number"),
    [
        ({"policy": "SCHED_ISO"}, errno.EINVAL),
        ({"policy": "SCHED_DREAM"}, errno.EINVAL),
        ({"policy": "SCHED_FIFO"}, errno.EINVAL),
        ({"policy": "SCHED_RR", "priority": 100}, errno.EINVAL),
        ({"policy": "SCHED_OTHER", "priority": 1}, errno.EINVAL),
        ({"policy": "SCHED_OTHER", "nice": 20}, errno.EINVAL),
        ({"policy": "SCHED_DEADLINE", "runtime": 1000, "deadline": 10**6}, errno.EINVAL),
        ({"policy": "SCHED_DEADLINE", "runtime": 10**6, "deadline": 10**5}, errno.EINVAL),
        ({"policy": "SCHED_DEADLINE", "runtime": 1024, "deadline": 50_000}, errno.EINVAL),
        ({"policy": "SCHED_DEADLINE", "runtime": 1024, "deadline": 10**10}, errno.EINVAL),
        (DEADLINE | {"priority": 1}, errno.EINVAL),
        ({"policy": "SCHED_BATCH", "flags": ("SCHED_FLAG_KEEP_POLICY",)}, errno.EINVAL),
        ({"policy": "SCHED_FIFO", "flags": ("SCHED_FLAG_KEEP_PARAMS",)}, errno.EINVAL),
    ],
)
def test_schedulers_that_linux_refuses(wanted: dict[str, Any], number: int) -> None:
    assert refused(machine(), scheduler(**wanted)) == number


def test_real_time_needs_a_share_in_a_cgroup_of_version_1() -> None:
    fifo = scheduler(policy="SCHED_FIFO", priority=9)
    assert refused(machine(cgroups="v1"), fifo) == errno.EPERM
    share = made(steps.WriteCgroup, controller="cpu", v1=(("cpu.rt_runtime_us", "1000"),), v2=None)
    one = Container(machine(cgroups="v1"), base(share, fifo)).create()
    assert one.process.traits == Traits(policy="SCHED_FIFO", priority=9)
    assert Container(machine(cgroups="v2"), base(fifo)).create().process.traits.policy == "SCHED_FIFO"


def test_utilization_is_clamped_only_where_the_kernel_can() -> None:
    clamped = scheduler(policy="SCHED_OTHER", flags=("SCHED_FLAG_UTIL_CLAMP_MAX",))
    assert refused(machine(host=Host(util_clamp=False)), clamped) == errno.EOPNOTSUPP
    one = Container(machine(), base(clamped)).create()
    assert one.process.traits.flags == ("SCHED_FLAG_UTIL_CLAMP_MAX",)


def test_deadlines_share_the_cpus() -> None:
    kernel = machine(host=Host(cpus=1))
    half = scheduler(policy="SCHED_DEADLINE", runtime=10**7, deadline=2 * 10**7)
    first = Container(kernel, base(half), "first").create()
    second = Container(kernel, base(half), "second")
    with pytest.raises(StepError) as caught:
        second.create()
    assert caught.value.errno == errno.EBUSY
    second.delete()
    first.delete()
    Container(kernel, base(half), "third").create().delete()


def unprivileged(*more: Step) -> list[Step]:
    plain = [one for one in base() if type(one).__name__ not in {"CreateCgroup", "JoinCgroup"}]
    own = (
        made(steps.NewNamespace, type="user"),
        made(steps.SetIdMappings, uid=((0, 1000, 1),), gid=((0, 1000, 1),)),
    )
    return [*plain, *own, *more]


@pytest.mark.parametrize(
    "step",
    [
        scheduler(policy="SCHED_FIFO", priority=1),
        scheduler(**DEADLINE),
        scheduler(policy="SCHED_OTHER", nice=-1),
        made(steps.SetIoPriority, class_="IOPRIO_CLASS_RT", priority=0),
    ],
    ids=lambda one: str(one)[:50],
)
def test_an_unprivileged_caller_may_not(step: Step) -> None:
    kernel = machine(uid=1000)
    one = Container(kernel, unprivileged(step))
    with pytest.raises(StepError) as caught:
        one.create()
    assert caught.value.errno == errno.EPERM


def test_an_unprivileged_caller_may_be_nicer() -> None:
    nicer = scheduler(policy="SCHED_BATCH", nice=5)
    one = Container(machine(uid=1000), unprivileged(nicer)).create()
    assert one.process.traits.nice == 5


def test_io_priority() -> None:
    wrong = made(steps.SetIoPriority, class_="IOPRIO_CLASS_BE", priority=8)
    assert refused(machine(), wrong) == errno.EINVAL
    right = made(steps.SetIoPriority, class_="IOPRIO_CLASS_RT", priority=7)
    process = Container(machine(), base(right)).create().process
    assert (process.traits.io_class, process.traits.io_priority) == ("IOPRIO_CLASS_RT", 7)


def test_an_unknown_domain() -> None:
    assert refused(machine(), made(steps.SetPersonality, domain="BSD")) == errno.EINVAL


@pytest.mark.parametrize(
    "step",
    [
        memory("MPOL_DEFAULT", (0, 0)),
        memory("MPOL_LOCAL", (0, 0)),
        memory("MPOL_BIND"),
        memory("MPOL_BIND", (4, 4)),
        memory("MPOL_BIND", (0, 4)),
        memory("MPOL_BIND", (7, 9), flags=("MPOL_F_STATIC_NODES",)),
        memory("MPOL_PREFERRED", flags=("MPOL_F_STATIC_NODES",)),
        memory("MPOL_BIND", (0, 0), flags=("MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES")),
        memory("MPOL_INTERLEAVE", (0, 0), flags=("MPOL_F_NUMA_BALANCING",)),
    ],
    ids=lambda one: str(one)[:80],
)
def test_memory_policies_that_linux_refuses(step: Step) -> None:
    assert refused(machine(host=Host(nodes=4)), step) == errno.EINVAL


@pytest.mark.parametrize(
    ("step", "shown"),
    [
        (memory("MPOL_BIND", (0, 1), (3, 3)), "bind:0-1,3"),
        (memory("MPOL_INTERLEAVE", (0, 3)), "interleave:0-3"),
        (memory("MPOL_WEIGHTED_INTERLEAVE", (2, 2)), "weighted interleave:2"),
        (memory("MPOL_PREFERRED"), "local"),
        (memory("MPOL_BIND", (3, 9), flags=("MPOL_F_STATIC_NODES",)), "bind=static:3-9"),
        (
            memory("MPOL_BIND", (0, 0), flags=("MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES")),
            "bind=relative|balancing:0",
        ),
    ],
)
def test_memory_policies_can_be_read_back(step: Step, shown: str) -> None:
    kernel = machine(host=Host(nodes=4))
    one = Container(kernel, base(step)).create()
    assert one.process.traits.memory_text() == shown


def test_a_cpuset_limits_the_nodes() -> None:
    kernel = machine(host=Host(nodes=4), cgroups="v1")
    mems = made(steps.WriteCgroup, controller="cpuset", v1=(("cpuset.mems", "0-1"),), v2=None)
    assert refused(kernel, memory("MPOL_BIND", (1, 2)), mems) == errno.EINVAL
    one = Container(kernel, base(mems, memory("MPOL_BIND", (0, 1)))).create()
    assert one.process.traits.memory_nodes == (0, 1)


def test_what_children_inherit() -> None:
    seen: dict[str, Traits] = {}

    def child(p: Task) -> None:
        seen["child"] = p.process.traits

    def parent(p: Task) -> Any:
        if p.process.traits.policy == "SCHED_DEADLINE" and RESET not in p.process.traits.flags:
            with pytest.raises(BlockingIOError):  # EAGAIN
                p.fork(child)
            seen["child"] = Traits(policy="none")
        else:
            p.fork(child)
        yield p.forever()

    def run(*more: Step) -> Traits:
        kernel = machine(programs={"/bin/sleep": parent})
        one = Container(kernel, base(*more)).create().start()
        assert kernel.status(one.record) == "running"
        one.delete()
        return seen.pop("child")

    assert run() is PLAIN
    assert run(scheduler(policy="SCHED_BATCH", nice=3)) == Traits(policy="SCHED_BATCH", nice=3)
    assert run(scheduler(policy="SCHED_OTHER", nice=-3, flags=(RESET,))) == PLAIN
    assert run(scheduler(policy="SCHED_FIFO", priority=3, nice=2, flags=(RESET,))) == PLAIN
    assert run(scheduler(policy="SCHED_FIFO", priority=3)) == Traits(policy="SCHED_FIFO", priority=3)
    assert run(scheduler(**DEADLINE)).policy == "none"
    assert run(scheduler(**DEADLINE, flags=(RESET,)), memory("MPOL_LOCAL")) == Traits(
        memory_mode="MPOL_LOCAL"
    )
