"""Cgroups of the running kernel: made, limited, filled, frozen, emptied, removed."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.linux.kernel.conftest import SLEEP, planned

from orlop_hookspecs.errors import PlatformError, StateError, StepError
from orlop_hookspecs.launch import LaunchOptions
from orlop_hookspecs.plan import Plan
from orlop_hookspecs.steps import CreateCgroup, SetDeviceRules, WriteCgroup

if TYPE_CHECKING:
    from tests.linux.kernel.conftest import Box

pytestmark = pytest.mark.every_lane

PIDS = WriteCgroup(
    because="/linux/resources/pids/limit",
    controller="pids",
    v1=(("pids.max", "32"),),
    v2=(("pids.max", "32"),),
)


def test_a_cgroup_is_made_everywhere_and_removed_with_its_parent(box: Box) -> None:
    box.create(PIDS)
    assert box.directories()
    assert all(Path(one).is_dir() for one in box.directories())
    assert Path(box.directory("pids"), "pids.max").read_text() == "32\n"
    box.undo()
    assert not any(Path(one).parent.exists() for one in box.directories())
    box.undo()


def test_undo_kills_what_is_left_inside_also_in_cgroups_below(box: Box) -> None:
    box.create()
    box.start(
        "import subprocess\n"
        f"below = [one + '/a/b' for one in {box.directories()!r}]\n"
        "[os.makedirs(one) for one in below if 'cpuset' not in one]\n"
        "[open(one + '/cgroup.procs', 'w').write('0') for one in below if 'cpuset' not in one]\n" + SLEEP
    )
    assert len(box.kernel.processes(box.record)) == 1
    box.undo()
    assert not any(Path(one).parent.exists() for one in box.directories())
    assert box.kernel.status(box.record) == "stopped"


def test_a_cgroup_in_use_is_refused_and_untouched(box: Box) -> None:
    box.create()
    box.start(SLEEP)
    step = CreateCgroup(because="/linux/cgroupsPath", path=f"/{box.name}/box")
    (one,) = planned(step)
    sandbox = box.kernel.sandbox(Plan({"host": (one,)}), box.record, box.journal, LaunchOptions())
    entries = list(box.journal)
    with pytest.raises(StepError, match="in use by 1 processes") as caught:
        sandbox.host(one)
    sandbox.close()
    assert caught.value.pointer == "/linux/cgroupsPath"
    assert box.journal == entries
    assert box.kernel.status(box.record) == "running"


def test_a_refused_value_names_property_file_and_reason(box: Box) -> None:
    step = WriteCgroup(
        because="/linux/resources/pids/limit",
        controller="pids",
        v1=(("pids.max", "-7"),),
        v2=(("pids.max", "-7"),),
    )
    with pytest.raises(StepError, match=r"cannot write '-7' to pids\.max: invalid argument") as caught:
        box.create(step)
    assert caught.value.pointer == "/linux/resources/pids/limit"
    box.undo()
    assert not any(Path(one).parent.exists() for one in box.directories())


def test_a_missing_controller_is_an_error(box: Box) -> None:
    step = WriteCgroup(
        because="/linux/resources/x", controller="nonsense", v1=(("x", "1"),), v2=(("x", "1"),)
    )
    with pytest.raises(StepError, match="no cgroup controller nonsense"):
        box.create(step)


def test_statistics_have_what_the_container_uses(box: Box) -> None:
    box.create(PIDS)
    box.start(SLEEP)
    stats = box.kernel.stats(box.record)
    assert stats["pids"]["current"] == 1
    assert stats["pids"]["max"] == 32
    assert stats["cpu"]["usage_usec"] > 0


def test_an_update_changes_a_live_container(box: Box) -> None:
    box.create(PIDS)
    box.start(SLEEP)
    more = WriteCgroup(because="/", controller="pids", v1=(("pids.max", "64"),), v2=(("pids.max", "64"),))
    box.kernel.apply(box.record, [more])
    assert box.kernel.stats(box.record)["pids"]["max"] == 64


DEVICES = """
def allowed(path, flags):
    try:
        os.close(os.open(path, flags))
    except PermissionError:
        return False
    return True
print(allowed("/dev/null", os.O_RDWR), allowed("/dev/zero", os.O_RDONLY), allowed("/dev/zero", os.O_RDWR),
      allowed("/dev/full", os.O_RDONLY), flush=True)
"""
RULES = (
    (False, "a", None, None, "rwm"),
    (True, "c", 1, 3, "rwm"),
    (True, "c", 1, 5, "r"),
)


def ask(box: Box) -> list[str]:
    """Return whether a process in the container may open null, zero for reading and for writing, and full."""
    child = box.start(f"print(flush=True)\n{DEVICES}", main=False)
    assert child.stdout is not None
    answer = child.stdout.readline().decode().split()
    child.wait()
    return answer


def test_device_rules(box: Box) -> None:
    box.create(SetDeviceRules(because="/linux/resources/devices", rules=RULES))
    assert ask(box) == ["True", "True", "False", "False"]
    everything = SetDeviceRules(because="", rules=((True, "a", None, None, "rwm"), (False, "c", 1, 7, "r")))
    box.kernel.apply(box.record, [everything])
    assert ask(box) == ["True", "True", "True", "False"]


def test_device_rules_of_the_unified_hierarchy(box: Box) -> None:
    from orlop_linux.kernel.cgroups.bpf import attach_device_program
    from orlop_linux.kernel.cgroups.devices import compile_v2

    box.create()
    directory = os.open(box.directory(""), os.O_RDONLY | os.O_DIRECTORY)
    try:
        attach_device_program(directory, compile_v2(RULES))
        assert ask(box) == ["True", "True", "False", "False"]
        # Attached in place of the first one: two programs would both have to allow.
        attach_device_program(
            directory, compile_v2([(True, "a", None, None, "rwm"), (False, "c", 1, 7, "r")])
        )
        assert ask(box) == ["True", "True", "True", "False"]
        with pytest.raises(OSError, match="Invalid argument"):
            attach_device_program(directory, b"\xff" * 8)
        assert ask(box) == ["True", "True", "True", "False"]
    finally:
        os.close(directory)


def test_freezing(box: Box) -> None:
    box.create()
    box.start(SLEEP)
    box.kernel.freeze(box.record, frozen=True)
    assert box.kernel.status(box.record) == "paused"
    box.kernel.freeze(box.record, frozen=False)
    assert box.kernel.status(box.record) == "running"


def test_sigkill_ends_a_frozen_container(box: Box) -> None:
    box.create()
    box.start(SLEEP)
    box.kernel.freeze(box.record, frozen=True)
    box.kernel.signal(box.record, signal.SIGKILL)
    assert box.kernel.wait(box.record, 10) == 128 + signal.SIGKILL
    assert box.kernel.status(box.record) == "stopped"


def test_terminate_ends_a_frozen_container(box: Box) -> None:
    box.create()
    box.start(SLEEP)
    box.kernel.freeze(box.record, frozen=True)
    box.kernel.terminate(box.record)
    assert box.kernel.processes(box.record) == []


def test_sigterm_waits_until_a_frozen_container_thaws(box: Box) -> None:
    box.create()
    # One that takes the signal by itself: by default it ends a frozen process at once under cgroup v2.
    box.start(
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
        "print(flush=True)\n"
        "signal.sigwait([signal.SIGTERM])\n"
        "os._exit(7)"
    )
    box.kernel.freeze(box.record, frozen=True)
    box.kernel.signal(box.record, signal.SIGTERM)
    assert box.kernel.status(box.record) == "paused"
    box.kernel.freeze(box.record, frozen=False)
    assert box.kernel.wait(box.record, 10) == 7


def test_everything_reaches_processes_that_left_the_session(box: Box) -> None:
    box.create()
    box.start("for _ in range(3):\n    if os.fork() == 0:\n        os.setsid()\n        break\n" + SLEEP)
    while len(box.kernel.processes(box.record)) < 4:
        os.sched_yield()
    box.kernel.signal(box.record, signal.SIGTERM, everything=True)
    assert box.kernel.wait(box.record, 10) == 128 + signal.SIGTERM
    box.kernel.terminate(box.record)
    assert box.kernel.processes(box.record) == []
    box.kernel.signal(box.record, signal.SIGTERM, everything=True)
    with pytest.raises(StateError, match="container not running"):
        box.kernel.signal(box.record, signal.SIGTERM)


@pytest.mark.parametrize("own", [True, False])
def test_sigkill_without_an_own_pid_namespace_is_for_all(box: Box, own: bool) -> None:
    box.create()
    box.record.kernel["own_pid_namespace"] = own
    box.start("if os.fork() == 0:\n    os.setsid()\n" + SLEEP)
    while len(box.kernel.processes(box.record)) < 2:
        os.sched_yield()
    box.kernel.signal(box.record, signal.SIGKILL)
    assert box.kernel.wait(box.record, 10) == 128 + signal.SIGKILL
    if own:
        assert len(box.kernel.processes(box.record)) == 1
    else:
        while box.kernel.processes(box.record):
            os.sched_yield()


@pytest.mark.parametrize("by_file", [True, False])
def test_terminate_is_faster_than_forks(box: Box, by_file: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from orlop_linux.live import killing

    if not by_file:
        monkeypatch.setattr(killing, "_kill_by_file", lambda _groups: False)
    box.create(PIDS)
    box.start(
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "print(flush=True)\n"
        "while True:\n"
        "    try:\n"
        "        os.fork()\n"
        "    except OSError:\n"
        "        pass\n"
    )
    while len(box.kernel.processes(box.record)) < 20:
        os.sched_yield()
    box.kernel.terminate(box.record)
    assert box.kernel.processes(box.record) == []
    box.kernel.terminate(box.record)
    box.undo()
    assert not any(Path(one).parent.exists() for one in box.directories())


def test_the_caller_never_kills_itself(box: Box) -> None:
    box.create()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            Path(box.directories()[0], "cgroup.procs").write_text("0")
            try:
                box.kernel.terminate(box.record)
            except PlatformError:
                status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_without_an_own_cgroup_there_is_nothing_to_freeze(box: Box) -> None:
    with pytest.raises(PlatformError, match="no cgroup of its own"):
        box.kernel.freeze(box.record, frozen=True)


@pytest.fixture
def unified(box: Box) -> Box:
    """Return a container that has the unified hierarchy only, as on a host with cgroup v2."""
    box.create()
    directory = box.directory("")
    box.record.kernel["cgroups"] = [one for one in box.record.kernel["cgroups"] if one["version"] == 2]
    assert box.directories() == [directory]
    return box


def test_freezing_by_cgroup_v2(unified: Box) -> None:
    unified.start(SLEEP)
    unified.kernel.freeze(unified.record, frozen=True)
    assert unified.kernel.status(unified.record) == "paused"
    unified.kernel.freeze(unified.record, frozen=False)
    assert unified.kernel.status(unified.record) == "running"
    unified.kernel.freeze(unified.record, frozen=True)
    unified.kernel.signal(unified.record, signal.SIGKILL)
    assert unified.kernel.wait(unified.record, 10) == 128 + signal.SIGKILL


def test_statistics_of_cgroup_v2(unified: Box) -> None:
    unified.start(SLEEP)
    stats = unified.kernel.stats(unified.record)
    assert stats["cpu"]["usage_usec"] > 0
    assert set(stats["pressure"]["cpu"]["some"]) == {"avg10", "avg60", "avg300", "total"}


def test_removal_of_cgroups_as_deep_as_a_container_likes(box: Box) -> None:
    import contextlib

    box.create(PIDS)
    depth = 0
    here = os.open(box.directory("pids"), os.O_RDONLY | os.O_DIRECTORY)
    with contextlib.suppress(OSError):
        while depth < 300:
            os.mkdir("below", dir_fd=here)
            below = os.open("below", os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
            os.close(here)
            here = below
            depth += 1
    os.close(here)
    assert depth > 10
    box.undo()
    assert not any(Path(one).parent.exists() for one in box.directories())


def test_a_pause_that_fails_leaves_nothing_frozen(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    from orlop_linux.live import freezer

    box.create()
    box.start(SLEEP)

    def interrupted(*_arguments: object, **_options: object) -> bool:
        raise KeyboardInterrupt

    for name in ("_wait_v1", "_wait_v2"):
        monkeypatch.setattr(freezer, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        box.kernel.freeze(box.record, frozen=True)
    assert box.kernel.status(box.record) == "running"
    for name in ("_wait_v1", "_wait_v2"):
        monkeypatch.setattr(freezer, name, lambda *_arguments, **_options: False)
    with pytest.raises(StepError, match="did not all freeze"):
        box.kernel.freeze(box.record, frozen=True)
    assert box.kernel.status(box.record) == "running"


def test_the_last_container_removes_the_parents_whoever_made_them(box: Box, tmp_path: Path) -> None:
    from tests.linux.kernel.conftest import Box as AnotherBox

    box.create(path=f"/{box.name}/pod/first")
    other = AnotherBox(tmp_path)
    other.create(path=f"/{box.name}/pod/second")
    try:
        box.undo()
        assert all(Path(one).is_dir() for one in other.directories())
    finally:
        other.clean()
    assert not any(Path(one).parent.parent.exists() for one in box.directories())


def test_a_parent_that_somebody_else_made_stays(box: Box) -> None:
    first = Path(box.kernel.hierarchies()[0].mount, box.name)
    first.mkdir()
    try:
        box.create()
        box.undo()
        assert first.is_dir()
    finally:
        first.rmdir()


def test_containers_that_come_and_go_under_one_parent_do_not_disturb_each_other(
    box: Box, tmp_path: Path
) -> None:
    import threading

    from tests.linux.kernel.conftest import Box as AnotherBox

    faults: list[BaseException] = []
    used: set[str] = set()

    def work(name: str) -> None:
        try:
            for _ in range(10):
                mine = AnotherBox(tmp_path)
                mine.create(path=f"/{box.name}/pod/{name}")
                used.update(mine.directories())
                mine.clean()
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            faults.append(error)

    threads = [threading.Thread(target=work, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert used
    assert not any(Path(one).parent.parent.exists() for one in used)


def test_a_limit_below_what_is_in_use_is_refused_by_either_version(box: Box) -> None:
    def limit(number: int) -> WriteCgroup:
        return WriteCgroup(
            because="/linux/resources/memory/limit",
            controller="memory",
            v1=(("memory.limit_in_bytes", str(number)),),
            v2=(("memory.max", str(number)),),
            usage="memory.current",
        )

    box.create(limit(256 << 20))
    box.start(f"block = bytearray(32 << 20)\n{SLEEP}")
    with pytest.raises(StepError) as caught:
        box.kernel.apply(box.record, [limit(4096)])
    assert caught.value.errno == errno.EBUSY
    assert box.kernel.stats(box.record)["memory"]["max"] == 256 << 20


def test_a_failed_update_brings_back_what_was_there(box: Box) -> None:
    box.create(PIDS)
    box.start(SLEEP)
    more = WriteCgroup(because="/", controller="pids", v1=(("pids.max", "64"),), v2=(("pids.max", "64"),))
    wrong = WriteCgroup(because="/", controller="pids", v1=(("pids.max", "-7"),), v2=(("pids.max", "-7"),))
    with pytest.raises(StepError, match="cannot write '-7'"):
        box.kernel.apply(box.record, [more, wrong])
    assert box.kernel.stats(box.record)["pids"]["max"] == 32
