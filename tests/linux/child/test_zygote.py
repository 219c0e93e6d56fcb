"""What containers are cloned from: it may be killed, it serves several threads, and it leaks nothing."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.linux.child.support import (
    PATIENCE,
    Box,
    children_of,
    command_line,
    environment_of,
    fds_of,
    is_gone,
    status_of,
    until,
)

import orlop


def zygote_of(box: Box) -> int:
    """Return the process id of the runtime's zygote."""
    kernel: Any = box.runtime.kernel
    return int(kernel._zygote._pid)


def socket_pairs() -> list[str]:
    return [what for what in fds_of("self").values() if what.startswith("socket:")]


def test_killed_between_two_creations(box: Box) -> None:
    box.create(name="one")
    first = zygote_of(box)
    os.kill(first, signal.SIGKILL)
    box.create(name="two")
    assert zygote_of(box) != first
    assert is_gone(first)
    for name in ("one", "two"):
        made = box.runtime.get(name)
        made.start()
        assert made.status == "running"


def test_stopped_and_then_killed_with_a_request_in_its_queue(box: Box) -> None:
    """It dies after it has taken a request and before it has answered."""
    box.create(name="one").delete(force=True)
    first = zygote_of(box)
    os.kill(first, signal.SIGSTOP)
    until(lambda: Path(f"/proc/{first}/stat").read_text().rpartition(")")[2].split()[0] == "T", "not stopped")
    sockets = socket_pairs()
    failures: list[BaseException] = []

    def create() -> None:
        try:
            box.create(name="two")
        except orlop.OrlopError as error:
            failures.append(error)

    thread = threading.Thread(target=create)
    thread.start()
    until(lambda: len(socket_pairs()) > len(sockets), "no request")
    os.kill(first, signal.SIGKILL)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert failures == []
    assert box.runtime.get("two").status == "created"


def test_two_threads(box: Box) -> None:
    box.create(name="warm").delete(force=True)
    zygote = zygote_of(box)
    before, zygotes_before = fds_of("self"), fds_of(zygote)
    failures: list[BaseException] = []
    pids: dict[str, int] = {}

    def work(letter: str) -> None:
        try:
            for number in range(10):
                name = f"{letter}{number}"
                made = box.create(name=name)
                made.start()
                pids[name] = made.pid
        except BaseException as error:  # noqa: BLE001 - told by the other thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(letter,)) for letter in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert failures == []
    assert len(set(pids.values())) == 20
    for name, pid in pids.items():
        assert box.runtime.get(name).status == "running"
        assert status_of(pid)["PPid"] == str(os.getpid())
        assert sorted(fds_of(pid)) == [0, 1, 2]
    assert zygote_of(box) == zygote
    assert set(fds_of("self").values()) == set(before.values())
    assert len(fds_of("self")) == len(before)
    assert fds_of(zygote) == zygotes_before
    for made in box.runtime.list():
        made.delete(force=True)
    assert [pid for pid in pids.values() if Path(f"/proc/{pid}").exists()] == []


def test_failures_leak_nothing(box: Box) -> None:
    wrong = [
        box.config("/no/such"),
        box.config(
            linux={"namespaces": [{"type": "mount"}, {"type": "network", "path": "/proc/self/ns/ipc"}]}
        ),
        box.config(hooks={"createContainer": [{"path": "/no/such"}]}),
        box.config(mounts=[{"destination": "/x", "source": "/no/such/source", "options": ["bind"]}]),
        box.config(mounts=[{"destination": "/x", "type": "tmpfs", "source": "x", "options": ["size=bad"]}]),
        box.config(
            linux={
                "namespaces": [{"type": kind} for kind in ("mount", "pid", "time", "user")],
                "uidMappings": [{"containerID": 0, "hostID": 1, "size": 4294967295}],
                "gidMappings": [{"containerID": 0, "hostID": 1, "size": 4294967295}],
            },
            process={"args": ["/no/such"]},
        ),
    ]
    box.create(name="warm").delete(force=True)
    zygote = zygote_of(box)
    before, zygotes_before, children = fds_of("self"), fds_of(zygote), children_of("self")
    for _ in range(3):
        for config in wrong:
            with pytest.raises(orlop.OrlopError):
                box.create(config)
    assert sorted(fds_of("self")) == sorted(before)
    assert fds_of(zygote) == zygotes_before
    assert children_of("self") == children
    assert box.left() == []


def test_what_it_is(box: Box) -> None:
    box.create()
    zygote = zygote_of(box)
    assert sorted(fds_of(zygote)) == [0, 1, 2, 3]
    assert [what for number, what in fds_of(zygote).items() if number < 3] == ["/dev/null"] * 3
    assert status_of(zygote)["Threads"] == "1"
    found = status_of(zygote)
    for name in ("SigBlk", "SigCgt"):
        assert int(found[name], 16) == 0
    assert {entry.partition("=")[0] for entry in environment_of(zygote)} <= {"LD_PRELOAD"}
    assert os.readlink(f"/proc/{zygote}/cwd") == "/"


def test_ends_with_the_runtime(box: Box) -> None:
    box.create()
    zygote = zygote_of(box)
    box.runtime.close()
    assert is_gone(zygote)
    made = box.runtime.get("box")
    made.start()
    assert made.status == "running"


def test_command_leaves_no_helper_behind(box: Box) -> None:
    before = children_of(1)
    assert command_line(box, "create", "box", config=box.config()).returncode == 0
    pid = box.runtime.get("box").pid
    until(lambda: children_of(1) - before <= {pid}, "a helper is left")
