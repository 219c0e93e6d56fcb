"""Processes of the running kernel: identity, signals, waiting, and records that lie."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest
from tests.leftovers import PATIENCE

from orlop_hookspecs.errors import StateError, StepError, WaitTimeoutError
from orlop_hookspecs.record import Record
from orlop_linux.live import process
from orlop_linux.live.kernel import LinuxLive
from orlop_linux.live.process import (
    await_program,
    has_ended,
    is_alive,
    open_process,
    read_stat,
    start_time,
    timestamp,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    yield child
    child.kill()
    child.wait()


def record_of(pid: int, started: int, directory: str = "/nonexistent") -> Record:
    return Record(id="test", phase="created", pid=pid, start_time=started, directory=directory)


def test_identity_and_status(sleeper: subprocess.Popen[bytes]) -> None:
    live = LinuxLive()
    assert live.identity() == (os.getpid(), start_time(os.getpid()))
    assert live.status(record_of(sleeper.pid, start_time(sleeper.pid))) == "running"
    assert live.status(record_of(sleeper.pid, start_time(sleeper.pid) + 1)) == "stopped"


def test_creating_lasts_as_long_as_the_creator(sleeper: subprocess.Popen[bytes]) -> None:
    record = Record(id="test", phase="creating", creator=[sleeper.pid, start_time(sleeper.pid)])
    live = LinuxLive()
    assert live.status(record) == "creating"
    sleeper.kill()
    sleeper.wait()
    assert live.status(record) == "stopped"


def test_a_name_that_looks_like_fields_is_no_trick(tmp_path: Path) -> None:
    evil = tmp_path / ") Z 1 1 "
    evil.symlink_to("/bin/sleep")
    child = subprocess.Popen([str(evil), "1000"], stdin=subprocess.DEVNULL)
    try:
        stat = read_stat(child.pid)
        assert stat is not None
        assert stat[0] in "SRD"
        assert is_alive(child.pid, stat[1])
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("shift", [-1, 1])
def test_a_reused_pid_is_never_signalled(sleeper: subprocess.Popen[bytes], number: int, shift: int) -> None:
    live = LinuxLive()
    forged = record_of(sleeper.pid, start_time(sleeper.pid) + shift)
    with pytest.raises(StateError, match="container not running"):
        live.signal(forged, number)
    live.signal(forged, number, everything=True)
    live.terminate(forged)
    live.undo(forged, "process", {"pid": forged.pid, "start_time": forged.start_time})
    assert sleeper.poll() is None


@pytest.mark.parametrize("pid", [-1, 0, 1, os.getpid()])
def test_processes_that_are_no_containers_are_never_opened(pid: int) -> None:
    assert open_process(pid, start_time(max(pid, 1))) is None
    live = LinuxLive()
    forged = record_of(pid, start_time(max(pid, 1)))
    with pytest.raises(StateError):
        live.signal(forged, 0)
    live.terminate(forged)
    live.undo(forged, "process", {"pid": pid, "start_time": forged.start_time})


def test_a_thread_id_is_no_process() -> None:
    tid: list[int] = []
    ready, done = threading.Event(), threading.Event()

    def work() -> None:
        tid.append(threading.get_native_id())
        ready.set()
        done.wait()

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait()
    try:
        assert open_process(tid[0], start_time(tid[0])) is None
    finally:
        done.set()
        thread.join()


def test_a_program_is_awaited_until_it_shows_and_no_longer(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    await_program(sleeper.pid, start_time(sleeper.pid))
    ended = subprocess.Popen(["true"])
    pid, started = ended.pid, start_time(ended.pid)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    await_program(pid, started)
    ended.wait()
    await_program(pid, started)
    monkeypatch.setattr(process, "_EXECUTION_SECONDS", 0.05)
    # This one is alive and has no arguments yet; it never will.
    monkeypatch.setattr(process, "is_alive", lambda *_: True)
    zombie = subprocess.Popen(["true"])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    begun = time.monotonic()
    await_program(zombie.pid, 0)
    assert time.monotonic() - begun >= 0.05
    zombie.wait()


def test_impossible_signals_are_refused(sleeper: subprocess.Popen[bytes]) -> None:
    record = record_of(sleeper.pid, start_time(sleeper.pid))
    for number in (-1, 65, 1 << 40):
        with pytest.raises(StepError, match="no such signal"):
            LinuxLive().signal(record, number)


def test_waiting(sleeper: subprocess.Popen[bytes]) -> None:
    live = LinuxLive()
    record = record_of(sleeper.pid, start_time(sleeper.pid))
    with pytest.raises(WaitTimeoutError):
        live.wait(record, 0.01)
    live.signal(record, signal.SIGTERM)
    assert live.wait(record) == 128 + signal.SIGTERM
    assert live.wait(record) == 128 + signal.SIGTERM
    assert LinuxLive().wait(record) is None


def test_several_wait_at_once_and_all_learn_it(sleeper: subprocess.Popen[bytes]) -> None:
    live = LinuxLive()
    record = record_of(sleeper.pid, start_time(sleeper.pid))
    found: list[int | None] = []
    threads = [threading.Thread(target=lambda: found.append(live.wait(record, PATIENCE))) for _ in range(4)]
    for thread in threads:
        thread.start()
    live.signal(record, signal.SIGKILL)
    for thread in threads:
        thread.join()
    assert found == [128 + signal.SIGKILL] * 4


def test_status_reaps_a_child_that_has_ended_and_keeps_its_status() -> None:
    child = subprocess.Popen(["sh", "-c", "exec sleep 1000"], stdin=subprocess.DEVNULL)
    live = LinuxLive()
    record = record_of(child.pid, start_time(child.pid))
    pidfd = live.pidfd(record)
    assert pidfd is not None
    child.send_signal(signal.SIGINT)
    assert has_ended(pidfd, PATIENCE)
    os.close(pidfd)
    assert live.status(record) == "stopped"
    assert read_stat(child.pid) is None
    assert live.wait(record) == 128 + signal.SIGINT
    child.wait()


def test_somebody_elses_child_has_no_status() -> None:
    middle = subprocess.Popen(
        ["sh", "-c", "sleep 1000 & echo $!; wait"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    assert middle.stdout is not None
    pid = int(middle.stdout.readline())
    live = LinuxLive()
    record = record_of(pid, start_time(pid))
    live.terminate(record)
    assert live.wait(record, PATIENCE) is None
    middle.wait()
    middle.stdout.close()


def test_undo_of_a_process_kills_and_reaps_it(sleeper: subprocess.Popen[bytes]) -> None:
    live = LinuxLive()
    record = record_of(0, 0)
    data = {"pid": sleeper.pid, "start_time": start_time(sleeper.pid)}
    live.undo(record, "process", data)
    assert read_stat(sleeper.pid) is None
    live.undo(record, "process", data)


def test_a_listening_socket_tells_created_from_running(
    sleeper: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    directory = tmp_path / ("long" * 40)
    directory.mkdir()
    record = record_of(sleeper.pid, start_time(sleeper.pid), str(directory))
    live = LinuxLive()
    assert live.status(record) == "running"
    monkeypatch.chdir(directory)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("start.sock")
        listener.listen(1)
        assert live.status(record) == "created"
        # The queue of those who were not accepted is full after a few.
        assert {live.status(record) for _ in range(8)} == {"created"}
    assert live.status(record) == "running"


def test_time_is_rfc_3339_with_nanoseconds() -> None:
    import datetime as dt

    text = timestamp()
    assert len(text) == len("2006-01-02T15:04:05.999999999Z")
    parsed = dt.datetime.fromisoformat(text[:-4] + "+00:00")
    assert abs((dt.datetime.now(dt.UTC) - parsed).total_seconds()) < 60
