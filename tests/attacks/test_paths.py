"""Hostile root file systems: each test is named after the flaw that it looks for (P: path resolution)."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.attacks.target import LINKS, Target

PROC = {"destination": "/proc", "type": "proc", "source": "proc"}
SYS = {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "ro"]}
DEV = {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]}
PTS = {
    "destination": "/dev/pts",
    "type": "devpts",
    "source": "devpts",
    "options": ["newinstance", "ptmxmode=0666", "mode=0620"],
}


def tmpfs(destination: str) -> dict[str, Any]:
    return {"destination": destination, "type": "tmpfs", "source": "tmpfs"}


def bind(source: str | Path, destination: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": "bind", "source": str(source), "options": ["bind", *options]}


@pytest.mark.parametrize("kind", LINKS)
@pytest.mark.parametrize("name", ["proc", "sys"])
def test_p1_a_link_at_proc_or_sys_is_not_followed(target: Target, name: str, kind: str) -> None:
    target.link(name, target.goal(kind, name))
    created, text = target.attack(target.config("/bin/true", mounts=[PROC, SYS]))
    assert not created
    assert f"/{name}" in text


@pytest.mark.parametrize("what", ["directory", "file"])
def test_p3_a_fifo_at_a_mount_point_does_not_hang(target: Target, what: str) -> None:
    os.mkfifo(target.image("fifo"))
    source = target.sentinel / ("directory" if what == "directory" else "secret")
    created, text = target.attack(
        target.shell("test -p /fifo || echo covered", mounts=[PROC, bind(source, "/fifo")])
    )
    assert created == (what == "file"), text
    assert stat.S_ISFIFO(target.image("fifo").lstat().st_mode)


@pytest.mark.parametrize("kind", LINKS)
@pytest.mark.parametrize("place", ["end", "middle"])
def test_p4_a_link_at_a_mount_point_ends_inside_or_fails(target: Target, place: str, kind: str) -> None:
    target.link("at", target.goal(kind, "at"))
    destination = "/at" if place == "end" else "/at/x/y"
    target.attack(target.shell("touch /at/new /at/x/y/new", mounts=[PROC, tmpfs(destination)]))


def test_p4_chains_of_links_end(target: Target) -> None:
    for number in range(300):
        target.link(f"l{number}", f"l{number + 1}")
    target.image("l300").mkdir()
    created, text = target.attack(target.config("/bin/true", mounts=[PROC, tmpfs("/l0")]))
    assert not created
    assert "too many levels of symbolic links" in text
    target.link("around", "around2")
    target.link("around2", "around")
    created, text = target.attack(target.config("/bin/true", mounts=[PROC, tmpfs("/around/x")]))
    assert not created


NULLS = ("link", "link to the host", "file", "directory", "zero", "fifo", "absent")


def _null(target: Target, kind: str) -> None:
    path = target.image("dev/null")
    if kind == "link":
        path.symlink_to("/proc/sys/kernel/core_pattern")
    elif kind == "link to the host":
        path.symlink_to(target.sentinel / "null")
    elif kind == "file":
        path.write_text("plain\n")
    elif kind == "directory":
        path.mkdir()
    elif kind == "zero":
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    elif kind == "fifo":
        os.mkfifo(path)


@pytest.mark.parametrize("kind", NULLS)
@pytest.mark.parametrize("dev", ["image", "bind", "tmpfs"])
def test_p5_masked_files_stay_masked_whatever_null_is_in_the_image(
    target: Target, kind: str, dev: str
) -> None:
    _null(target, kind)
    mounts = {"image": [PROC], "bind": [PROC, bind(target.image("dev"), "/dev")], "tmpfs": [PROC, DEV]}[dev]
    script = "echo content $(head -c 20 /proc/cpuinfo | wc -c); echo x >/proc/cpuinfo; true"
    config = target.shell(script, mounts=mounts, linux={"maskedPaths": ["/proc/cpuinfo", "/tmp"]})
    created, text = target.attack(config)
    if created:
        assert "content 0" in text
    else:
        assert "/dev/null" in text or "/dev" in text


@contextmanager
def _unharmed(path: str) -> Iterator[None]:
    """Put a file of the host's back, whatever has become of it: only this test shall fail."""
    before = os.stat(path)
    try:
        yield
    finally:
        os.chmod(path, stat.S_IMODE(before.st_mode))
        os.chown(path, before.st_uid, before.st_gid)


@pytest.mark.parametrize("dev", ["tmpfs", "without devices", "image"])
def test_p5_root_does_not_reach_the_hosts_null_device_through_a_mask(target: Target, dev: str) -> None:
    """Who is root in the container changes whatever node covers a file, and all that it has in /dev."""
    nothing = {**DEV, "options": ["nodev"]}
    mounts = {"tmpfs": [PROC, DEV], "without devices": [PROC, nothing], "image": [PROC]}[dev]
    masked = ["/proc/cpuinfo", "/etc/covered"]
    target.image("etc").mkdir(exist_ok=True)
    target.image("etc/covered").write_text("content\n")
    script = "\n".join(
        [
            f"cat {' '.join(masked)} && echo empty",
            f"for f in {' '.join(masked)} $(find /dev) /proc/self/fd/[12]; do",
            '  chmod 600 "$f"; chown 7:7 "$f"; touch "$f"',
            "done 2>/errors",
            "stat -c %F /etc/covered",
        ]
    )
    config = target.shell(script, mounts=mounts, linux={"maskedPaths": masked})
    capabilities = ["CAP_CHOWN", "CAP_FOWNER", "CAP_DAC_OVERRIDE"]
    config["process"]["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), capabilities)
    with _unharmed("/dev/null"):
        created, text = target.attack(config)
        assert created, text
        assert "character special file" in text
        assert "content" not in text


@contextmanager
def _console(target: Target) -> Iterator[str]:
    """Listen for a terminal's master, as an engine does."""
    path = str(target.place / "console.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        listener.settimeout(120)
        taken: list[int] = []

        def accept() -> None:
            try:
                connection, _ = listener.accept()
                with connection:
                    taken.extend(socket.recv_fds(connection, 1024, 4)[1])
            except OSError:
                return

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield path
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for fd in taken:
                os.close(fd)


@pytest.mark.parametrize("mounted", ["nothing", "devpts", "dev"])
@pytest.mark.parametrize("to", ["secret", "sysrq", "new", "directory"])
def test_p6_p10_links_in_place_of_a_terminal_lead_nowhere(target: Target, to: str, mounted: str) -> None:
    goal = {
        "secret": str(target.sentinel / "secret"),
        "sysrq": "/proc/sys/kernel/core_pattern",
        "new": str(target.sentinel / "new"),
        "directory": str(target.sentinel),
    }[to]
    target.link("dev/console", goal)
    for number in range(10):
        target.link(f"dev/pts/{number}", goal)
    mounts = {"nothing": [PROC], "devpts": [PROC, PTS], "dev": [PROC, DEV, PTS]}[mounted]
    config = target.shell("echo x >/dev/console; chmod 777 /dev/console", mounts=mounts)
    config["process"]["terminal"] = True
    with _console(target) as path:
        target.attack(config, "--console-socket", path)


@pytest.mark.parametrize(
    "destination",
    [
        "/proc",
        "/proc/",
        "//proc",
        "/proc/self",
        "/proc//self/../1",
        "/dev/../proc",
        "/proc/sys/kernel",
        "/proc/.",
    ],
)
@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
def test_p8_nothing_is_mounted_over_the_procfs(target: Target, kind: str, destination: str) -> None:
    mount = tmpfs(destination) if kind == "tmpfs" else bind(target.sentinel, destination)
    created, text = target.attack(target.config("/bin/true", mounts=[PROC, mount]))
    assert not created
    assert "/mounts/1/destination" in text


@pytest.mark.parametrize("kind", ["absolute", "relative", "upwards", "chained", "dangling"])
def test_p9_a_link_in_place_of_dev_leads_nowhere(target: Target, kind: str) -> None:
    target.link("dev", target.goal(kind, "dev"))
    target.attack(target.config("/bin/true"))
    target.attack(target.config("/bin/true", mounts=[PROC, DEV, PTS]))


@pytest.mark.parametrize(
    "name", ["ptmx", "shm", "mqueue", "pts", "fd", "stdin", "stdout", "null", "zero", "tty"]
)
def test_p9_a_link_in_dev_leads_nowhere(target: Target, name: str) -> None:
    for goal in (target.sentinel / "ptmx", target.sentinel, target.sentinel / "new"):
        target.link(f"dev/{name}", goal)
        mounts = (
            [PROC, PTS]
            if name == "pts"
            else [PROC, tmpfs(f"/dev/{name}")]
            if name in {"shm", "mqueue"}
            else [PROC]
        )
        target.attack(target.config("/bin/true", mounts=mounts))


@pytest.mark.parametrize("proc", [False, True])
def test_p12_a_read_only_root_is_one_without_the_images_help(target: Target, proc: bool) -> None:
    target.clear("proc")
    for number in range(3, 41):
        target.link(f"proc/self/fd/{number}", "/tmp")
        target.link(f"proc/thread-self/fd/{number}", str(target.sentinel))
    mounts = [PROC] if proc else []
    config = target.shell("echo x >/written; echo x >/tmp/written", mounts=mounts)
    config["root"]["readonly"] = True
    created, text = target.attack(config)
    assert not target.image("written").exists()
    assert not target.image("tmp/written").exists()
    if created:
        assert text.count("Read-only file system") == 2


def test_p13_a_mount_point_is_not_made_in_the_source_of_a_read_only_bind(target: Target) -> None:
    target.image("data").mkdir()
    mounts = [PROC, bind(target.sentinel, "/data", "ro"), tmpfs("/data/absent/below")]
    created, text = target.attack(target.config("/bin/true", mounts=mounts))
    assert not created
    assert "read-only file system" in text


def test_p13_a_read_only_bind_is_one_from_the_beginning(target: Target) -> None:
    target.image("data").mkdir()
    mounts = [PROC, bind(target.sentinel, "/data", "ro"), tmpfs("/data/directory")]
    created, text = target.attack(target.shell("echo x >/data/secret; echo x >/data/new", mounts=mounts))
    assert created
    assert text.count("Read-only file system") == 2


@pytest.mark.parametrize(
    "way", ["/proc/1/root", "/proc/self/root", "/proc/self/cwd", "/oldroot", "/.pivot_root"]
)
def test_p16_parents_of_a_mount_point_do_not_lead_back_to_the_host(target: Target, way: str) -> None:
    target.link("out", way)
    mounts = [PROC, tmpfs(f"/out{target.sentinel}/new"), bind("/bin/busybox", f"/out{target.sentinel}/file")]
    target.attack(target.config("/bin/true", mounts=mounts))
    mounts = [PROC, tmpfs(f"{way}{target.sentinel}/new")]
    target.attack(target.config("/bin/true", mounts=mounts))


@pytest.mark.parametrize("kind", LINKS)
def test_p17_a_missing_working_directory_is_made_inside(target: Target, kind: str) -> None:
    target.link("w", target.goal(kind, "w"))
    config = target.shell("touch here; pwd")
    config["process"]["cwd"] = "/w/new/directory"
    created, text = target.attack(config)
    if created and "/new/directory" in text:
        assert any("new/directory" in str(path) for path in target.rootfs.glob("**/new/directory"))


def test_p17_deleting_removes_nothing_through_a_link(target: Target) -> None:
    target.create()
    (target.root / "box/planted").symlink_to(target.sentinel)
    (target.root / "box/directory").mkdir()
    (target.root / "box/directory/planted").symlink_to(target.sentinel / "directory")
    target.good("delete", "--force", "box")
    target.verify()
