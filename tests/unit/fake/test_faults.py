"""Faults: the promise that every operation leaves nothing behind, at every step, with every plugin."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from typing import Any

import pytest

import orlop
from orlop_fake import (
    DeadlockError,
    FakeKernel,
    FakePlatform,
    FaultReport,
    HookCall,
    Resctrl,
    RuntimeCrash,
    every_fault,
)
from orlop_fake.faults import RESOURCES
from orlop_hookspecs.errors import ContainerNotFoundError, HookError, OrlopError
from orlop_hookspecs.launch import LaunchOptions

HOOK: list[dict[str, Any]] = [{"path": "/bin/true"}]
KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
CONFIG: dict[str, Any] = {
    "ociVersion": "1.2.0",
    "root": {"path": "/image"},
    "hostname": "web",
    "process": {
        "args": ["/bin/sleep", "60"],
        "cwd": "/",
        "env": ["PATH=/bin"],
        "user": {"uid": 0, "gid": 0},
        "noNewPrivileges": True,
        "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}],
    },
    "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
    "hooks": dict.fromkeys(KINDS, HOOK),
    "linux": {
        "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "uts"}],
        "cgroupsPath": "/above/web",
        "resources": {"pids": {"limit": 5}, "rdma": {"mlx5_0": {"hcaHandles": 2}}},
        "intelRdt": {"l3CacheSchema": "L3:0=f;1=f"},
        "maskedPaths": ["/proc/kcore"],
        "readonlyPaths": ["/proc/sys"],
        "seccomp": {"defaultAction": "SCMP_ACT_ALLOW"},
        "sysctl": {},
    },
}
COMPOSITION = orlop.Runtime.compose(platform="fake").composition
RAW = json.dumps(CONFIG).encode()
SCOPED = json.dumps(
    CONFIG
    | {
        "ociVersion": "1.3.0",
        "mounts": [
            *CONFIG["mounts"],
            {"destination": "/sys", "type": "sysfs", "source": "sysfs"},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"},
        ],
        "linux": CONFIG["linux"]
        | {
            "namespaces": [*CONFIG["linux"]["namespaces"], {"type": "cgroup"}],
            "cgroupsPath": "above-all.slice:orlop:web",
            "intelRdt": {"enableMonitoring": True, "schemata": ["MB:0=50"]},
        },
    }
).encode()
BY_SYSTEMD = LaunchOptions(systemd_cgroup=True)


def machine() -> FakeKernel:
    kernel = FakeKernel(resctrl=Resctrl())
    kernel.add_rootfs("/image")
    return kernel


def runtime(kernel: FakeKernel) -> orlop.Runtime:
    # Composed once for all kernels: finding and verifying plugins is not what is tested here.
    return orlop.Runtime(COMPOSITION, FakePlatform(kernel), warn=lambda _: None)


def create(engine: orlop.Runtime) -> None:
    engine.create("web", RAW)


def create_and_start(engine: orlop.Runtime) -> None:
    engine.create("web", RAW).start()


def create_scope(engine: orlop.Runtime) -> None:
    engine.create("web", SCOPED, BY_SYSTEMD)


OPERATIONS: dict[str, tuple[Callable[[orlop.Runtime], Any], Callable[[orlop.Runtime], Any] | None]] = {
    "create": (create, None),
    "start": (lambda engine: engine.get("web").start(), create),
    "kill": (lambda engine: engine.get("web").kill("KILL"), create_and_start),
    "delete": (lambda engine: engine.get("web").delete(force=True), create_and_start),
    "create in a scope": (create_scope, None),
    "delete with a scope": (lambda engine: engine.get("web").delete(force=True), create_scope),
}


def _starved(report: FaultReport, *, deletion: bool) -> None:
    resource = report.act.removeprefix("out of ")
    if deletion and resource == "space":
        # It ends in freeing room: what has none for its mark is undone all the same.
        assert (report.point.name, report.error) == ("slot.append:journal", None), report
    else:
        assert isinstance(report.error, OrlopError), report
        assert report.error.errno == RESOURCES[resource][0], report


@pytest.mark.parametrize("name", OPERATIONS)
def test_nothing_is_left_after_any_fault(name: str) -> None:
    operation, prepare = OPERATIONS[name]
    reports = every_fault(operation, runtime, prepare=prepare, kernel=machine)
    crashes = [report for report in reports if report.act.startswith("crash")]
    assert all(isinstance(report.error, RuntimeCrash) for report in crashes)
    for report in reports:
        if report.act.startswith("out of"):
            _starved(report, deletion=name.startswith("delete"))
        elif report.act == "hook fails" and "poststop" not in report.point.detail:
            assert isinstance(report.error, HookError), report
            assert "exit status 3" in str(report.error)
        elif report.act == "hook hangs":
            assert report.error is None or isinstance(report.error, DeadlockError | HookError), report
        elif report.act == "hook is slow":
            assert report.error is None, report
    acts = {report.act for report in reports}
    if name == "create":
        assert acts >= {f"out of {resource}" for resource in RESOURCES} | {
            "hook fails",
            "hook hangs",
            "hook is slow",
        }
    failures = [report for report in reports if report.act.startswith("fail")]
    # A poststop hook that fails is a warning (runtime.md, step 13).
    swallowed = {str(report.point) for report in failures if report.error is None}
    assert swallowed <= {"step poststop /bin/true"}
    for report in failures:
        if report.error is not None:
            assert isinstance(report.error, OrlopError)
            assert report.error.errno == errno.EIO, report
    if name == "create":
        assert len(failures) >= 30
        assert {type(report.error).__name__ for report in failures} == {"StepError"}
        assert all(report.error.plugin for report in failures if isinstance(report.error, OrlopError))


@pytest.mark.parametrize(("resource", "number"), [(name, RESOURCES[name][0]) for name in RESOURCES])
def test_a_resource_that_is_used_up_comes_back(resource: str, number: int) -> None:
    kernel = machine()
    fault = kernel.faults.exhaust(resource, nth=2 if resource == "space" else 1)
    with pytest.raises(OrlopError) as caught:
        create(runtime(kernel))
    assert caught.value.errno == number
    assert fault.hit is not None
    runtime(kernel).create("web", RAW).delete(force=True)
    assert kernel.leaks() == []
    with pytest.raises(ValueError, match="expected one of processes, memory, space, descriptors"):
        kernel.faults.exhaust("patience")


def test_a_broken_promise_is_reported() -> None:
    def leave_a_cgroup(engine: orlop.Runtime) -> None:
        container = engine.create("web", RAW)
        group = engine.kernel.hierarchies[""].root.make("forgotten", "web")  # type: ignore[attr-defined]
        container.delete(force=True)
        group.remove()

    with pytest.raises(AssertionError, match=r"cgroup /forgotten"):
        every_fault(leave_a_cgroup, runtime, kernel=machine, errnos=())


def test_a_dead_runtime_does_nothing_more() -> None:
    kernel = machine()
    engine = runtime(kernel)
    kernel.faults.crash_after("JoinCgroup")
    try:
        create(engine)
    except RuntimeCrash:
        # What runs while the crash unwinds is code of the dead runtime.
        for act in (kernel.now, kernel.store().list):
            with pytest.raises(RuntimeCrash, match="the runtime is dead"):
                act()
    else:
        pytest.fail("it did not crash")
    assert kernel.store().list() == ["web"]
    assert any(line.startswith("cgroup /above/web") for line in kernel.leaks())
    assert not any(line.startswith("process") for line in kernel.leaks()), "it was not committed"
    runtime(kernel).get("web").delete(force=True)
    assert kernel.leaks() == []


def test_a_committed_container_outlives_its_runtime() -> None:
    kernel = machine()
    kernel.faults.crash_after("commit")
    with pytest.raises(RuntimeCrash):
        create(runtime(kernel))
    container = runtime(kernel).get("web")
    assert container.state()["status"] == "created"
    container.start()
    assert container.wait() is None, "the status of a process that is not a child is unknown"
    assert container.state()["status"] == "stopped"
    container.delete()
    assert kernel.leaks() == []


def test_a_crash_while_creating_is_seen_as_stopped() -> None:
    kernel = machine()
    kernel.faults.crash_before("commit")
    with pytest.raises(RuntimeCrash):
        create(runtime(kernel))
    container = runtime(kernel).get("web")
    assert container.state()["status"] == "stopped"
    container.delete(force=True)
    with pytest.raises(ContainerNotFoundError):
        container.state()


def test_the_nth_step_fails() -> None:
    kernel = machine()
    fault = kernel.faults.fail("MaskPath", errno.ENOMEM)
    with pytest.raises(OrlopError) as caught:
        create(runtime(kernel))
    assert caught.value.errno == errno.ENOMEM
    assert fault.hit is not None
    assert "MaskPath" in fault.hit.detail
    kernel.faults.clear()
    second = kernel.faults.fail("NewNamespace", errno.ENOSPC, nth=2)
    with pytest.raises(OrlopError):
        create(runtime(kernel))
    assert second.hit is not None
    assert "mount" in second.hit.detail
    kernel.faults.clear()
    kernel.faults.fail("*pids.max*", errno.EBUSY)
    with pytest.raises(OrlopError):
        create(runtime(kernel))
    assert kernel.leaks() == []


def with_timeout(seconds: int | None) -> bytes:
    hook = HOOK if seconds is None else [HOOK[0] | {"timeout": seconds}]
    return json.dumps(CONFIG | {"hooks": {"createRuntime": hook}}).encode()


def test_slow_and_hanging_hooks() -> None:
    kernel = machine()
    before = kernel.clock.seconds
    kernel.faults.slow_hook(2)
    runtime(kernel).create("web", with_timeout(5)).delete(force=True)
    assert kernel.clock.seconds == before + 2
    kernel.faults.clear()
    kernel.faults.hang_hook()
    with pytest.raises(HookError, match="ran out of time after 5 s"):
        runtime(kernel).create("web", with_timeout(5))
    assert kernel.clock.seconds == before + 7
    kernel.faults.clear()
    kernel.faults.hang_hook()
    with pytest.raises(DeadlockError, match="has no timeout"):
        runtime(kernel).create("web", with_timeout(None))
    assert kernel.leaks() == []


@pytest.mark.parametrize(
    ("hook", "text"),
    [
        (lambda _: 3, "exit status 3"),
        (lambda call: call.env["x"], "KeyError"),
        (lambda call: call.hang(), "ran out of time after 5 s"),
    ],
)
def test_hooks_that_fail(hook: Callable[[HookCall], Any], text: str) -> None:
    kernel = machine()
    kernel.hooks["/bin/true"] = hook
    with pytest.raises(HookError, match=text):
        runtime(kernel).create("web", with_timeout(5))
    assert kernel.leaks() == []
