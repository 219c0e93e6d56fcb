"""Scheduler, I/O priority, execution domain and memory policy of the program, read back from the kernel."""

from __future__ import annotations

import ctypes
import errno
import functools
import gzip
import os
from pathlib import Path
from typing import Any

import pytest
from tests.linux.child.support import Box
from tests.needs import lacks

import orlop
from orlop_linux.kernel.scheduling import FLAGS, IO_CLASSES, POLICIES, scheduling_of

RESET = "SCHED_FLAG_RESET_ON_FORK"
DEADLINE = {"policy": "SCHED_DEADLINE", "runtime": 5_000_000, "deadline": 20_000_000, "period": 40_000_000}
USERS = {
    "namespaces": [{"type": kind} for kind in ("user", "pid", "mount", "ipc", "uts")],
    "uidMappings": [{"containerID": 0, "hostID": 100_000, "size": 65536}],
    "gidMappings": [{"containerID": 0, "hostID": 100_000, "size": 65536}],
}

_ioprio_get = {"x86_64": 252, "aarch64": 31}.get(os.uname().machine, -1)


def io_priority_of(pid: int) -> tuple[int, int]:
    """Return class and level, see ioprio_get(2)."""
    value = ctypes.CDLL(None).syscall(_ioprio_get, 1, pid)
    return value >> 13, value & 7


@functools.cache
def kernel_option(name: str) -> bool:
    """Tell whether the running kernel was built with *name*; unknown is no."""
    for path, opener in (
        ("/proc/config.gz", gzip.open),
        (f"/boot/config-{os.uname().release}", open),
    ):
        if os.path.exists(path):
            with opener(path, "rt") as file:
                return f"{name}=y\n" in file
    return False


needs_nice = pytest.mark.needs("capability:CAP_SYS_NICE")
needs_ioprio = pytest.mark.skipif(_ioprio_get < 0, reason="needs to know the number of ioprio_get(2)")


def scheduled(box: Box, name: str = "box", **wanted: Any) -> Any:
    made = box.start(box.config(process={"scheduler": wanted}), name)
    found = scheduling_of(made.pid)
    nice = os.getpriority(os.PRIO_PROCESS, made.pid)
    made.delete(force=True)
    return found, nice


@pytest.mark.parametrize("policy", ["SCHED_OTHER", "SCHED_BATCH", "SCHED_IDLE"])
@pytest.mark.parametrize("flags", [[], [RESET]])
@pytest.mark.parametrize("nice", [0, 11])
def test_fair_policies(box: Box, policy: str, flags: list[str], nice: int) -> None:
    found, shown = scheduled(box, policy=policy, flags=flags, nice=nice)
    assert (found.policy, found.priority, shown) == (POLICIES[policy], 0, nice)
    assert found.flags == (FLAGS[RESET] if flags else 0)


@needs_nice
def test_a_nice_value_that_needs_a_privilege(box: Box) -> None:
    assert scheduled(box, policy="SCHED_OTHER", nice=-20)[1] == -20


def real_time_share(box: Box) -> dict[str, Any]:
    """Return resources with a share of real time where the host shares it out by cgroup."""
    if lacks("rt-group"):
        return {}
    # The parent needs a share before the container's group can have one.
    parent = Path(f"/sys/fs/cgroup/cpu{box.cgroup}")
    parent.mkdir()
    (parent / "cpu.rt_runtime_us").write_text("20000")
    return {"resources": {"cpu": {"realtimeRuntime": 10000, "realtimePeriod": 1_000_000}}}


@needs_nice
@pytest.mark.parametrize("policy", ["SCHED_FIFO", "SCHED_RR"])
@pytest.mark.parametrize("users", [{}, USERS], ids=["", "user namespace"])
def test_real_time(box: Box, policy: str, users: dict[str, Any]) -> None:
    wanted = {"policy": policy, "priority": 3, "nice": 4, "flags": [RESET]}
    config = box.config(process={"scheduler": wanted}, linux=users | real_time_share(box))
    made = box.start(config)
    found = scheduling_of(made.pid)
    assert (found.policy, found.priority, found.flags) == (POLICIES[policy], 3, FLAGS[RESET])
    assert os.getpriority(os.PRIO_PROCESS, made.pid) == 4


@needs_nice
@pytest.mark.needs("rt-group")
def test_real_time_in_a_cgroup_without_a_share_is_refused(box: Box) -> None:
    with pytest.raises(orlop.StepError, match="cannot set the scheduler to SCHED_FIFO") as caught:
        box.create(box.config(process={"scheduler": {"policy": "SCHED_FIFO", "priority": 3}}))
    assert (caught.value.errno, caught.value.pointer) == (errno.EPERM, "/process/scheduler")
    assert "CAP_SYS_NICE" in caught.value.hint
    assert box.left() == []


@needs_nice
@pytest.mark.parametrize("users", [{}, USERS], ids=["", "user namespace"])
def test_a_deadline(box: Box, users: dict[str, Any]) -> None:
    flags = [RESET, "SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN"]
    config = box.config(process={"scheduler": DEADLINE | {"flags": flags, "nice": -5}}, linux=users)
    made = box.start(config)
    found = scheduling_of(made.pid)
    assert (found.policy, found.runtime, found.deadline, found.period) == (
        6,
        5_000_000,
        20_000_000,
        40_000_000,
    )
    assert found.flags == sum(FLAGS[flag] for flag in flags)
    assert os.getpriority(os.PRIO_PROCESS, made.pid) == -5


@needs_nice
def test_a_deadline_for_which_there_is_no_time(box: Box) -> None:
    wanted = {"policy": "SCHED_DEADLINE", "runtime": 90_000_000, "deadline": 100_000_000}
    cpus = len(os.sched_getaffinity(0))

    def fill() -> None:
        for number in range(cpus + 1):
            box.create(box.config(process={"scheduler": wanted}), f"box{number}")

    with pytest.raises(orlop.StepError, match="device or resource busy") as caught:
        fill()
    assert caught.value.pointer == "/process/scheduler"
    assert caught.value.container not in [one.id for one in box.runtime.list()]


@pytest.mark.parametrize("flag", ["SCHED_FLAG_UTIL_CLAMP_MIN", "SCHED_FLAG_UTIL_CLAMP_MAX"])
def test_clamped_utilization_or_a_clear_refusal(box: Box, flag: str) -> None:
    config = box.config(process={"scheduler": {"policy": "SCHED_OTHER", "flags": [flag]}})
    if kernel_option("CONFIG_UCLAMP_TASK"):
        found = scheduling_of(box.start(config).pid)
        assert (found.util_min if flag.endswith("MIN") else found.util_max) == 0
        return
    with pytest.raises(orlop.StepError, match="not supported") as caught:
        box.create(config)
    assert (caught.value.errno, caught.value.pointer) == (errno.EOPNOTSUPP, "/process/scheduler")
    assert box.left() == []


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ({"policy": "SCHED_ISO"}, "cannot set the scheduler to SCHED_ISO: invalid argument"),
        (
            {"policy": "SCHED_IDLE", "flags": ["SCHED_FLAG_KEEP_POLICY"]},
            "the flags keep the policy that the process has, SCHED_OTHER, and not SCHED_IDLE",
        ),
        (
            {"policy": "SCHED_DEADLINE", "runtime": 1024, "deadline": 1 << 62},
            "SCHED_DEADLINE: invalid argument",
        ),
    ],
)
def test_what_the_kernel_cannot_honour_is_refused(box: Box, wanted: dict[str, Any], why: str) -> None:
    with pytest.raises(orlop.StepError, match=why) as caught:
        box.create(box.config(process={"scheduler": wanted}))
    assert caught.value.pointer == "/process/scheduler"
    assert box.left() == []


def test_a_start_container_hook_of_a_process_with_a_deadline(box: Box) -> None:
    hook = box.rootfs / "bin/hook"
    hook.write_text("#!/bin/sh\necho ran >/tmp/ran\n")
    hook.chmod(0o755)
    config = box.config(
        process={"scheduler": DEADLINE | {"flags": [RESET]}},
        hooks={"startContainer": [{"path": "/bin/hook"}]},
    )
    made = box.start(config)
    assert (box.rootfs / "tmp/ran").read_text() == "ran\n"
    assert scheduling_of(made.pid).policy == POLICIES["SCHED_DEADLINE"]


def test_the_scheduler_is_not_that_of_those_who_make_the_container(box: Box) -> None:
    """A hook of createContainer is a child of the container process, and has not its policy yet."""
    hook = box.place / "hook"
    hook.write_text(f"#!/bin/sh\ncut -d' ' -f41 /proc/self/stat >{box.place}/policy\n")
    hook.chmod(0o755)
    config = box.config(
        process={"scheduler": {"policy": "SCHED_BATCH"}}, hooks={"createContainer": [{"path": str(hook)}]}
    )
    made = box.start(config)
    assert (box.place / "policy").read_text() == "0\n"
    assert scheduling_of(made.pid).policy == POLICIES["SCHED_BATCH"]


@needs_ioprio
@pytest.mark.parametrize("name", IO_CLASSES)
@pytest.mark.parametrize("level", [0, 7])
@pytest.mark.parametrize("users", [{}, USERS], ids=["", "user namespace"])
def test_io_priority(box: Box, name: str, level: int, users: dict[str, Any]) -> None:
    if name == "IOPRIO_CLASS_RT" and lacks("capability:CAP_SYS_NICE"):
        pytest.skip("the class needs CAP_SYS_NICE")
    config = box.config(process={"ioPriority": {"class": name, "priority": level}}, linux=users)
    assert io_priority_of(box.start(config).pid) == (IO_CLASSES[name], level)


@needs_ioprio
def test_io_priority_reaches_the_programs_children(box: Box) -> None:
    wanted = {"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 6}}
    assert box.run(box.script("busybox ionice; true", process=wanted)).output == "best-effort: prio 6\n"


@pytest.mark.parametrize("initial", ["0", ""])
def test_the_affinity_of_exec_leaves_the_first_process_alone(box: Box, initial: str) -> None:
    config = box.config(process={"execCPUAffinity": {"initial": initial, "final": "0"}})
    assert os.sched_getaffinity(box.start(config).pid) == os.sched_getaffinity(0)


@pytest.mark.parametrize("domain", ["LINUX", "LINUX32"])
def test_personality(box: Box, domain: str) -> None:
    """Also where the caller has another one, with flags."""
    ctypes.CDLL(None).personality(0x0040000)  # ADDR_NO_RANDOMIZE
    try:
        made = box.start(box.config(linux={"personality": {"domain": domain}}))
        found = Path(f"/proc/{made.pid}/personality").read_text()
    finally:
        ctypes.CDLL(None).personality(0)
    assert found == f"{8 if domain == 'LINUX32' else 0:08x}\n"


def memory_of(pid: int) -> str:
    """Return the policy that the kernel shows for the first mapping of *pid*."""
    line = Path(f"/proc/{pid}/numa_maps").read_text().splitlines()[0]
    return line.split(" ", 1)[1].split(" file=")[0]


def nodes_with_memory() -> str:
    return Path("/sys/devices/system/node/has_memory").read_text().strip()


has_nodes = os.path.exists("/sys/devices/system/node/has_memory")
needs_nodes = pytest.mark.skipif(not has_nodes, reason="needs a kernel with CONFIG_NUMA")


@needs_nodes
@pytest.mark.parametrize("users", [{}, USERS], ids=["", "user namespace"])
@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        ({"mode": "MPOL_DEFAULT"}, "default"),
        ({"mode": "MPOL_LOCAL"}, "local"),
        ({"mode": "MPOL_BIND", "nodes": "ALL"}, "bind:ALL"),
        ({"mode": "MPOL_INTERLEAVE", "nodes": "ALL"}, "interleave:ALL"),
        ({"mode": "MPOL_PREFERRED_MANY", "nodes": "ALL"}, "prefer (many):ALL"),
        ({"mode": "MPOL_PREFERRED", "nodes": "0"}, "prefer:0"),
        ({"mode": "MPOL_BIND", "nodes": "ALL", "flags": ["MPOL_F_STATIC_NODES"]}, "bind=static:ALL"),
        ({"mode": "MPOL_BIND", "nodes": "ALL", "flags": ["MPOL_F_RELATIVE_NODES"]}, "bind=relative:ALL"),
    ],
)
def test_memory_policy(box: Box, wanted: dict[str, Any], shown: str, users: dict[str, Any]) -> None:
    policy = {
        name: value.replace("ALL", nodes_with_memory()) if isinstance(value, str) else value
        for name, value in wanted.items()
    }
    made = box.start(box.config(linux=users | {"memoryPolicy": policy}))
    assert memory_of(made.pid) == shown.replace("ALL", nodes_with_memory())


@needs_nodes
def test_weighted_interleave_or_a_clear_refusal(box: Box) -> None:
    """The mode is there since Linux 6.9."""
    config = box.config(linux={"memoryPolicy": {"mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0"}})
    if tuple(int(part) for part in os.uname().release.split(".")[:2]) >= (6, 9):
        assert memory_of(box.start(config).pid) == "weighted interleave:0"
        return
    with pytest.raises(orlop.StepError, match="invalid argument"):
        box.create(config)
    assert box.left() == []


@needs_nodes
@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ({"mode": "MPOL_BIND", "nodes": "1023"}, "invalid argument"),
        ({"mode": "MPOL_BIND", "nodes": "0,1023"}, "invalid argument|lacks one of the nodes"),
        ({"mode": "MPOL_INTERLEAVE", "nodes": "0-63"}, "invalid argument|lacks one of the nodes"),
    ],
)
def test_nodes_that_are_not_there_are_refused(box: Box, wanted: dict[str, Any], why: str) -> None:
    with pytest.raises(orlop.StepError, match=why) as caught:
        box.create(box.config(linux={"memoryPolicy": wanted}))
    assert caught.value.pointer == "/linux/memoryPolicy"
    assert wanted["mode"] in str(caught.value)
    assert box.left() == []


@needs_nodes
@pytest.mark.needs("numa")
def test_a_cpuset_without_one_of_the_nodes_is_a_refusal(box: Box) -> None:
    linux = {
        "resources": {"cpu": {"mems": "0"}},
        "memoryPolicy": {"mode": "MPOL_BIND", "nodes": nodes_with_memory()},
    }
    with pytest.raises(orlop.StepError, match="this host or the cpuset lacks one of the nodes"):
        box.create(box.config(linux=linux))
    assert box.left() == []
