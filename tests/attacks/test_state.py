"""The state root and what is in it are input; so are the paths on the command line (H7, H8, PY17)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.attacks.target import Target
from tests.linux.faults.points import run
from tests.linux.faults.rig import Outcome


def _creation(target: Target, *flags: str) -> tuple[str, ...]:
    return ("create", "--bundle", str(target.bundle), *flags, "box")


def _refused(target: Target, *command: str, root: Path | None = None) -> Outcome:
    """Run a command that must fail with one line, and change nothing."""
    outcome = run(target, *command, root=root)
    assert outcome.status == 1, outcome
    assert outcome.err.count("\n") == 1, outcome
    assert "internal error" not in outcome.err, outcome
    return outcome


ROOTS: dict[str, Callable[[Path], None]] = {
    "belongs to another user": lambda path: os.chown(path, 12, 34),
    "writable by its group": lambda path: path.chmod(0o770),
    "writable by everybody": lambda path: path.chmod(0o707),
    "sticky and writable by everybody": lambda path: path.chmod(0o1777),
}


@pytest.mark.parametrize("what", ROOTS)
def test_h7_a_state_root_that_others_can_change_is_refused(target: Target, what: str) -> None:
    ROOTS[what](target.root)
    try:
        for command in (
            _creation(target),
            ("state", "box"),
            ("list",),
            ("delete", "--force", "box"),
            ("start", "box"),
        ):
            _refused(target, *command)
        assert os.listdir(target.root) == []
    finally:
        os.chown(target.root, 0, 0)
        target.root.chmod(0o700)


@pytest.mark.parametrize("what", ["link", "file", "fifo", "below a file"])
def test_h7_a_state_root_that_is_no_directory_is_refused(target: Target, what: str) -> None:
    root = target.place / "other"
    if what == "link":
        root.symlink_to(target.sentinel)
    elif what == "fifo":
        os.mkfifo(root)
    else:
        root.write_text("plain\n")
    if what == "below a file":
        root /= "below"
    for command in (_creation(target), ("delete", "--force", "box")):
        _refused(target, *command, root=root)


@pytest.mark.parametrize("to", ["directory", "missing"])
def test_h7_a_link_in_place_of_a_container_is_not_followed(target: Target, to: str) -> None:
    (target.root / "box").symlink_to(target.sentinel / to)
    try:
        for command in (
            _creation(target),
            ("state", "box"),
            ("delete", "--force", "box"),
            ("kill", "box", "KILL"),
        ):
            _refused(target, *command)
    finally:
        (target.root / "box").unlink()


@pytest.fixture
def victim(target: Target) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is nobody's container."""
    process = subprocess.Popen(["/bin/busybox", "sleep", "1000"])
    target.known.add(process.pid)
    try:
        yield process
        assert process.poll() is None, "somebody else's process was signalled"
    finally:
        process.kill()
        process.wait()


def _change(target: Target, change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Change the record of the container, and return what it was."""
    file = target.root / "box/record.json"
    before: dict[str, Any] = json.loads(file.read_bytes())
    after = json.loads(file.read_bytes())
    change(after)
    file.write_text(json.dumps(after))
    return before


def _all_commands(target: Target) -> list[Outcome]:
    commands = (
        ("state", "box"),
        ("kill", "box", "KILL"),
        ("kill", "--all", "box", "KILL"),
        ("delete", "box"),
    )
    return [run(target, *command) for command in (*commands, ("delete", "--force", "box"))]


@pytest.mark.parametrize("pid", [1, -1, 0, 2**22 + 1, 2**31, 2**64, "1", None, True, 1.5])
def test_py17_an_impossible_pid_in_the_record_hits_nobody(
    target: Target, victim: subprocess.Popen[bytes], pid: Any
) -> None:
    target.create()
    before = _change(target, lambda record: record.update(pid=pid))
    outcomes = _all_commands(target)
    assert all("Traceback" not in one.err for one in outcomes), outcomes
    if (target.root / "box").exists():
        (target.root / "box/record.json").write_text(json.dumps(before))
        assert run(target, "delete", "--force", "box").status == 0


@pytest.mark.parametrize("journal", [False, True])
def test_py17_a_pid_without_its_start_time_hits_nobody(
    target: Target, victim: subprocess.Popen[bytes], journal: bool
) -> None:
    target.create()
    pid = run(target, "state", "box").state["pid"]
    _change(target, lambda record: record.update(pid=victim.pid))
    if journal:
        file = target.root / "box/journal"
        text = file.read_text()
        assert str(pid) in text
        file.write_text(text.replace(f'"pid":{pid}', f'"pid":{victim.pid}'))
    assert run(target, "state", "box").state["status"] == "stopped"
    for outcome in _all_commands(target):
        assert "Traceback" not in outcome.err, outcome
    # The container itself is found by its cgroup.
    assert target.left() == []


@pytest.mark.every_lane
def test_py17_a_cgroup_of_somebody_else_in_the_record_hits_nobody(
    target: Target, victim: subprocess.Popen[bytes]
) -> None:
    target.create()
    for path in ("/", "", "..", "/..", "/../", f"/{target.name}/box/..", f"/{target.name}/../", "relative"):

        def change(record: dict[str, Any], path: str = path) -> None:
            for group in record["kernel"]["cgroups"]:
                group["path"] = path

        before = _change(target, change)
        outcome = run(target, "kill", "--all", "box", "KILL")
        assert outcome.status == 1, (path, outcome)
        assert run(target, "delete", "--force", "box").status == 1, path
        (target.root / "box/record.json").write_text(json.dumps(before))
        assert run(target, "state", "box").state["status"] == "created", path
    target.destroy()


@pytest.mark.every_lane
@pytest.mark.parametrize("path", ["/", "..", "/..", "/../../sentinel", "relative", ""])
def test_py17_a_journal_cannot_remove_what_is_no_cgroup_of_ours(target: Target, path: str) -> None:
    target.create()
    file = target.root / "box/journal"
    text = file.read_text()
    file.write_text(text.replace(f'"/{target.name}/box"', json.dumps(path)))
    assert file.read_text() != text
    outcome = run(target, "delete", "--force", "box")
    assert outcome.status == 1, outcome
    assert "Traceback" not in outcome.err, outcome
    file.write_text(text)
    target.destroy()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"record":1}', "\0" * 64, '{"record":1,"record":1}', "[" * 100_000]
)
def test_py17_a_record_that_cannot_be_read_is_an_error(target: Target, content: str) -> None:
    target.create()
    file = target.root / "box/record.json"
    before = file.read_text()
    file.write_text(content)
    for command in (
        ("state", "box"),
        ("start", "box"),
        ("kill", "box", "KILL"),
        ("delete", "box"),
        ("delete", "--force", "box"),
    ):
        _refused(target, *command)
    listed = run(target, "list")
    assert listed.status == 0, listed
    assert "load container box: " in listed.err
    file.write_text(before)
    target.destroy()


@pytest.mark.parametrize("what", ["fifo", "link", "directory", "huge"])
def test_py17_a_record_that_is_no_file_does_not_hang(target: Target, what: str) -> None:
    target.create()
    file = target.root / "box/record.json"
    kept = file.rename(target.place / "kept")
    if what == "fifo":
        os.mkfifo(file)
    elif what == "link":
        file.symlink_to(target.sentinel / "secret")
    elif what == "directory":
        file.mkdir()
    else:
        with file.open("wb") as handle:
            handle.truncate(1 << 40)
    for command in (("state", "box"), ("start", "box"), ("delete", "--force", "box")):
        outcome = _refused(target, *command)
        assert "secret" not in outcome.err
    if what == "directory":
        file.rmdir()
    else:
        file.unlink()
    kept.rename(file)
    target.destroy()


@pytest.mark.parametrize("what", ["link", "dangling", "fifo", "directory", "device", "missing directory"])
def test_h8_a_pid_file_that_is_something_else_is_refused(target: Target, what: str) -> None:
    path = target.place / "pid"
    if what == "link":
        path.symlink_to(target.sentinel / "secret")
    elif what == "dangling":
        path.symlink_to(target.sentinel / "new")
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "directory":
        path.mkdir()
    elif what == "device":
        path = Path("/dev/full")
    else:
        path = target.place / "absent/pid"
    _refused(target, *_creation(target, "--pid-file", str(path)))
    target.verify()


def test_h8_an_existing_pid_file_is_replaced_as_a_whole(target: Target) -> None:
    path = target.place / "pid"
    path.write_text("something that is longer than a pid\n")
    os.link(path, target.place / "second name")
    outcome = run(target, *_creation(target, "--pid-file", str(path)))
    assert outcome.status == 0, outcome
    assert int(path.read_text()) == run(target, "state", "box").state["pid"]
    assert (target.place / "second name").read_text() == "something that is longer than a pid\n"
    target.destroy()


@pytest.mark.parametrize("what", ["fifo", "directory", "missing directory"])
def test_h8_a_log_that_cannot_be_written_to_does_not_hang(target: Target, what: str) -> None:
    path = target.place / "log"
    if what == "fifo":
        os.mkfifo(path)
    elif what == "directory":
        path.mkdir()
    else:
        path = target.place / "absent/log"
    outcome = run(target, "--log", str(path), "state", "absent")
    assert outcome.status == 1, outcome
    assert "Traceback" not in outcome.err


def test_h8_a_full_log_changes_no_status(target: Target) -> None:
    outcome = run(target, "--log", "/dev/full", *_creation(target))
    assert outcome.status == 0, outcome
    outcome = run(target, "--log", "/dev/full", "state", "absent")
    assert outcome.status == 1, outcome
    target.destroy()


@pytest.mark.parametrize("what", ["absent", "file", "link to a file", "directory", "nobody listens", "long"])
def test_h8_a_console_socket_that_is_none_is_refused(target: Target, what: str) -> None:
    import socket

    path = target.place / "console"
    if what == "file":
        path.write_text("")
    elif what == "link to a file":
        path.symlink_to(target.sentinel / "secret")
    elif what == "directory":
        path.mkdir()
    elif what == "nobody listens":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(path))
    elif what == "long":
        path /= "x" * 200
    config = target.config()
    config["process"]["terminal"] = True
    config["mounts"].append({"destination": "/dev", "type": "tmpfs", "source": "tmpfs"})
    config["mounts"].append({"destination": "/dev/pts", "type": "devpts", "source": "devpts"})
    target.write(config)
    _refused(target, *_creation(target, "--console-socket", str(path)))
    target.verify()


def test_h8_a_flood_of_signals_to_a_stopped_container_hits_nobody(
    target: Target, victim: subprocess.Popen[bytes]
) -> None:
    target.create()
    assert run(target, "kill", "box", str(int(signal.SIGKILL))).status == 0
    for number in (1, 2, 9, 15, 18):
        run(target, "kill", "box", str(number))
    target.destroy()
