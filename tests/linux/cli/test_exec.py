"""``orlop exec``: exit status, terminal, signals, what the program has, and what a failure leaves."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import termios
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.linux.cli.conftest import DEADLINE, await_end
from tests.linux.cli.test_run import read_until

if TYPE_CHECKING:
    from tests.linux.cli.conftest import Bundle, Runtime


@pytest.fixture
def one(run: Runtime, bundle: Bundle, tmp_path: Path) -> Runtime:
    """Return the command with a container *one* that runs."""
    started(run, bundle, tmp_path)
    return run


def started(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    done = run("run", "--detach", "-b", str(bundle), "one", output=tmp_path / "container")
    assert done.returncode == 0, done.stdout


def document(tmp_path: Path, *args: str, **process: Any) -> str:
    """Write a process document and return its path."""
    path = tmp_path / "process.json"
    path.write_text(json.dumps({"cwd": "/", "args": list(args), "env": ["PATH=/bin"], **process}))
    return str(path)


@contextmanager
def running(command: list[str], **popen: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command that is killed when the test ends before it does."""
    popen.setdefault("stdin", subprocess.DEVNULL)
    process = subprocess.Popen(command, env={}, **popen)
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def processes(run: Runtime) -> list[int]:
    found: list[int] = json.loads(run("ps", "--format", "json", "one").stdout) or []
    return found


@pytest.mark.parametrize(
    ("text", "status"), [("true", 0), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 137)]
)
def test_exit_status(one: Runtime, text: str, status: int) -> None:
    done = one("exec", "one", "sh", "-c", text)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", "")


def test_input_and_output_pass_through(one: Runtime) -> None:
    done = subprocess.run(
        one.arguments("exec", "one", "sh", "-c", "cat; echo done >&2"),
        env={},
        input="from outside\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "from outside\n", "done\n")


@pytest.mark.every_lane
def test_the_process_is_in_all_namespaces_and_cgroups_of_the_container(one: Runtime, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    done = one(
        "exec", "--detach", "--pid-file", str(pid_file), "one", "sleep", "1000", output=tmp_path / "out"
    )
    assert done.returncode == 0, done.stdout
    pid, first = int(pid_file.read_text()), one.state("one")["pid"]
    assert str(pid) == pid_file.read_text()
    for name in os.listdir(f"/proc/{first}/ns"):
        assert os.readlink(f"/proc/{pid}/ns/{name}") == os.readlink(f"/proc/{first}/ns/{name}"), name
    assert Path(f"/proc/{pid}/cgroup").read_text() == Path(f"/proc/{first}/cgroup").read_text()
    for name in ("root", "cwd"):
        assert os.stat(f"/proc/{pid}/{name}") == os.stat(f"/proc/{first}/{name}")
    assert processes(one) == sorted((pid, first))
    assert b"sleep" in Path(f"/proc/{pid}/exe").readlink().name.encode() or (
        os.stat(f"/proc/{pid}/exe").st_ino == os.stat(f"/proc/{first}/exe").st_ino
    )


@pytest.mark.every_lane
@pytest.mark.parametrize("end", ["kill --all", "delete --force"])
def test_what_ends_the_container_ends_its_processes(one: Runtime, tmp_path: Path, end: str) -> None:
    pid_file = tmp_path / "pid"
    one("exec", "-d", "--pid-file", str(pid_file), "one", "sleep", "1000", output=tmp_path / "out")
    process = os.pidfd_open(int(pid_file.read_text()))
    command, flag = end.split()
    assert one(command, flag, "one", *(["KILL"] if command == "kill" else [])).returncode == 0
    await_end(process)


def test_flags_of_the_process(one: Runtime) -> None:
    script = 'id -u; id -g; id -G; echo "$A"; readlink /proc/self/cwd'
    flags = ("-u", "7:8", "-g", "9", "--additional-gids=10", "-e", "A=b=c", "--env", "B=", "--cwd", "/bin")
    done = one("exec", *flags, "one", "sh", "-c", script)
    assert (done.returncode, done.stdout) == (0, "7\n8\n8 9 10\nb=c\n/bin\n"), done.stderr


def _status(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    assert done.returncode == 0, done.stderr
    return dict(line.split(":\t", 1) for line in done.stdout.splitlines() if ":\t" in line)


def test_capabilities_and_no_new_privileges(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    caps = ["CAP_KILL", "CAP_CHOWN"]
    sets = {"bounding": caps, "effective": caps, "permitted": caps}
    bundle.configure(capabilities=sets, noNewPrivileges=False)
    started(run, bundle, tmp_path)
    show = ("one", "cat", "/proc/self/status")
    plain = _status(run("exec", *show))
    assert [int(plain[name], 16) for name in ("CapBnd", "CapEff", "CapInh", "CapAmb")] == [0x21, 0x21, 0, 0]
    wider = _status(run("exec", "--cap", "CAP_NET_RAW", "-c", "CAP_SETUID", *show))
    more = 0x21 | 1 << 13 | 1 << 7
    assert [int(wider[name], 16) for name in ("CapBnd", "CapEff", "CapPrm", "CapInh")] == [more] * 3 + [0]
    assert (plain["NoNewPrivs"], _status(run("exec", "--no-new-privs", *show))["NoNewPrivs"]) == ("0", "1")


def test_a_document_says_it_all(one: Runtime, tmp_path: Path) -> None:
    path = document(
        tmp_path,
        "sh",
        "-c",
        "id -u; echo $A; umask; ulimit -n",
        env=["PATH=/bin", "A=1"],
        user={"uid": 5, "gid": 6, "umask": 0o27},
        rlimits=[{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 64}],
    )
    done = one("exec", "--process", path, "one")
    assert (done.returncode, done.stdout) == (0, "5\n1\n0027\n64\n"), done.stderr


REFUSED = {
    "no container": (("two", "true"), 255, "container does not exist"),
    "no program": (("one",), 255, "process args cannot be empty"),
    "nothing": ((), 1, "requires a minimum of 1 argument(s)"),
    "unknown flag": (("--bogus", "one", "true"), 1, "flag provided but not defined: -bogus"),
    "flag without a value": (("--cwd",), 1, "flag needs an argument: -cwd"),
    "program not in PATH": (("one", "nope"), 255, 'exec: "nope": executable file not found in $PATH'),
    "program not there": (("one", "/nope"), 255, 'exec: "/nope": stat /nope: no such file or directory'),
    "directory relative": (("--cwd", "bin", "one", "true"), 255, "must be absolute"),
    "directory missing": (("--cwd", "/nope", "one", "true"), 255, "no such file or directory"),
    "user by name": (("-u", "root", "one", "true"), 255, "--user"),
    "document missing": (("-p", "/nope", "one"), 255, "no such file or directory"),
    "pid file nowhere": (("--pid-file", "/nope/pid", "one", "true"), 255, "no such file or directory"),
    "terminal nobody holds": (("-d", "-t", "one", "true"), 255, "console socket"),
    "socket for no terminal": (("--console-socket", "/nope", "one", "true"), 255, "console socket"),
    "cgroup elsewhere": (("--cgroup", "../two", "one", "true"), 255, "is not a sub cgroup path"),
    "cgroup missing": (("--cgroup", "sub", "one", "true"), 255, "no such file or directory"),
    "group below zero": (("-g", "-5", "one", "true"), 255, "--additional-gids"),
}
"""What runc refuses as well: flags, its exit status, and words of the message."""

REFUSED_BY_US = {
    "descriptor that is not open": (("--preserve-fds", "1", "one", "true"), 255, "descriptor 3"),
    "user out of range": (("-u", "4294967295", "one", "true"), 255, "out of range"),
    "user beyond": (("-u", "99999999999", "one", "true"), 255, "--user"),
    "user with a sign": (("-u", "+1", "one", "true"), 255, "--user"),
    "user in octal": (("-u", "01", "one", "true"), 255, "--user"),
    "group empty": (("-u", "1:", "one", "true"), 255, "--user"),
    "user empty": (("-u", ":1", "one", "true"), 255, "--user"),
    "user in other digits": (("-u", "\u0661", "one", "true"), 255, "--user"),
    "variable without a name": (("-e", "=1", "one", "true"), 255, "--env: expected NAME=VALUE"),
    "controller twice": (("--cgroup", "cpu:a", "--cgroup", "cpu:b", "one", "true"), 255, "named twice"),
    "path without controller": (
        ("--cgroup", "a", "--cgroup", "cpu:b", "one", "true"),
        255,
        "needs a controller",
    ),
    "no controller": (
        ("--cgroup", ":a", "one", "true"),
        255,
        "the controller in front of the colon is missing",
    ),
    "unknown controller": (("--cgroup", "bogus:a", "one", "true"), 255, "no cgroup with this controller"),
    "cgroup path with a line end": (("--cgroup", "a\nb", "one", "true"), 255, "is not a sub cgroup path"),
}


@pytest.mark.parametrize("case", [*REFUSED, *REFUSED_BY_US])
def test_what_cannot_be_meant_is_one_line(one: Runtime, case: str) -> None:
    flags, status, words = {**REFUSED, **REFUSED_BY_US}[case]
    before = processes(one)
    done = one("exec", *flags)
    assert done.returncode == status, done.stderr
    assert words in done.stderr.replace("\\", "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert processes(one) == before


def test_runc_ends_with_the_same_statuses(runc: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    done = runc("run", "--detach", "-b", str(bundle), "one", output=tmp_path / "container")
    assert done.returncode == 0, done.stdout
    found = {case: runc("exec", *flags).returncode for case, (flags, _, _) in REFUSED.items()}
    assert found == {case: status for case, (_, status, _) in REFUSED.items()}


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ('{"cwd": "/", "args": ["true"], "user": {"uid": "0", "gid": 0}}', "/user/uid"),
        ('{"cwd": "/", "args": []}', "/args"),
        ('{"args": ["true"]}', "/cwd"),
        (
            '{"cwd": "/", "args": ["true"], "rlimits": [{"type": "RLIMIT_X", "soft": 1, "hard": 1}]}',
            "/rlimits/0",
        ),
        ('{"cwd": "/", "args": ["true"], "args": ["false"]}', "duplicate"),
        ('{"cwd": "/", "args": ["true\\u0000"]}', "/args/0"),
        ('{"cwd": "/", "args": ["true"]', "not a JSON document"),
        ('{"cwd": "/", "args": ["true"], "execCPUAffinity": {"final": "1-0"}}', "/execCPUAffinity/final"),
        ('{"cwd": "/", "args": ["true"], "oomScoreAdj": 5000}', "/oomScoreAdj"),
    ],
)
def test_documents_are_read_strictly(one: Runtime, tmp_path: Path, text: str, pointer: str) -> None:
    path = tmp_path / "process.json"
    path.write_text(text)
    done = one("exec", "-p", str(path), "one")
    assert done.returncode == 255
    assert pointer in done.stderr
    assert str(path) in done.stderr
    assert "/process/" not in done.stderr.replace(str(path), "")
    assert len(done.stderr.splitlines()) == 1


def test_states(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    assert run("create", "-b", str(bundle), "one", output=tmp_path / "container").returncode == 0
    assert run("exec", "one", "true").returncode == 0
    assert run.state("one")["status"] == "created"
    run("start", "one")
    assert run("pause", "one").returncode == 0
    done = run("exec", "one", "true")
    assert (done.returncode, "cannot exec in a paused container" in done.stderr) == (255, True)
    assert run("resume", "one").returncode == 0
    run.end("one")
    done = run("exec", "one", "true")
    assert (done.returncode, "cannot exec in a stopped container" in done.stderr) == (255, True)


@pytest.mark.every_lane
def test_a_paused_container_is_joined_and_waited_for(one: Runtime) -> None:
    assert one("pause", "one").returncode == 0
    with running(one.arguments("exec", "--ignore-paused", "one", "sh", "-c", "exit 4")) as process:
        # It is in the cgroup, and waits there.
        while len(processes(one)) < 2:
            assert process.poll() is None
        assert one("resume", "one").returncode == 0
        assert process.wait(DEADLINE) == 4


def test_a_command_that_waits_in_a_paused_container_can_be_stopped(one: Runtime) -> None:
    assert one("pause", "one").returncode == 0
    with running(
        one.arguments("exec", "--ignore-paused", "one", "true"), stderr=subprocess.DEVNULL
    ) as process:
        while len(processes(one)) < 2:
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 128 + signal.SIGTERM
    first = one.state("one")["pid"]
    assert one("resume", "one").returncode == 0
    deadline = time.monotonic() + DEADLINE
    while processes(one) != [first]:
        assert time.monotonic() < deadline, "what has been stopped is still in the container"


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    master, slave = pty.openpty()
    yield master, slave
    os.close(master)
    os.close(slave)


def test_a_terminal_in_the_foreground(one: Runtime, terminal: tuple[int, int]) -> None:
    master, slave = terminal
    termios.tcsetwinsize(slave, (33, 77))
    before = termios.tcgetattr(slave)
    script = "tty; stty size; read word; echo got $word; exit 5"
    with running(
        one.arguments("exec", "-t", "one", "sh", "-c", script),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    ) as process:
        assert b"/dev/pts/0\r\n" in read_until(master, b"33 77\r\n")
        os.write(master, b"hello\r")
        assert b"got hello\r\n" in read_until(master, b"got hello\r\n")
        assert process.wait(DEADLINE) == 5
    assert termios.tcgetattr(slave) == before


def test_the_terminal_is_the_programs_own(one: Runtime) -> None:
    """It is the controlling one of a session of its own, and everybody else's console stays what it was."""
    done = one("exec", "-t", "one", "sh", "-c", "ls -l /dev/console; echo >/dev/tty; cat /proc/$$/stat")
    assert done.returncode == 0, done.stderr
    fields = done.stdout.splitlines()[-1].rpartition(")")[2].split()
    pid = done.stdout.splitlines()[-1].split()[0]
    assert fields[3] == pid  # the session
    assert fields[4] != "0"  # tty_nr
    assert "No such file" in done.stdout.splitlines()[0] or "console" in done.stdout.splitlines()[0]


@contextmanager
def _up(run: Runtime, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in the foreground that has said that it is up."""
    with running(run.arguments("exec", *arguments), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert read_until(process.stdout.fileno(), b"up\n") == b"up\n"
        yield process


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGRTMIN"])
def test_signals_are_passed_on(one: Runtime, name: str) -> None:
    number = getattr(signal, name)
    script = f"trap 'exit 42' {int(number)}; echo up; while :; do sleep 0.05; done"
    with _up(one, "one", "sh", "-c", script) as process:
        process.send_signal(number)
        assert process.wait(DEADLINE) == 42
    assert one.state("one")["status"] == "running"


def test_the_container_ends_while_a_program_runs(one: Runtime) -> None:
    with _up(one, "one", "sh", "-c", "echo up; exec sleep 1000") as process:
        one("kill", "one", "KILL")
        assert process.wait(DEADLINE) == 128 + 9


def test_a_command_that_is_killed_leaves_at_most_the_program(one: Runtime) -> None:
    first = one.state("one")["pid"]
    for delay in range(12):
        with running(one.arguments("exec", "one", "sleep", "1000")) as process:
            # Wherever it is by then: the time is no wait for anything.
            with suppress(subprocess.TimeoutExpired):
                process.wait(delay * 0.02)
            process.kill()
            process.wait(DEADLINE)
    # What has been let go executes its program; all else ends by itself.
    deadline = time.monotonic() + DEADLINE
    while others := [pid for pid in processes(one) if pid != first and not _is_sleep(pid)]:
        assert time.monotonic() < deadline, others
    one.end("one")
    assert one("delete", "one").returncode == 0


def _is_sleep(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x001000\x00"
    except OSError:
        return True  # it has ended


def test_nothing_of_the_callers_reaches_the_program(one: Runtime, tmp_path: Path) -> None:
    """Neither descriptors, nor variables, nor signals, nor the umask's owner."""
    opened = [os.open(tmp_path, os.O_RDONLY) for _ in range(20)]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM})
    try:
        done = one(
            "exec",
            "one",
            "sh",
            "-c",
            "ls /proc/$$/fd; echo; exec env",
            env={"CANARY": "1", "PYTHONPATH": str(tmp_path), "LD_LIBRARY_PATH": "/nope"},
            pass_fds=opened,
        )
        ignoring = one("exec", "one", "cat", "/proc/self/status")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for descriptor in opened:
            os.close(descriptor)
    assert done.returncode == 0, done.stderr
    listed, _, rest = done.stdout.partition("\n\n")
    assert listed.split() == ["0", "1", "2"]
    assert "CANARY" not in rest
    assert "PYTHONPATH" not in rest
    assert "LD_LIBRARY_PATH" not in rest
    status = _status(ignoring)
    assert [int(status[name], 16) for name in ("SigBlk", "SigIgn", "SigCgt")] == [0, 0, 0]


def test_descriptors_are_preserved(one: Runtime, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("passed on\n")
    with file.open() as opened:
        os.dup2(opened.fileno(), 3)
        done = one(
            "exec", "--preserve-fds=1", "one", "sh", "-c", "cat <&3; ls /proc/$$/fd; true", pass_fds=[3]
        )
    assert (done.returncode, done.stdout) == (0, "passed on\n0\n1\n2\n3\n"), done.stderr


def received(place: Path, run: Runtime, *arguments: str) -> tuple[bytes, int]:
    """Listen on *place* while a command runs; return the message and the descriptor that came."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen()
        listener.settimeout(DEADLINE)
        with running(run.arguments(*arguments)) as process:
            connection, _ = listener.accept()
            with connection:
                message, descriptors, _, _ = socket.recv_fds(connection, 4096, 4)
            assert process.wait(DEADLINE) == 0
    assert len(descriptors) == 1
    return message, descriptors[0]


def test_the_console_socket_receives_the_master(one: Runtime, tmp_path: Path) -> None:
    place = tmp_path / "console"
    script = "tty; read word; echo got $word; exec sleep 1000"
    flags = ("--detach", "--tty", "--console-socket", str(place))
    message, master = received(place, one, "exec", *flags, "one", "sh", "-c", script)
    try:
        assert message
        assert b"/dev/pts/0\r\n" in read_until(master, b"pts/0\r\n")
        os.write(master, b"hello\r")
        assert b"got hello" in read_until(master, b"got hello\r\n")
    finally:
        os.close(master)


def test_the_pidfd_socket_receives_the_process(one: Runtime, tmp_path: Path) -> None:
    place = tmp_path / "pidfd"
    flags = ("--detach", "--pidfd-socket", str(place), "--pid-file", str(tmp_path / "pid"))
    message, process = received(place, one, "exec", *flags, "one", "sleep", "1000")
    assert message == b"setns"
    information = Path(f"/proc/self/fdinfo/{process}").read_text()
    assert f"Pid:\t{(tmp_path / 'pid').read_text()}\n" in information
    signal.pidfd_send_signal(process, signal.SIGKILL)
    await_end(process)


def test_a_cgroup_below_the_containers_is_joined(one: Runtime, tmp_path: Path) -> None:
    first = one.state("one")["pid"]
    record = json.loads((one.root / "one/record.json").read_text())
    groups = record["kernel"]["cgroups"]
    if not groups:
        pytest.skip("needs a container with a cgroup of its own")
    made = [Path(group["mount"] + group["path"], "below") for group in groups]
    for group, place in zip(groups, made, strict=True):
        place.mkdir()
        if "cpuset" in group["controllers"]:
            for name in ("cpuset.cpus", "cpuset.mems"):
                (place / name).write_text((place.parent / name).read_text())
    pid_file = tmp_path / "pid"
    flags = ("--detach", "--pid-file", str(pid_file), "--cgroup", "below")
    assert one("exec", *flags, "one", "sleep", "1000", output=tmp_path / "out").returncode == 0
    pid = int(pid_file.read_text())
    assert all(f"{pid}\n" in (place / "cgroup.procs").read_text() for place in made)
    assert processes(one) == sorted((first, pid))
    if "pids" in {name for group in groups for name in group["controllers"]}:
        flags = ("--detach", "--pid-file", str(pid_file), "--cgroup", "pids:/below")
        assert one("exec", *flags, "one", "sleep", "1000", output=tmp_path / "out").returncode == 0
        inside = [f"{int(pid_file.read_text())}\n" in (place / "cgroup.procs").read_text() for place in made]
        assert inside == ["pids" in group["controllers"] for group in groups]


def test_twenty_at_once(one: Runtime) -> None:
    with ThreadPoolExecutor(20) as pool:
        done = list(pool.map(lambda number: one("exec", "one", "sh", "-c", f"exit {number}"), range(20)))
    assert [each.returncode for each in done] == list(range(20)), [each.stderr for each in done]
    assert len(processes(one)) == 1


def test_programs_while_the_container_is_deleted(one: Runtime) -> None:
    """Each runs, or is refused by one of the known words; nothing hangs, and nothing is left."""
    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(one, "exec", "one", "sh", "-c", "exit 3") for _ in range(8)]
        assert one("delete", "--force", "one").returncode == 0
        for each in running:
            done = each.result()
            known = ("cannot exec in a stopped container", "container does not exist", "cannot exec in a")
            assert done.returncode in {3, 137} or any(words in done.stderr for words in known), done
    assert one.names() == []
