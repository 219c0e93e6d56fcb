"""``orlop run``: exit status, signals, terminal, and what is left when it is told to stop."""

from __future__ import annotations

import array
import fcntl
import json
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import termios
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.linux.child.support import until
from tests.linux.cli.conftest import DEADLINE, await_end

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.linux.cli.conftest import Bundle, Runtime


def script(bundle: Bundle, text: str, **process: Any) -> None:
    bundle.configure(args=["/bin/sh", "-c", text], **process)


def read_until(descriptor: int, wanted: bytes) -> bytes:
    """Read from a descriptor until *wanted* has come, or its end."""
    found = b""
    while wanted not in found:
        assert select.select([descriptor], [], [], DEADLINE)[0], found
        try:
            piece = os.read(descriptor, 4096)
        except OSError:  # EIO: nobody has the terminal open any more
            break
        if not piece:
            break
        found += piece
    return found


@pytest.mark.parametrize(
    ("text", "status"), [("true", 0), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 0)]
)
def test_exit_status(run: Runtime, bundle: Bundle, tmp_path: Path, text: str, status: int) -> None:
    # The first process of a pid namespace cannot kill itself: the last one ends well.
    script(bundle, text)
    assert run("run", "-b", str(bundle), "one", output=tmp_path / "output").returncode == status
    assert run.names() == []


def test_ended_by_a_signal(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    with _started(run, bundle, tmp_path) as process:
        run("kill", "one", "KILL")
        assert process.wait(DEADLINE) == 128 + 9
    assert run.names() == []


def test_somebody_else_deletes_it_and_takes_its_name(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    with _started(run, bundle, tmp_path) as process:
        # Both wait until the start under way has let go of the container.
        assert [run(command, "one").returncode for command in ("pause", "resume")] == [0, 0]
        process.send_signal(signal.SIGSTOP)
        deleted = run("delete", "--force", "one")
        created = run("create", "-b", str(bundle), "one", output=tmp_path / "output")
        process.send_signal(signal.SIGCONT)
        assert process.wait(DEADLINE) == 128 + 9, (tmp_path / "errors").read_text()
        assert (deleted.returncode, created.returncode) == (0, 0)
    assert (tmp_path / "errors").read_text() == ""
    assert run.state("one")["status"] == "created"


def test_output_and_input_pass_through(run: Runtime, bundle: Bundle) -> None:
    script(bundle, "cat; echo done >&2")
    done = subprocess.run(
        run.arguments("run", "-b", str(bundle), "one"),
        env={},
        input="from outside\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "from outside\n", "done\n")


def test_missing_program(run: Runtime, runc: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    bundle.configure(args=["/bin/missing"])
    for runtime in (run, runc):
        done = runtime("run", "-b", str(bundle), "one", output=tmp_path / "output")
        assert done.returncode == 1
        assert "no such file or directory" in done.stdout
        assert runtime.names() == []


def test_keep(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    script(bundle, "exit 3")
    assert run("run", "--keep", "-b", str(bundle), "one", output=tmp_path / "output").returncode == 3
    assert run.state("one")["status"] == "stopped"
    assert run("delete", "one").returncode == 0


def test_detach(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    arguments = ("run", "--detach", "--pid-file", str(pid_file), "-b", str(bundle), "one")
    assert run(*arguments, output=tmp_path / "output").returncode == 0
    state = run.state("one")
    assert state["status"] == "running"
    assert pid_file.read_text() == str(state["pid"])
    run.end("one")


def _started(
    run: Runtime, bundle: Bundle, tmp_path: Path, text: str = "echo up; while :; do sleep 0.05; done"
) -> subprocess.Popen[bytes]:
    """Run a container in the foreground and return when its program says that it is up."""
    script(bundle, text)
    reader, writer = os.pipe()
    try:
        with (tmp_path / "errors").open("w") as errors:
            process = subprocess.Popen(
                run.arguments("run", "-b", str(bundle), "one"),
                env={},
                stdin=subprocess.DEVNULL,
                stdout=writer,
                stderr=errors,
            )
        os.close(writer)
        writer = -1
        assert read_until(reader, b"up\n") == b"up\n", (tmp_path / "errors").read_text()
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)
    return process


@pytest.mark.parametrize(
    "name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGRTMIN", "SIGTSTP"]
)
def test_signals_are_passed_on(run: Runtime, bundle: Bundle, tmp_path: Path, name: str) -> None:
    number = getattr(signal, name)
    with _started(
        run, bundle, tmp_path, f"trap 'exit 42' {int(number)}; echo up; while :; do sleep 0.05; done"
    ) as process:
        process.send_signal(number)
        assert process.wait(DEADLINE) == 42
    assert run.names() == []


def test_many_signals(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    with _started(
        run, bundle, tmp_path, "trap : USR1; trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done"
    ) as process:
        for _ in range(2000):
            process.send_signal(signal.SIGUSR1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 9


def test_ignored_signals_stay_ignored(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = _started(
            run,
            bundle,
            tmp_path,
            "trap 'exit 1' HUP; trap 'exit 2' TERM; echo up; while :; do sleep 0.05; done",
        )
    finally:
        signal.signal(signal.SIGHUP, before)
    with process:
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 2


@pytest.mark.parametrize("command", ["create", "run"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_told_to_stop_while_creating(
    run: Runtime, bundle: Bundle, tmp_path: Path, command: str, name: str
) -> None:
    """A hook that hangs is where the signal finds the command."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    pid_file = tmp_path / "pid"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"echo in >{fifo}; exec sleep 1000"]}
    bundle.configure({"hooks": {"createRuntime": [hook]}})
    arguments = run.arguments(command, "-b", str(bundle), "--pid-file", str(pid_file), "one")
    nothing = subprocess.DEVNULL
    with subprocess.Popen(arguments, env={}, stdin=nothing, stdout=nothing, stderr=nothing) as process:
        with fifo.open() as file:
            assert file.read() == "in\n"
        number = getattr(signal, name)
        process.send_signal(number)
        process.send_signal(number)
        assert process.wait(DEADLINE) == 128 + number
    assert not pid_file.exists()
    assert run.names() == []
    assert str(bundle) not in Path("/proc/self/mountinfo").read_text()


@pytest.fixture
def terminal() -> Any:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
    yield master, slave
    os.close(master)
    os.close(slave)


def _on(terminal: tuple[int, int], run: Runtime, bundle: Bundle, text: str) -> subprocess.Popen[bytes]:
    script(bundle, text, terminal=True)
    return subprocess.Popen(
        run.arguments("run", "-b", str(bundle), "one"),
        env={},
        stdin=terminal[1],
        stdout=terminal[1],
        stderr=terminal[1],
        start_new_session=True,
    )


def test_terminal(run: Runtime, bundle: Bundle, terminal: tuple[int, int]) -> None:
    master, slave = terminal
    before = termios.tcgetattr(slave)
    with _on(terminal, run, bundle, "tty; stty size; read word; echo got $word; exit 5") as process:
        shown = read_until(master, b"33 77\r\n")
        assert b"/dev/pts/0\r\n" in shown
        raw = termios.tcgetattr(slave)
        assert raw[3] & (termios.ICANON | termios.ECHO | termios.ISIG) == 0
        assert raw[1] & termios.OPOST
        os.write(master, b"hello\r")
        assert b"got hello\r\n" in read_until(master, b"got hello\r\n")
        assert process.wait(DEADLINE) == 5
    assert termios.tcgetattr(slave) == before
    assert run.names() == []


def test_terminal_follows_the_size_of_the_callers(
    run: Runtime, bundle: Bundle, terminal: tuple[int, int]
) -> None:
    master, slave = terminal
    text = "trap 'stty size; exit 0' WINCH; echo up; while :; do sleep 0.05; done"
    with _on(terminal, run, bundle, text) as process:
        read_until(master, b"up")
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 88, 0, 0))
        process.send_signal(signal.SIGWINCH)
        assert b"44 88" in read_until(master, b"44 88")
        assert process.wait(DEADLINE) == 0


def test_control_characters_reach_the_container(
    run: Runtime, bundle: Bundle, terminal: tuple[int, int]
) -> None:
    master, _ = terminal
    with _on(terminal, run, bundle, "trap 'exit 6' INT; echo up; while :; do sleep 0.05; done") as process:
        read_until(master, b"up")
        os.write(master, b"\x03")
        assert process.wait(DEADLINE) == 6


def test_terminal_is_given_back_when_the_container_is_killed(
    run: Runtime, bundle: Bundle, terminal: tuple[int, int]
) -> None:
    master, slave = terminal
    before = termios.tcgetattr(slave)
    with _on(terminal, run, bundle, "echo up; exec sleep 1000") as process:
        read_until(master, b"up")
        run("kill", "one", "KILL")
        assert process.wait(DEADLINE) == 137
    assert termios.tcgetattr(slave) == before


def test_terminal_is_taken_again_after_a_stop(
    run: Runtime, bundle: Bundle, terminal: tuple[int, int]
) -> None:
    """A shell makes the terminal its own while a job is stopped."""
    master, slave = terminal
    cooked = termios.tcgetattr(slave)
    with _on(terminal, run, bundle, "echo up; read word; exit 5") as process:
        read_until(master, b"up")
        raw = termios.tcgetattr(slave)
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        termios.tcsetattr(slave, termios.TCSANOW, cooked)
        process.send_signal(signal.SIGCONT)
        until(lambda: termios.tcgetattr(slave) == raw, "the terminal stays as it is")
        os.write(master, b"\r")
        assert process.wait(DEADLINE) == 5
    assert termios.tcgetattr(slave) == cooked


def test_all_output_arrives(run: Runtime, bundle: Bundle) -> None:
    """Without a terminal on our side the proxy writes to a pipe, and line ends stay as they are."""
    before = set(os.listdir("/tmp"))
    script(bundle, "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done", terminal=True)
    done = subprocess.run(
        run.arguments("run", "-b", str(bundle), "one"),
        env={},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=DEADLINE,
    )
    assert done.returncode == 0
    assert done.stdout == b"".join(b"line %d\n" % i for i in range(3000))
    assert not [name for name in set(os.listdir("/tmp")) - before if name.startswith("orlop-")]


@pytest.mark.parametrize("given", [b"", b"one\n", b"one\ntwo", b"x" * 4000])
def test_the_end_of_a_pipe_reaches_a_program_that_reads_lines(
    run: Runtime, bundle: Bundle, given: bytes
) -> None:
    script(bundle, "n=$(wc -c); echo; echo $n", terminal=True)
    done = subprocess.run(
        run.arguments("run", "-b", str(bundle), "one"),
        env={},
        input=given,
        capture_output=True,
        check=False,
        timeout=DEADLINE,
    )
    # What came in has been echoed before.
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, b"%d" % len(given))


def _receiver(path: Path, act: Callable[[], subprocess.CompletedProcess[str]]) -> tuple[int, bytes, int]:
    """Listen on *path* while *act* runs; return its status, the message and the descriptor that came."""
    received: list[tuple[bytes, int]] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(DEADLINE)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                size = socket.CMSG_SPACE(4 * array.array("i").itemsize)
                message, ancillary, _, _ = connection.recvmsg(4096, size)
                descriptors = array.array("i")
                for level, kind, data in ancillary:
                    assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
                    descriptors.frombytes(data)
                assert len(descriptors) == 1
                received.append((message, descriptors[0]))

        thread = threading.Thread(target=serve)
        thread.start()
        done = act()
        thread.join(DEADLINE)
    assert received, done.stderr
    return done.returncode, *received[0]


def test_console_socket(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    script(bundle, "stty size; exec sleep 1000", terminal=True, consoleSize={"height": 21, "width": 43})
    place = tmp_path / "console"
    status, message, master = _receiver(
        place,
        lambda: run(
            "create", "-b", str(bundle), "--console-socket", str(place), "one", output=tmp_path / "output"
        ),
    )
    try:
        assert status == 0
        assert message
        run("start", "one")
        assert b"21 43\r\n" in read_until(master, b"43\r\n")
        run.end("one")
    finally:
        os.close(master)


def test_pidfd_socket(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    place = tmp_path / "pidfd"
    status, message, process = _receiver(
        place,
        lambda: run(
            "create", "-b", str(bundle), "--pidfd-socket", str(place), "one", output=tmp_path / "output"
        ),
    )
    assert (status, message) == (0, b"standard")
    information = Path(f"/proc/self/fdinfo/{process}").read_text()
    assert f"Pid:\t{run.state('one')['pid']}\n" in information
    run("kill", "one", "KILL")
    await_end(process)


def test_a_container_that_waits_for_nobody(run: Runtime, bundle: Bundle) -> None:
    """The command ends while the container lives; the caller's pipe stays open for the container only."""
    script(bundle, "echo from inside; exec sleep 1000")
    reader, writer = os.pipe()
    process = subprocess.Popen(
        run.arguments("run", "--detach", "-b", str(bundle), "one"),
        env={},
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=writer,
    )
    os.close(writer)
    try:
        assert process.wait(DEADLINE) == 0
        assert read_until(reader, b"inside\n") == b"from inside\n"
        run.end("one")
        assert read_until(reader, b"never") == b""
    finally:
        os.close(reader)
    assert json.loads(run("list", "--format=json").stdout)[0]["status"] == "stopped"
