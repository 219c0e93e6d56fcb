"""NOTIFY_SOCKET: a service manager learns that the container is ready (sd_notify(3)).

The container's program speaks by syslog(3): ``/dev/log`` is a link to its socket, and a line of the message
is what a service would say.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest
from tests.linux.cli.conftest import DEADLINE, await_end
from tests.linux.cli.test_run import read_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.linux.cli.conftest import Bundle, Runtime

SPEAK = 'ln -s /run/notify/notify.sock /dev/log; say() { logger "$(printf \'x\\n%s\' "$1")"; }; '


class Manager:
    """Who started the runtime and waits to be told.

    Args:
        address: Where it listens, as NOTIFY_SOCKET has it.
    """

    def __init__(self, address: str) -> None:
        """Listen."""
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address[0] == "@" else address)
        self._socket.settimeout(DEADLINE)

    @property
    def environment(self) -> dict[str, str]:
        """The variable, as a runtime is given it."""
        return {"NOTIFY_SOCKET": self.address}

    def hear(self) -> tuple[str, list[int]]:
        """Return the next message with the descriptors that came along."""
        message, descriptors, _, _ = socket.recv_fds(self._socket, 4096, 4)
        return message.decode(), descriptors

    def hears_nothing(self) -> bool:
        """Tell whether nothing has come."""
        return not select.select([self._socket], [], [], 0)[0]

    def understands(self, pid: int) -> None:
        """Read that the container is ready, which process it is, and the barrier, which is lifted."""
        assert self.hear() == ("READY=1", [])
        assert self.hear() == (f"MAINPID={pid}", [])
        word, (barrier,) = self.hear()
        assert word == "BARRIER=1"
        os.close(barrier)

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.close()


@pytest.fixture
def speaking(bundle: Bundle) -> Bundle:
    """Return a bundle whose program can speak."""
    for name in ("ln", "logger", "printf", "rm"):
        (bundle.path / "rootfs/bin" / name).symlink_to("busybox")
    return bundle


def program(bundle: Bundle, text: str) -> None:
    bundle.configure(args=["/bin/sh", "-c", SPEAK + text])


def awaited(fifo: Path) -> IO[bytes]:
    """Open a FIFO for writing when the program has opened it to read."""
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            return os.fdopen(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK), "wb")
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        assert time.monotonic() < deadline, "the program has not come so far"
        os.sched_yield()


def called(run: Runtime, manager: Manager, *arguments: str) -> subprocess.Popen[bytes]:
    nothing = subprocess.DEVNULL
    return subprocess.Popen(
        run.arguments(*arguments), env=manager.environment, stdin=nothing, stdout=nothing, stderr=nothing
    )


@pytest.mark.every_lane
def test_start_returns_when_the_container_is_ready(
    run: Runtime, speaking: Bundle, manager: Manager, tmp_path: Path
) -> None:
    fifo = speaking.path / "rootfs/go"
    os.mkfifo(fifo)
    program(speaking, "say STATUS=loading; cat /go >/dev/null; say READY=1; exec sleep 1000")
    created = run("create", "-b", str(speaking), "one", output=tmp_path / "output", env=manager.environment)
    assert (created.returncode, created.stdout) == (0, "")
    with called(run, manager, "start", "one") as start:
        with awaited(fifo):
            assert start.poll() is None
            assert manager.hears_nothing()
        pid = run.state("one")["pid"]
        assert manager.hear() == ("READY=1", [])
        assert manager.hear() == (f"MAINPID={pid}", [])
        word, (barrier,) = manager.hear()
        assert word == "BARRIER=1"
        assert start.poll() is None
        os.close(barrier)
        assert start.wait(DEADLINE) == 0
    assert "NOTIFY_SOCKET=/run/notify/notify.sock" in Path(f"/proc/{pid}/environ").read_text().split("\0")
    # It is for the container's own process to say.
    (speaking.path / "rootfs/bin/env").symlink_to("busybox")
    assert "NOTIFY_SOCKET" not in run("exec", "one", "env").stdout
    run.end("one")
    assert run("delete", "one").returncode == 0


def test_a_detached_run_waits_and_the_containers_root_may_be_nobody(
    run: Runtime, speaking: Bundle, manager: Manager
) -> None:
    for name in ("dev", "run/notify"):
        (speaking.path / "rootfs" / name).mkdir(parents=True)
    change = "rm /run/notify/notify.sock || echo >/run/notify/other || say READY=1; exec sleep 1000"
    made = speaking.configure(args=["/bin/sh", "-c", SPEAK + change])
    # Without privileges over the host's file systems, which are not its own.
    made["mounts"] = [one for one in made["mounts"] if one["destination"] == "/dev"]
    made["process"].pop("rlimits", None)
    linux = made["linux"]
    linux["namespaces"].append({"type": "user"})
    linux["uidMappings"] = linux["gidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 1000}]
    for name in ("maskedPaths", "readonlyPaths"):
        linux.pop(name)
    speaking.write(json.dumps(made))
    with called(run, manager, "run", "--detach", "-b", str(speaking), "one") as process:
        assert manager.hear() == ("READY=1", [])
        manager_told = manager.hear()[0]
        assert process.poll() is None
        os.close(manager.hear()[1][0])
        assert process.wait(DEADLINE) == 0
    assert manager_told == f"MAINPID={run.state('one')['pid']}"


def test_a_run_in_the_foreground_stays_and_passes_signals_on(
    run: Runtime, speaking: Bundle, manager: Manager
) -> None:
    program(speaking, "trap 'exit 42' TERM; say READY=1; echo up; while :; do sleep 0.05; done")
    reader, writer = os.pipe()
    with subprocess.Popen(
        run.arguments("run", "-b", str(speaking), "one"),
        env=manager.environment,
        stdin=subprocess.DEVNULL,
        stdout=writer,
    ) as process:
        os.close(writer)
        assert read_until(reader, b"up\n") == b"up\n"
        os.close(reader)
        assert manager.hear() == ("READY=1", [])
        assert manager.hear() == (f"MAINPID={run.state('one')['pid']}", [])
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 42
    assert manager.hears_nothing()


@pytest.mark.parametrize("words", [("start", "one"), ("run", "--detach", "-b")])
def test_a_container_that_ends_without_a_word(
    run: Runtime, speaking: Bundle, manager: Manager, tmp_path: Path, words: tuple[str, ...]
) -> None:
    program(speaking, "exit 3")
    if words[0] == "start":
        run("create", "-b", str(speaking), "one", output=tmp_path / "output", env=manager.environment)
    else:
        words = (*words, str(speaking), "one")
    with called(run, manager, *words) as process:
        assert process.wait(DEADLINE) == 0
    assert run.state("one")["status"] == "stopped"
    assert manager.hears_nothing()


def test_who_waits_can_be_stopped(run: Runtime, speaking: Bundle, manager: Manager, tmp_path: Path) -> None:
    program(speaking, "cat /go; exec sleep 1000")
    fifo = speaking.path / "rootfs/go"
    os.mkfifo(fifo)
    run("create", "-b", str(speaking), "one", output=tmp_path / "output", env=manager.environment)
    with called(run, manager, "start", "one") as start:
        awaited(fifo).close()
        start.send_signal(signal.SIGTERM)
        assert start.wait(DEADLINE) == -signal.SIGTERM
    # The container is left as it was, and everything else works on it.
    assert run.state("one")["status"] == "running"
    assert "already running" in run("start", "one", env=manager.environment).stderr
    process = os.pidfd_open(run.state("one")["pid"])
    assert run("delete", "--force", "one").returncode == 0
    await_end(process)
    assert manager.hears_nothing()


def test_a_detached_run_that_is_stopped_takes_the_container_away(
    run: Runtime, speaking: Bundle, manager: Manager
) -> None:
    program(speaking, "cat /go; exec sleep 1000")
    fifo = speaking.path / "rootfs/go"
    os.mkfifo(fifo)
    with called(run, manager, "run", "--detach", "-b", str(speaking), "one") as process:
        awaited(fifo).close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 128 + signal.SIGTERM
    assert run.names() == []
    assert manager.hears_nothing()


def test_one_half_without_the_other_waits_for_nobody(
    run: Runtime, speaking: Bundle, manager: Manager, tmp_path: Path
) -> None:
    program(speaking, "exec sleep 1000")
    for creating, starting in (({}, manager.environment), (manager.environment, {})):
        run("create", "-b", str(speaking), "one", output=tmp_path / "output", env=creating)
        assert run("start", "one", env=starting).returncode == 0
        run("delete", "--force", "one")
    assert manager.hears_nothing()


def test_an_abstract_address(run: Runtime, speaking: Bundle) -> None:
    program(speaking, "say READY=1; exec sleep 1000")
    manager = Manager(f"@orlop-test-{os.getpid()}")
    try:
        with called(run, manager, "run", "--detach", "-b", str(speaking), "one") as process:
            assert manager.hear() == ("READY=1", [])
            pid = manager.hear()[0].partition("=")[2]
            os.close(manager.hear()[1][0])
            assert process.wait(DEADLINE) == 0
        assert int(pid) == run.state("one")["pid"]
    finally:
        manager.close()


def test_a_manager_that_is_gone_is_a_warning(run: Runtime, speaking: Bundle, tmp_path: Path) -> None:
    program(speaking, "say READY=1; exec sleep 1000")
    log = tmp_path / "log"
    arguments = ("--log", str(log), "run", "--detach", "-b", str(speaking), "one")
    done = run(*arguments, output=tmp_path / "output", env={"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    assert (done.returncode, done.stdout) == (0, "")
    (line,) = log.read_text().splitlines()
    assert "level=warning" in line
    assert "NOTIFY_SOCKET cannot be told: no such file or directory" in line
    assert run.state("one")["status"] == "running"


@pytest.mark.parametrize("address", ["relative", "@", "/" + "a" * 108, "vsock:2:9"])
def test_what_is_no_address(run: Runtime, bundle: Bundle, address: str) -> None:
    for words in (("create", "-b", str(bundle), "one"), ("run", "-b", str(bundle), "one"), ("start", "one")):
        done = run(*words, env={"NOTIFY_SOCKET": address})
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert "NOTIFY_SOCKET is no address of a unix socket" in done.stderr
    assert run.names() == []


def test_a_config_of_its_own_is_named_where_it_is_wrong(
    run: Runtime, bundle: Bundle, manager: Manager
) -> None:
    for text, words in (("{", "config.json"), ('{"ociVersion": "1.0.2", "nonsense": 1}', "config.json")):
        bundle.write(text)
        plain, notified = (
            run("create", "-b", str(bundle), "one", env=env) for env in ({}, manager.environment)
        )
        assert (plain.returncode, notified.returncode) == (1, 1)
        assert words in notified.stderr
        assert [line.partition(" level=")[2] for line in plain.stderr.splitlines()] == [
            line.partition(" level=")[2] for line in notified.stderr.splitlines()
        ]
    assert run.names() == []
