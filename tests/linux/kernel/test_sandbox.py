"""The sandbox's own steps on a process that stands for the container process."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.linux.kernel.conftest import Entries, planned

from orlop_hookspecs.errors import HookError, PlatformError, StepError
from orlop_hookspecs.launch import LaunchOptions
from orlop_hookspecs.plan import Plan, PlannedStep
from orlop_hookspecs.record import Record
from orlop_hookspecs.steps import (
    CreateCgroup,
    CreateResctrlGroup,
    Execute,
    JoinCgroup,
    LoadSeccomp,
    NewNamespace,
    RunHook,
    SetDeviceRules,
    SetOomScore,
    WriteCgroup,
)
from orlop_linux.kernel.kernel import LinuxKernel
from orlop_linux.live.process import start_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orlop_linux.kernel.sandbox import Sandbox


class Child:
    """Does what a Launch does, with a process that only sleeps."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL)
        self.pid = 0
        self.start_time = 0
        self.warnings = ["from the child"]
        self.calls: list[str] = []
        self.filters: dict[int, tuple[bytes, int]] = {}
        self.listener_was_open = False

    def clone(
        self,
        steps: Sequence[Any],
        *,
        namespaces: dict[tuple[str, str], int],
        cgroup_fd: int | None,
        task_fds: Sequence[int],
    ) -> None:
        assert namespaces == {}
        self.calls.append(f"clone {len(steps)} {cgroup_fd is not None} {len(task_fds) > 0}")
        self.pid, self.start_time = self.process.pid, start_time(self.process.pid)

    def build(  # noqa: PLR0913 - the contract's
        self,
        container: Sequence[Any],
        confined: Sequence[Any],
        execute: Sequence[Any],
        state: bytes,
        *,
        filters: Mapping[int, tuple[bytes, int]],
        cgroup_mounts: Sequence[Any],
        start_listener: int,
        announce_root: object = None,
    ) -> None:
        self.calls.append(
            f"build {len(container)} {len(confined)} {len(execute)} {state!r} {len(cgroup_mounts)}"
        )
        self.filters = dict(filters)
        self.listener_was_open = os.fstat(start_listener).st_ino > 0

    def commit(self) -> None:
        self.calls.append("commit")

    def abort(self) -> None:
        self.calls.append("abort")

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture
def child() -> Iterator[Child]:
    made = Child()
    yield made
    made.process.kill()
    made.process.wait()


@pytest.fixture
def kernel(child: Child, monkeypatch: pytest.MonkeyPatch) -> LinuxKernel:
    made = LinuxKernel()
    monkeypatch.setattr(made, "launch", lambda _record, _options, _first: child)
    return made


@pytest.fixture
def journal() -> Entries:
    return Entries()


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(id="web", phase="creating", directory=str(tmp_path))


def begin(kernel: LinuxKernel, record: Record, journal: Entries, *steps: Any, **options: Any) -> Sandbox:
    phases: dict[str, Any] = {}
    for one in planned(*steps):
        phases[one.phase] = (*phases.get(one.phase, ()), one)
    return kernel.sandbox(Plan(phases), record, journal, LaunchOptions(**options))


def test_the_process_is_in_the_journal_as_soon_as_it_exists(
    kernel: LinuxKernel, record: Record, journal: Entries, child: Child
) -> None:
    sandbox = begin(kernel, record, journal, NewNamespace(because="", type="pid"))
    assert (sandbox.pid, sandbox.start_time, list(sandbox.warnings)) == (0, 0, [])
    sandbox.clone(())
    assert journal == [("process", {"pid": child.pid, "start_time": child.start_time})]
    assert (sandbox.pid, sandbox.start_time) == (child.pid, child.start_time)
    assert record.kernel["own_pid_namespace"] is True
    sandbox.commit()
    sandbox.abort()
    sandbox.close()
    assert child.calls == ["clone 0 False False", "commit", "abort", "close"]


def test_build_listens_compiles_and_closes_its_copy(
    kernel: LinuxKernel, record: Record, journal: Entries, child: Child
) -> None:
    filters = LoadSeccomp(
        because="/linux/seccomp",
        default_action="SCMP_ACT_ALLOW",
        flags=("SECCOMP_FILTER_FLAG_LOG",),
        syscalls=(
            {"names": ("reboot", "no_such_call"), "action": "SCMP_ACT_ERRNO", "errno": None, "args": ()},
        ),
    )
    steps = (filters, Execute(because="", args=("sh",)))
    execute = planned(*steps)
    sandbox = begin(kernel, record, journal, *steps)
    sandbox.clone(())
    Path(record.directory, "start.sock").write_text("stale")
    before = sorted(os.listdir("/proc/self/fd"))
    sandbox.build((), (), execute, b"{}")
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert child.listener_was_open
    assert Path(record.directory, "start.sock").is_socket()
    program, flags = child.filters[0]
    assert program
    assert len(program) % 8 == 0
    assert flags == 2
    warnings = list(sandbox.warnings)
    assert any("no_such_call" in one for one in warnings)
    assert "from the child" in warnings
    sandbox.close()


def test_a_filter_that_cannot_be_compiled_is_refused_before_anything_is_touched(
    kernel: LinuxKernel, record: Record, journal: Entries, child: Child
) -> None:
    args = [{"index": number, "value": 1 << 40, "value_two": 0, "op": "SCMP_CMP_GT"} for number in range(6)]
    rule = {"names": ("ioctl",), "action": "SCMP_ACT_ERRNO", "errno": None, "args": tuple(args)}
    long = LoadSeccomp(because="/linux/seccomp", default_action="SCMP_ACT_ALLOW", syscalls=(rule,) * 200)
    with pytest.raises(StepError, match="instructions, the kernel takes 4096") as caught:
        begin(kernel, record, journal, long)
    assert (caught.value.pointer, caught.value.plugin) == ("/linux/seccomp", "test")
    assert (child.calls, list(journal), os.listdir(record.directory)) == ([], [], [])


def test_oom_score(kernel: LinuxKernel, record: Record, journal: Entries, child: Child) -> None:
    (step,) = planned(SetOomScore(because="/process/oomScoreAdj", score=321))
    sandbox = begin(kernel, record, journal)
    sandbox.clone(())
    sandbox.host_with_pid(step, b"{}")
    assert Path(f"/proc/{child.pid}/oom_score_adj").read_text() == "321\n"


def test_oom_score_is_not_written_to_another_process(
    kernel: LinuxKernel, record: Record, journal: Entries, child: Child
) -> None:
    (step,) = planned(SetOomScore(because="/process/oomScoreAdj", score=321))
    sandbox = begin(kernel, record, journal)
    sandbox.clone(())
    child.start_time += 1
    before = Path(f"/proc/{child.pid}/oom_score_adj").read_text()
    with pytest.raises(StepError, match="no such process") as caught:
        sandbox.host_with_pid(step, b"{}")
    assert caught.value.pointer == "/process/oomScoreAdj"
    assert Path(f"/proc/{child.pid}/oom_score_adj").read_text() == before


def test_hooks_get_the_state(kernel: LinuxKernel, record: Record, journal: Entries, tmp_path: Path) -> None:
    def hook(script: str) -> Any:
        step = RunHook(because="", kind="createRuntime", index=0, path="/bin/sh", args=("sh", "-c", script))
        return planned(step)[0]

    sandbox = begin(kernel, record, journal)
    sandbox.clone(())
    sandbox.host_with_pid(hook(f"/bin/cat >{tmp_path}/state"), b'{"pid": 7}')
    assert (tmp_path / "state").read_bytes() == b'{"pid": 7}'
    with pytest.raises(HookError, match="createRuntime hook 0: exit status 3"):
        sandbox.host_with_pid(hook("exit 3"), b"{}")


def test_steps_of_another_phase_are_refused(kernel: LinuxKernel, record: Record, journal: Entries) -> None:
    (step,) = planned(Execute(because="/process/args", args=("sh",)))
    sandbox = begin(kernel, record, journal)
    with pytest.raises(PlatformError, match="no step Execute in phase host"):
        sandbox.host(step)
    with pytest.raises(PlatformError, match="no step Execute in phase host-with-pid"):
        sandbox.host_with_pid(step, b"{}")
    with pytest.raises(PlatformError, match="no container process"):
        sandbox.build((), (), (), b"{}")


def test_without_managed_cgroups_none_are_made(
    kernel: LinuxKernel, record: Record, journal: Entries, child: Child
) -> None:
    create, rules, limit, join = planned(
        CreateCgroup(because="", path="/orlop-test-never"),
        SetDeviceRules(because="", rules=((False, "a", None, None, "rwm"),)),
        WriteCgroup(because="/linux/resources/pids", controller="pids", v1=(("pids.max", "1"),)),
        JoinCgroup(because=""),
    )
    sandbox = begin(kernel, record, journal, manage_cgroups=False)
    sandbox.host(create)
    sandbox.host(rules)
    assert journal == []
    assert sandbox.warnings == ["cgroups are disabled: access to devices is not restricted"]
    with pytest.raises(StepError, match="no cgroup of its own"):
        sandbox.host(limit)
    sandbox.clone(())
    sandbox.host_with_pid(join, b"{}")
    assert child.calls == ["clone 0 False False"]
    assert kernel.processes(record) == []
    record.phase, record.pid, record.start_time = "created", child.pid, child.start_time
    assert kernel.processes(record) == [child.pid]
    kernel.signal(record, signal.SIGTERM, everything=True)
    assert kernel.wait(record, 10) == 128 + signal.SIGTERM


def test_what_the_host_lacks_is_told_before_the_first_step_and_in_its_plugins_name(
    record: Record, journal: Entries, tmp_path: Path
) -> None:
    kernel = LinuxKernel(resctrl_root=str(tmp_path / "nowhere"))
    first, second = (
        PlannedStep(step, step.phase, step.slot, plugin)
        for step, plugin in (
            (CreateCgroup(because="/linux/cgroupsPath", path="/orlop-test-never"), "cgroups"),
            (CreateResctrlGroup(because="/linux/intelRdt", clos_id="gold"), "intel-rdt"),
        )
    )
    sandbox = kernel.sandbox(Plan({"host": (first, second)}), record, journal, LaunchOptions())
    with pytest.raises(PlatformError, match="no resctrl file system is mounted") as caught:
        sandbox.host(first)
    assert (caught.value.pointer, caught.value.plugin) == ("/linux/intelRdt", "intel-rdt")
    assert caught.value.step.startswith("CreateResctrlGroup")
    assert journal == []
    sandbox.close()
    kernel.close()
