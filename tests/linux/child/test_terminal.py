"""The terminal of a container and who gets its master."""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import os
import select
import socket
import stat
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.linux.child.support import PATIENCE, Box, fds_of, until

import orlop

DEVPTS = {
    "destination": "/dev/pts",
    "type": "devpts",
    "source": "devpts",
    "options": ["newinstance", "ptmxmode=0666", "mode=0620"],
}


class Console:
    """A listening console socket and what arrives at it."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.listener.settimeout(PATIENCE)
        self.listener.bind(self.path)
        self.listener.listen()
        self.fds: list[int] = []

    def receive(self) -> tuple[bytes, list[int]]:
        """Return the text of the one message and the descriptors with it."""
        connection, _ = self.listener.accept()
        with connection:
            connection.settimeout(PATIENCE)
            data, fds, _, _ = socket.recv_fds(connection, 4096, 16)
            self.fds += fds
            assert connection.recv(1) == b"", "more than one message"
        return data, fds

    def read_until(self, master: int, text: bytes) -> bytes:
        """Read from the terminal until *text* has come."""
        found = b""
        poller = select.poll()
        poller.register(master, select.POLLIN)
        while text not in found:
            assert poller.poll(PATIENCE * 1000), found
            try:
                found += os.read(master, 4096)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                break  # no slave is open any more
        return found

    def close(self) -> None:
        self.listener.close()
        for fd in self.fds:
            os.close(fd)


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    made = Console(tmp_path / "console")
    yield made
    made.close()


def terminal(box: Box, script: str, **over: Any) -> dict[str, Any]:
    made = box.script(script, **over)
    made["process"]["terminal"] = True
    made["mounts"].append(DEVPTS)
    return made


def test_master_arrives_once(box: Box, console: Console) -> None:
    made = box.start(terminal(box, "tty; echo ready; read line; echo got $line"), console_socket=console.path)
    data, fds = console.receive()
    assert len(fds) == 1
    assert data
    info = os.fstat(fds[0])
    assert stat.S_ISCHR(info.st_mode)
    assert (os.major(info.st_rdev), os.minor(info.st_rdev)) == (5, 2)
    assert os.isatty(fds[0])
    console.read_until(fds[0], b"ready")
    os.write(fds[0], b"hello\n")
    assert b"got hello" in console.read_until(fds[0], b"got hello")
    assert made.wait(PATIENCE) == 0


def test_streams_and_controlling_terminal(box: Box, console: Console) -> None:
    config = terminal(box, "exec sleep 1000", process={"user": {"uid": 42, "gid": 43}})
    pid = box.start(config, console_socket=console.path).pid
    console.receive()
    held = fds_of(pid)
    assert held == dict.fromkeys((0, 1, 2), "/dev/pts/0")
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    group, session, terminal_number, foreground = fields[2:6]
    assert (group, session, foreground) == (str(pid), str(pid), str(pid))
    slave = os.stat(f"/proc/{pid}/fd/0")
    assert int(terminal_number) != 0
    assert slave.st_uid == 42
    console_device = os.stat(f"/proc/{pid}/root/dev/console")
    assert (console_device.st_dev, console_device.st_ino) == (slave.st_dev, slave.st_ino)


def test_size(box: Box, console: Console) -> None:
    config = terminal(box, "exec sleep 1000", process={"consoleSize": {"height": 33, "width": 111}})
    box.start(config, console_socket=console.path)
    _, (master,) = console.receive()
    size = array.array("H", [0] * 4)
    fcntl.ioctl(master, termios.TIOCGWINSZ, size)
    assert list(size) == [33, 111, 0, 0]


def test_in_a_user_namespace(box: Box, console: Console) -> None:
    maps = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    kinds = ("pid", "mount", "ipc", "uts", "user")
    linux = {"namespaces": [{"type": kind} for kind in kinds], "uidMappings": maps, "gidMappings": maps}
    config = terminal(box, "exec sleep 1000", linux=linux, process={"user": {"uid": 5, "gid": 5}})
    pid = box.start(config, console_socket=console.path).pid
    console.receive()
    assert os.stat(f"/proc/{pid}/fd/0").st_uid == 100005
    assert fds_of(pid)[0] == "/dev/pts/0"


def test_no_devpts(box: Box, console: Console) -> None:
    config = terminal(box, "true")
    config["mounts"].remove(DEVPTS)
    with pytest.raises(orlop.StepError) as caught:
        box.create(config, console_socket=console.path)
    assert caught.value.pointer == "/process/terminal"
    assert "terminal" in str(caught.value)
    assert box.left() == []


def test_directory_in_place_of_devpts(box: Box, console: Console) -> None:
    """The image's own files are no devpts, whatever their names are."""
    config = terminal(box, "true", mounts=[])
    (box.rootfs / "dev/pts").mkdir()
    os.mknod(box.rootfs / "dev/pts/ptmx", stat.S_IFCHR | 0o666, os.makedev(5, 2))
    config["mounts"] = []
    with pytest.raises(orlop.StepError, match="no such device"):
        box.create(config, console_socket=console.path)
    assert box.left() == []


@pytest.mark.parametrize("case", ["missing", "nobody listens", "regular file", "name too long"])
def test_no_peer(box: Box, tmp_path: Path, case: str) -> None:
    path = tmp_path / ("n" * 256 if case == "name too long" else "peer")
    if case == "nobody listens":
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as sock:
            sock.bind(str(path))
    elif case == "regular file":
        path.touch()
    with pytest.raises(orlop.StepError, match="cannot connect to the socket") as caught:
        box.create(terminal(box, "true"), console_socket=str(path))
    assert str(path) in str(caught.value)
    assert caught.value.errno
    assert box.left() == []


def test_a_peer_with_a_full_queue_is_waited_for(box: Box, console: Console) -> None:
    console.listener.listen(0)
    with socket.socket(socket.AF_UNIX) as first:
        first.connect(console.path)
        received: list[int] = []

        def serve() -> None:
            until(lambda: console.path in open_paths(), "create does not connect")
            console.listener.accept()[0].close()
            received.extend(console.receive()[1])

        server = threading.Thread(target=serve)
        server.start()
        box.start(terminal(box, "exec sleep 1000"), console_socket=console.path)
        server.join()
    assert len(received) == 1


def open_paths() -> set[str]:
    """Return what the descriptors of this process lead to."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            continue
    return found


def test_peer_that_hangs_up(box: Box, console: Console) -> None:
    """Nobody holds the master any more; the program has a terminal that has hung up."""
    made = box.create(terminal(box, "exec sleep 1000"), console_socket=console.path)
    console.listener.accept()[0].close()
    made.delete(force=True)
    assert box.left() == []


def test_path_of_the_socket_is_long(box: Box, tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d" * 60] * 4)
    deep.mkdir(parents=True)
    os.symlink(deep, tmp_path / "short")
    console = Console(tmp_path / "short/c")
    os.rename(deep / "c", deep / ("c" * 200))
    try:
        box.start(terminal(box, "exec sleep 1000"), console_socket=str(deep / ("c" * 200)))
        assert len(console.receive()[1]) == 1
    finally:
        console.close()


@pytest.mark.parametrize("kind", ["link out", "dangling link", "directory", "fifo"])
def test_image_in_place_of_the_console(box: Box, console: Console, kind: str) -> None:
    outside = box.place / "outside"
    outside.write_text("untouched")
    place = box.rootfs / "dev/console"
    if kind == "link out":
        place.symlink_to("../" * 20 + str(outside))
    elif kind == "dangling link":
        place.symlink_to("/tmp/made")
    elif kind == "directory":
        place.mkdir()
    else:
        os.mkfifo(place)
    (box.rootfs / "dev/pts").mkdir()
    config = terminal(box, "exec sleep 1000")
    config["mounts"] = [mount for mount in config["mounts"] if mount["destination"] != "/dev"]
    try:
        box.start(config, console_socket=console.path)
    except orlop.StepError as error:
        assert error.pointer == "/process/terminal"  # noqa: PT017 - either is right, following the link is not
        assert kind != "fifo"
    assert outside.read_text() == "untouched"
    assert not (box.rootfs / "tmp/made").exists()
    assert not os.path.ismount(outside)


def test_no_terminal_without_a_socket(box: Box) -> None:
    with pytest.raises(orlop.ConfigError, match="console socket"):
        box.create(terminal(box, "true"))
