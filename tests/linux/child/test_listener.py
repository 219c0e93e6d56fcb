"""Filters with a listener: the agent has it before anything needs it, and nothing hangs without an agent."""

from __future__ import annotations

import errno
import os
import platform
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.linux.child.agents import Agent, Call
from tests.linux.child.support import (
    PATIENCE,
    Box,
    children_of,
    command_line,
    fds_of,
    is_gone,
    orlop_command,
    status_of,
    until,
)
from tests.linux.child.test_seccomp import denied, with_filter

import orlop
from orlop_linux.live import agent as agents

if platform.machine() != "x86_64":
    pytest.skip("the numbers below are those of x86_64", allow_module_level=True)

WRITE, EXECVE, MKDIR = 1, 59, 83
CALLS = ("write", "writev", "sendmsg", "sendto", "close", "read", "recvmsg", "mmap", "munmap", "brk", "futex")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Return a path whose length a socket's address cannot hold."""
    directory = tmp_path / ("d" * 120)
    directory.mkdir()
    inside = os.open(directory, os.O_PATH)
    yield Path(f"/proc/self/fd/{inside}/agent.sock")
    os.close(inside)


def real(path: Path) -> str:
    return str(Path(os.readlink(path.parent)) / path.name)


def notifying(config: dict[str, Any], path: Path, *names: str, **more: Any) -> dict[str, Any]:
    return with_filter(
        config,
        more.pop("action", "SCMP_ACT_ALLOW"),
        *([denied(*names, action="SCMP_ACT_NOTIFY")] if names else ()),
        listenerPath=real(path),
        **more,
    )


@pytest.mark.every_lane
@pytest.mark.parametrize("late", [True, False])
def test_the_agent_gets_the_state_and_decides(box: Box, place: Path, late: bool) -> None:
    config = box.script(
        "busybox mkdir /tmp/no 2>&1; busybox mkdir /tmp/yes && echo made",
        process={"noNewPrivileges": late},
        annotations={"org.example.key": "väl"},
    )
    refused: list[int] = []

    def decide(_call: Call) -> int:
        refused.append(77)
        return 77 if len(refused) == 1 else 0

    with Agent(place, decide) as agent:
        made = box.create(notifying(config, place, "mkdir", listenerMetadata="mëta"))
        pid = made.pid
        assert agent.states == []
        made.start()
        made.wait(PATIENCE)
        (state,) = agent.states
    assert "File descriptor in bad state" in box.output()
    assert box.output().endswith("made\n")
    assert [call.number for call in agent.calls] == [MKDIR, MKDIR]
    assert state == {
        "ociVersion": "1.3.0",
        "fds": ["seccompFd"],
        "pid": pid,
        "metadata": "mëta",
        "state": {
            "ociVersion": "1.3.0",
            "id": "box",
            "status": "created",
            "pid": pid,
            "bundle": str(box.bundle),
            "annotations": {"org.example.key": "väl"},
        },
    }


def test_a_state_that_is_larger_than_the_buffer_arrives_whole(box: Box, place: Path) -> None:
    """The agent of these tests complains of descriptors that do not come with the first bytes."""
    large = {"large": "x" * (1 << 20)}
    config = box.config("/bin/true", annotations=large, process={"noNewPrivileges": True})
    with Agent(place) as agent:
        assert box.run(notifying(config, place, "mkdir")).status == 0
    assert agent.states[0]["state"]["annotations"] == large


def test_every_call_may_be_notified(box: Box, place: Path) -> None:
    """The first one that is made after the filter is loaded is execve(2): nothing of ours comes between."""
    config = box.script("echo ran", process={"noNewPrivileges": True})
    with Agent(place) as agent:
        assert box.run(notifying(config, place, action="SCMP_ACT_NOTIFY")) == (0, "ran\n")
    assert agent.calls[0].number == EXECVE
    assert {WRITE, EXECVE} <= {call.number for call in agent.calls}
    assert "metadata" not in agent.states[0]


@pytest.mark.parametrize("namespaces", [("pid", "mount"), ("mount",), ("mount", "user", "pid")])
@pytest.mark.parametrize("late", [True, False])
def test_calls_that_the_handover_itself_needs(
    box: Box, place: Path, namespaces: tuple[str, ...], late: bool
) -> None:
    mappings = [{"containerID": 0, "hostID": 100_000, "size": 65_536}]
    changes = {"uidMappings": mappings, "gidMappings": mappings} if "user" in namespaces else {}
    if changes:
        for path in (box.place, *box.place.parents):
            if path.stat().st_uid == os.getuid() and str(path).startswith("/tmp/"):
                path.chmod(0o711)
        box.rootfs.chmod(0o755)
    config = box.script(
        "echo ran",
        process={"noNewPrivileges": late},
        linux={"namespaces": [{"type": name} for name in namespaces], **changes},
    )
    with Agent(place) as agent:
        assert box.run(notifying(config, place, *CALLS)) == (0, "ran\n")
    assert WRITE in {call.number for call in agent.calls}


def test_flags_that_go_with_a_listener(box: Box, place: Path) -> None:
    flags = [
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    ]
    config = box.script("busybox mkdir /tmp/made && echo made", process={"noNewPrivileges": True})
    with Agent(place) as agent:
        assert box.run(notifying(config, place, "mkdir", flags=flags)) == (0, "made\n")
    assert [call.number for call in agent.calls] == [MKDIR]


@pytest.mark.parametrize("late", [True, False])
def test_the_program_finds_neither_helper_nor_descriptor(box: Box, place: Path, late: bool) -> None:
    config = box.config(process={"noNewPrivileges": late, "user": {"uid": 7, "gid": 8}})
    with Agent(place):
        made = box.start(notifying(config, place, "mkdir"))
        pid = made.pid
        assert children_of(pid) == set()
        assert set(fds_of(pid)) == {0, 1, 2}
        found = status_of(pid)
        assert (found["Seccomp"], found["SigIgn"], found["SigBlk"]) == ("2", "0" * 16, "0" * 16)
        assert found["Uid"].split()[0] == "7"
        made.delete(force=True)


def _sockets(place: Path, what: str) -> socket.socket | None:
    if what == "missing":
        return None
    if what == "file":
        place.touch()
        return None
    kind = {"datagram": socket.SOCK_DGRAM, "packets": socket.SOCK_SEQPACKET}.get(what, socket.SOCK_STREAM)
    made = socket.socket(socket.AF_UNIX, kind)
    made.bind(str(place))
    if what == "packets":
        made.listen()
    if what == "dead":
        made.close()
        return None
    return made


ABSENT = {
    "missing": "there is no socket",
    "file": "nobody listens",
    "dead": "nobody listens",
    "datagram": "not of type SOCK_STREAM",
    "packets": "not of type SOCK_STREAM",
}


@pytest.mark.parametrize("what", ABSENT)
def test_without_an_agent_nothing_is_created(box: Box, place: Path, what: str) -> None:
    kept = _sockets(place, what)
    with pytest.raises(orlop.StepError, match=ABSENT[what]) as caught:
        box.create(notifying(box.config(), place, "mkdir"))
    assert caught.value.pointer == "/linux/seccomp/listenerPath"
    assert caught.value.path == real(place)
    assert box.left() == []
    if kept is not None:
        kept.close()


def test_an_agent_that_is_gone_at_start_can_come_back(box: Box, place: Path) -> None:
    config = box.script("busybox mkdir /tmp/made && echo made", process={"noNewPrivileges": True})
    with Agent(place):
        made = box.create(notifying(config, place, "mkdir"))
    with pytest.raises(orlop.StepError, match="there is no socket"):
        made.start()
    assert made.status == "created"
    with Agent(place) as agent:
        made.start()
        assert made.wait(PATIENCE) == 0
    assert len(agent.states) == 1
    assert box.output() == "made\n"


def test_an_agent_that_listens_no_more_when_it_is_connected_to(box: Box, place: Path) -> None:
    config = box.config(process={"noNewPrivileges": True})
    with Agent(place):
        made = box.create(notifying(config, place, "mkdir"))
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    bound.bind(str(place))  # and never listens: only a connection finds that out
    with pytest.raises(orlop.StepError, match="nobody listens"):
        made.start()
    bound.close()
    made.wait(PATIENCE)
    assert made.status == "stopped"


def test_calls_after_the_death_of_the_agent_are_not_implemented(box: Box, place: Path) -> None:
    config = box.script("read go; busybox mkdir /tmp/made 2>&1; echo $?", process={"noNewPrivileges": True})
    reader, writer = os.pipe()
    out = os.open(box.place / "out", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with Agent(place) as agent:
        made = box.start(notifying(config, place, "mkdir"), stdio=(reader, out, out))
        until(lambda: agent.states, "the state does not arrive")
        agent.die()
    os.write(writer, b"go\n")
    made.wait(PATIENCE)
    for fd in (reader, writer, out):
        os.close(fd)
    assert (box.place / "out").read_text().endswith(f"{os.strerror(errno.ENOSYS)}\n1\n")


def test_an_agent_that_takes_nothing_is_given_up(
    box: Box, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "_PATIENCE", 1)
    config = box.config(process={"noNewPrivileges": True}, annotations={"large": "x" * (1 << 20)})
    busy = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    busy.bind(str(place))
    busy.listen()
    made = box.create(notifying(config, place, "mkdir", "write", "exit_group"))
    with pytest.raises(orlop.StepError, match="does not take the state within 1 seconds"):
        made.start()
    busy.close()
    made.wait(PATIENCE)
    assert made.status == "stopped"


def spent(pid: int) -> float:
    """Return the seconds that a process has run, proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("namespaces", [("pid", "mount"), ("mount",)])
def test_nobody_runs_while_an_agent_takes_its_time(
    box: Box, place: Path, namespaces: tuple[str, ...]
) -> None:
    config = box.config(
        *("/bin/busybox", "sh", "-c", "echo ran"),
        process={"noNewPrivileges": True},
        annotations={"large": "x" * (1 << 20)},
        linux={"namespaces": [{"type": kind} for kind in namespaces]},
    )
    slow = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    slow.bind(str(place))
    slow.listen()
    made = box.create(notifying(config, place, "mkdir"))
    pid = made.pid
    start = subprocess.Popen(
        [orlop_command(), "--root", str(box.place / "state"), "start", "box"], stdin=subprocess.DEVNULL
    )
    connection, _ = slow.accept()  # the state is on its way, and does not fit
    try:
        until(lambda: status_of(pid)["State"].startswith("T"), "the process is not stopped")
        before = spent(pid)
        # The whole time that somebody else runs; it is of no matter how long that takes.
        subprocess.run([sys.executable, "-c", "sum(range(20_000_000))"], check=True)
        assert spent(pid) == before
        while connection.recv(1 << 20):
            pass
        assert start.wait(PATIENCE) == 0
        made.wait(PATIENCE)
    finally:
        connection.close()
        slow.close()
        start.kill()
        start.wait()
    assert box.output() == "ran\n"


@pytest.mark.parametrize("answer", [None, 0, errno.EPERM])
def test_a_failure_after_the_handover_is_told_without_a_call(
    box: Box, place: Path, answer: int | None
) -> None:
    """An agent that does not answer must not keep the failure from being told."""
    odd = box.rootfs / "bin/odd"
    odd.write_text("#!/no/such/interpreter\n")
    odd.chmod(0o755)
    config = box.config("/bin/odd", process={"noNewPrivileges": True})
    with Agent(place, lambda _: answer):
        made = box.create(notifying(config, place, "write", "exit_group", "exit", "close"))
        with pytest.raises(orlop.StepError, match="no such file"):
            made.start()
        made.wait(PATIENCE)
    assert made.status == "stopped"


def test_a_start_that_is_killed_during_the_handover_starts_nothing(box: Box, place: Path) -> None:
    config = box.config(process={"noNewPrivileges": True}, annotations={"large": "x" * (1 << 20)})
    busy = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    busy.bind(str(place))
    busy.listen()
    made = box.create(notifying(config, place, "mkdir", "exit_group"))
    pid = made.pid
    start = subprocess.Popen(
        [orlop_command(), "--root", str(box.place / "state"), "start", "box"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    connection, _ = busy.accept()  # the state is on its way, and does not fit
    start.send_signal(signal.SIGKILL)
    start.wait()
    until(lambda: is_gone(pid), "the container process lives on")
    made.wait(PATIENCE)
    connection.close()
    busy.close()
    assert made.status == "stopped"


def test_the_command_line(box: Box, place: Path) -> None:
    config = box.script("busybox mkdir /tmp/made && echo made", process={"noNewPrivileges": True})
    with Agent(place) as agent:
        done = command_line(box, "create", "box", config=notifying(config, place, "mkdir"))
        assert done.returncode == 0, done.stderr
        assert command_line(box, "start", "box").returncode == 0
        until(lambda: box.status() == "stopped", "the container does not end")
    assert [call.number for call in agent.calls] == [MKDIR]


def test_no_more_than_one_process_is_needed(box: Box, place: Path) -> None:
    """A limit of one process leaves no room for the helper: that is an error, and nothing runs."""
    config = box.config(process={"noNewPrivileges": True}, linux={"resources": {"pids": {"limit": 1}}})
    with Agent(place) as agent:
        made = box.create(notifying(config, place, "mkdir"))
        with pytest.raises(orlop.StepError, match="temporarily unavailable"):
            made.start()
        made.wait(PATIENCE)
    assert agent.states == []
    assert made.status == "stopped"
