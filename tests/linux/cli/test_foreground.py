"""A container's terminal in the foreground: who reads may be slow or gone, and jobs may be stopped."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.engines.terminal import Session
from tests.linux.child.support import until
from tests.linux.cli.conftest import DEADLINE
from tests.linux.cli.test_exec import running
from tests.linux.cli.test_run import read_until, script

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.linux.cli.conftest import Bundle, Runtime

ALL = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; exit 7"
LINES = b"".join(b"line %d\n" % i for i in range(20000))


@pytest.fixture
def pipe() -> Iterator[list[int]]:
    """Return both ends of a pipe; one that is closed in between is taken out."""
    ends = list(os.pipe())
    yield ends
    for end in ends:
        os.close(end)


@contextmanager
def started(run: Runtime, bundle: Bundle, output: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a container in the foreground whose terminal we hold, with *output* as standard output."""
    command = run.arguments("run", "-b", str(bundle), "one")
    with running(command, stdout=output, stderr=subprocess.PIPE, start_new_session=True) as process:
        yield process


def is_full(pipe: int) -> bool:
    """Tell whether the pipe with that writing end takes nothing more."""
    return not select.select([], [pipe], [], 0)[1]


@pytest.mark.parametrize("then", ["reads on", "signals again"])
def test_a_signal_gets_through_while_nobody_reads(
    run: Runtime, bundle: Bundle, pipe: list[int], then: str
) -> None:
    text = "trap 'exit 9' TERM; (while :; do echo 0123456789012345678901234567890; done) & wait"
    script(bundle, text, terminal=True)
    with started(run, bundle, pipe[1]) as process:
        until(lambda: is_full(pipe[1]), "the pipe does not fill")
        os.close(pipe.pop())
        process.terminate()
        until(lambda: run.state("one")["status"] == "stopped", "the container was not told")
        assert process.poll() is None, "output was dropped"
        if then == "reads on":
            read_until(pipe[0], b"never")
        else:
            process.terminate()
        assert process.wait(DEADLINE) == 9
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert run.names() == []


def test_a_slow_reader_gets_all(run: Runtime, bundle: Bundle, pipe: list[int]) -> None:
    script(bundle, ALL, terminal=True)
    with started(run, bundle, pipe[1]) as process:
        os.close(pipe.pop())
        found = bytearray()
        while piece := os.read(pipe[0], 700):
            found += piece
        assert process.wait(DEADLINE) == 7
    assert found == LINES


def test_a_reader_that_has_gone_does_not_end_the_container(
    run: Runtime, bundle: Bundle, pipe: list[int]
) -> None:
    script(bundle, ALL, terminal=True)
    with started(run, bundle, pipe[1]) as process:
        os.close(pipe.pop())
        assert read_until(pipe[0], b"line 1\n")
        os.close(pipe.pop())
        assert process.wait(DEADLINE) == 7
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert run.names() == []


@pytest.mark.parametrize("command", ["run", "exec"])
def test_a_full_disk_does_not_end_the_container(run: Runtime, bundle: Bundle, command: str) -> None:
    arguments = ["run", "-b", str(bundle), "one"]
    if command == "exec":
        run("run", "-d", "-b", str(bundle), "one", output=bundle.path / "output")
        arguments = ["exec", "--tty", "one", "sh", "-c", ALL]
    else:
        script(bundle, ALL, terminal=True)
    done = run.onto_a_full_disk(*arguments)
    assert done.returncode == 7
    assert done.stderr.count("\n") == 1
    assert "standard output: no space left on device; what the program wrote from then on is" in done.stderr


def test_a_socket_as_standard_output(run: Runtime, bundle: Bundle) -> None:
    import socket

    script(bundle, ALL, terminal=True)
    ours, theirs = socket.socketpair()
    with ours, started(run, bundle, theirs) as process:
        theirs.close()
        found = bytearray()
        while piece := ours.recv(700):
            found += piece
        assert process.wait(DEADLINE) == 7
    assert found == LINES


def test_many_changes_of_the_size(run: Runtime, bundle: Bundle) -> None:
    script(bundle, "echo up; read word; stty size; exit 4", terminal=True)
    with Session(run.arguments("run", "-b", str(bundle), "one")) as session:
        session.until(b"up")
        for number in range(500):
            session.resize(10 + number % 50, 20 + number)
        session.resize(61, 83)
        session.type(b"\r")
        session.until(b"61 83")
        assert session.end() == 4


# What a shell with job control does: the job has a process group, which becomes the terminal's when it stops.
SHELL = """
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
job = os.fork()
if job == 0:
    os.setpgid(0, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.argv[1], sys.argv[1:])
while True:
    _, status = os.waitpid(job, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        break
    print("stopped", os.WSTOPSIG(status), flush=True)
    os.tcsetpgrp(0, job)
    os.killpg(job, signal.SIGCONT)
os.tcsetpgrp(0, os.getpgrp())
print("ended", os.waitstatus_to_exitcode(status), flush=True)
"""


@pytest.mark.parametrize("command", ["run", "exec"])
def test_a_job_in_the_background_stops_when_it_wants_the_terminal(
    run: Runtime, bundle: Bundle, command: str
) -> None:
    text = "echo up; read word; echo got $word; stty size; read word; exit 5"
    arguments = ["run", "-b", str(bundle), "one"]
    if command == "exec":
        run("run", "-d", "-b", str(bundle), "one", output=bundle.path / "output")
        arguments = ["exec", "--tty", "one", "sh", "-c", text]
    else:
        script(bundle, text, terminal=True)
    with Session([sys.executable, "-c", SHELL, *run.arguments(*arguments)]) as session:
        # Output needs nobody in the foreground, input does: SIGTTIN.
        session.until(b"up")
        session.resize(44, 99)
        session.type(b"word\n")
        session.until(b"stopped 21")
        session.until(b"got word")
        session.until(b"44 99")
        session.type(b"\r")
        session.until(b"ended 5")
        assert session.end() == 0


def test_a_container_outlives_a_command_that_is_killed(run: Runtime, bundle: Bundle, pipe: list[int]) -> None:
    """Its terminal is hung up: the program is told by SIGHUP, and may go on; nothing else is left."""
    before = set(os.listdir("/tmp"))
    text = "trap 'hung=1' HUP; echo up; until [ $hung ]; do sleep 0.05; done; exec sleep 1000"
    script(bundle, text, terminal=True)
    with started(run, bundle, pipe[1]) as process:
        os.close(pipe.pop())
        read_until(pipe[0], b"up")
        process.kill()
    pid = run.state("one")["pid"]
    until(lambda: Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sleep"), "no SIGHUP came")
    assert run.state("one")["status"] == "running"
    assert not [name for name in set(os.listdir("/tmp")) - before if name.startswith("orlop-")]
    run.end("one")
    assert run("delete", "one").returncode == 0
