"""Containers in a mount namespace that others use as well: what is mounted there comes off with them."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.linux.child.support import PATIENCE, Box, command_line, namespaces_of, until

import orlop
from orlop_linux.live import mounts as live_mounts

APART = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
assert not libc.unshare(0x20000) and not libc.mount(None, b"/", None, 0x4000 | 0x40000, None)
if len(sys.argv) > 1:
    os.makedirs(sys.argv[1] + "/other")
    assert not libc.mount((sys.argv[1] + "/other").encode(), sys.argv[2].encode(), None, 0x1000, None)
os.write(1, b"ready")
os.read(0, 1)
"""


def inherited(config: dict[str, Any], **joined: str) -> dict[str, Any]:
    """Return *config* without a new mount namespace, perhaps with one to join."""
    entries = [entry for entry in config["linux"]["namespaces"] if entry["type"] != "mount"]
    entries += [{"type": "mount", "path": path} for path in joined.values()]
    config["linux"]["namespaces"] = entries
    return config


def mounts_of(process: int | str, place: Path) -> list[str]:
    """Return where in *place* something is mounted in the mount namespace of a process."""
    lines = Path(f"/proc/{process}/mountinfo").read_text().splitlines()
    points = [line.split()[4] for line in lines]
    return sorted(point.removeprefix(str(place)) for point in points if point.startswith(f"{place}/"))


class Neighbour:
    """A process in a mount namespace of its own."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", APART, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], PATIENCE)[0]
        assert self._process.stdout.read(5) == b"ready"
        self.pid = self._process.pid
        self.path = f"/proc/{self.pid}/ns/mnt"

    def end(self) -> None:
        self._process.communicate(b"x", timeout=PATIENCE)


@pytest.fixture
def neighbour(box: Box) -> Iterator[Neighbour]:
    made = Neighbour()
    yield made
    made.end()


def test_the_runtimes_namespace_is_inherited_and_left_as_it_was(box: Box) -> None:
    before = mounts_of("self", box.place)
    config = inherited(
        box.script(
            "busybox touch /made 2>/dev/null || echo readonly; cat /tmp/masked; "
            "busybox stat -c %n /dev/null /proc/self; exec sleep 100000",
            root={"readonly": True},
            linux={"maskedPaths": ["/tmp/masked"]},
        )
    )
    (box.rootfs / "tmp/masked").write_text("seen\n")
    made = box.start(config)
    until(lambda: "proc" in box.output(), "the program says nothing")
    assert box.output() == "readonly\n/dev/null\n/proc/self\n"
    assert namespaces_of(made.pid)["mnt"] == namespaces_of("self")["mnt"]
    during = mounts_of("self", box.bundle)
    assert during == ["/rootfs", "/rootfs/dev", "/rootfs/proc", "/rootfs/tmp/masked"]
    made.delete(force=True)
    assert mounts_of("self", box.place) == before
    assert (box.rootfs / "tmp/masked").read_text() == "seen\n"
    assert os.listdir(box.rootfs / "dev") == []


def test_a_failed_creation_leaves_nothing_mounted(box: Box) -> None:
    config = inherited(box.config())
    config["mounts"].append({"destination": "/t", "type": "tmpfs", "options": ["nosuchoption=1"]})
    with pytest.raises(orlop.StepError):
        box.create(config)
    assert box.left() == []


def test_a_killed_runtime_leaves_what_a_forced_delete_removes(box: Box) -> None:
    config = inherited(box.config())
    config["linux"]["namespaces"] = [e for e in config["linux"]["namespaces"] if e["type"] != "pid"]
    pid_file = box.place / "runtime"
    script = f"kill -9 $(cat {pid_file})"
    config["hooks"] = {"createContainer": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    before = "open(sys.argv.pop(), 'w').write(str(os.getpid()))"
    ended = command_line(
        box, "create", "--bundle", str(box.bundle), "box", str(pid_file), before=before, config=config
    )
    assert ended.returncode == -9
    assert mounts_of("self", box.bundle) != []
    box.runtime.get("box").delete(force=True)
    assert box.left() == []


def test_a_namespace_is_joined_and_left_as_it_was(box: Box, neighbour: Neighbour) -> None:
    before = mounts_of(neighbour.pid, box.place)
    made = box.start(inherited(box.config(), path=neighbour.path))
    assert namespaces_of(made.pid)["mnt"] == namespaces_of(neighbour.pid)["mnt"]
    assert mounts_of(neighbour.pid, box.bundle) == ["/rootfs", "/rootfs/dev", "/rootfs/proc"]
    assert mounts_of("self", box.bundle) == []
    made.delete(force=True)
    assert mounts_of(neighbour.pid, box.place) == before


def test_a_namespace_that_is_gone_has_nothing_left_to_unmount(box: Box) -> None:
    short = Neighbour()
    made = box.start(inherited(box.config(), path=short.path))
    short.end()
    made.kill("KILL")
    made.wait(PATIENCE)
    made.delete()
    assert box.left() == []


def test_another_directory_at_the_path_of_the_root_is_refused(box: Box) -> None:
    other = Neighbour(str(box.place), str(box.rootfs))
    try:
        before = mounts_of(other.pid, box.place)
        with pytest.raises(orlop.StepError, match="another directory in the mount namespace") as caught:
            box.create(inherited(box.config(), path=other.path))
        assert caught.value.pointer == "/root/path"
        assert mounts_of(other.pid, box.place) == before
    finally:
        other.end()


def test_nothing_is_mounted_over_the_root_of_the_machine(box: Box) -> None:
    with pytest.raises(orlop.StepError, match="nothing can be mounted over the root of a mount namespace"):
        box.create(inherited(box.config(root={"path": "/"})))
    assert box.left() == []


def test_what_somebody_mounted_over_the_root_is_not_taken_off(box: Box, neighbour: Neighbour) -> None:
    made = box.start(inherited(box.config(), path=neighbour.path))
    cover = ["mount", "-t", "tmpfs", "cover", str(box.rootfs)]
    enter = ["nsenter", f"--mount={neighbour.path}", "--"]
    subprocess.run([*enter, *cover], check=True)
    with pytest.raises(orlop.StepError, match="cannot unmount the container's root: device or resource busy"):
        made.delete(force=True)
    subprocess.run([*enter, "umount", str(box.rootfs)], check=True)
    made.delete(force=True)
    assert mounts_of(neighbour.pid, box.bundle) == []


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"id": "1", "path": "/x", "namespace": [1, 2]},
        {"id": 1, "path": "x", "namespace": [1, 2]},
        {"id": 1, "path": "/x", "namespace": [1]},
        {"id": True, "path": "/x", "namespace": [1, 2]},
    ],
)
def test_a_malformed_journal_entry_is_refused(box: Box, data: dict[str, Any]) -> None:
    made = box.create()
    with pytest.raises(orlop.StoreError, match="mount entry is malformed"):
        live_mounts.undo(made.record(), data)
