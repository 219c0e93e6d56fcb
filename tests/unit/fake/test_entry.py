"""Processes that join a container of the fake kernel: every fault on the way, and what is left of it."""

from __future__ import annotations

import errno
from typing import Any

import pytest

import orlop
from orlop_fake import FakeKernel, FakePlatform, Host, Resctrl, RuntimeCrash, every_fault
from orlop_hookspecs.errors import StateError, StepError
from orlop_hookspecs.launch import ExecOptions
from orlop_hookspecs.plan import Plan

CONFIG: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "root": {"path": "/image"},
    "process": {
        "cwd": "/",
        "args": ["/bin/sleep", "1000"],
        "user": {"uid": 0, "gid": 0, "umask": 0o77},
        "apparmorProfile": "box",
        "oomScoreAdj": 5,
        "scheduler": {"policy": "SCHED_BATCH"},
        "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 0},
        "execCPUAffinity": {"initial": "0", "final": "1"},
        "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}],
        "noNewPrivileges": True,
    },
    "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
    "linux": {
        "namespaces": [{"type": name} for name in ("pid", "mount", "ipc", "uts", "network", "cgroup")],
        "seccomp": {"defaultAction": "SCMP_ACT_ALLOW"},
        "intelRdt": {"l3CacheSchema": "L3:0=f;1=f"},
        "personality": {"domain": "LINUX32"},
        "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": []},
    },
}
STEPS = (
    "RequireSecurityModule", "SetCpuAffinity", "JoinResctrlGroup", "SetOomScore", "NewKeyring", "NewSession",
    "CheckExecutable", "SetPersonality", "SetMemoryPolicy", "SetApparmorProfile", "SetScheduler",
    "SetIoPriority", "SetRlimits", "SetUmask", "SetNoNewPrivileges", "SetUser", "SetCapabilities",
    "LoadSeccomp", "Execute",
)  # fmt: skip


def machine() -> FakeKernel:
    kernel = FakeKernel(resctrl=Resctrl(), host=Host(apparmor=("box",)))
    kernel.add_rootfs("/image")
    return kernel


def runtime(kernel: FakeKernel) -> orlop.Runtime:
    return orlop.Runtime.compose(platform=FakePlatform(kernel))


def prepare(made: orlop.Runtime) -> None:
    made.create("box", CONFIG).start()


def test_no_fault_leaves_anything() -> None:
    def operation(made: orlop.Runtime) -> None:
        assert made.get("box").exec(["/bin/true"]).wait() == 0

    reports = every_fault(operation, runtime, prepare=prepare, kernel=machine)
    passed = {report.point.name for report in reports}
    assert {"enter", "run", *STEPS} <= passed


@pytest.mark.parametrize("name", STEPS)
def test_a_step_that_fails_leaves_the_container_as_it_was(name: str) -> None:
    kernel = machine()
    made = runtime(kernel)
    prepare(made)
    before = kernel.snapshot()
    kernel.faults.fail(name, errno.EIO)
    with pytest.raises(StepError) as caught:
        made.get("box").exec(["/bin/true"])
    assert (caught.value.errno, caught.value.act) == (errno.EIO, "exec")
    kernel.faults.clear()
    assert kernel.snapshot() == before, before.diff(kernel.snapshot())
    assert made.get("box").exec(["/bin/true"]).wait() == 0


@pytest.mark.parametrize("point", ["run", "SetUser"])
def test_a_runtime_that_dies_first_leaves_no_process(point: str) -> None:
    kernel = machine()
    made = runtime(kernel)
    prepare(made)
    kernel.faults.crash_before(point)
    with pytest.raises(RuntimeCrash):
        made.get("box").exec(["/bin/sleep", "100"])
    kernel.faults.clear()
    assert len(runtime(kernel).get("box").processes()) == 1


def test_a_runtime_that_dies_afterwards_leaves_the_program() -> None:
    kernel = machine()
    made = runtime(kernel)
    prepare(made)
    kernel.faults.crash_after("run")
    with pytest.raises(RuntimeCrash):
        made.get("box").exec(["/bin/sleep", "100"])
    kernel.faults.clear()
    box = runtime(kernel).get("box")
    assert len(box.processes()) == 2
    box.delete(force=True)
    assert kernel.leaks() == []


def test_the_process_is_of_the_containers_class_and_profile() -> None:
    kernel = machine()
    made = runtime(kernel)
    prepare(made)
    process = made.get("box").exec(["/bin/sleep", "100"])
    joined = next(one for one in kernel.all_processes() if one.pid == process.pid)
    assert kernel.resctrl is not None
    clos = kernel.resctrl.find("box")
    assert clos is not None
    assert joined in clos.processes
    traits = joined.traits
    assert (traits.profile, traits.policy, traits.domain, traits.cpus) == (
        "box",
        "SCHED_BATCH",
        "LINUX32",
        (1,),
    )
    assert (joined.oom_score_adj, joined.umask, len(joined.filters)) == (5, 0o77, 1)
    other = {"cwd": "/", "args": ["/bin/true"], "apparmorProfile": "nobody's"}
    with pytest.raises(StepError, match="no profile"):
        made.get("box").exec(other)


def test_a_container_that_ends_meanwhile() -> None:
    kernel = machine()
    made = runtime(kernel)
    prepare(made)
    record = made.get("box").record()
    made.get("box").kill("KILL")
    with pytest.raises(StateError, match="cannot exec in a stopped container"):
        made.kernel.enter(record, Plan({}), ExecOptions())
