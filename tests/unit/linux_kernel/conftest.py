"""A model of cgroupfs on plain directories: enough for code that makes, fills and removes cgroups."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from orlop_hookspecs.record import Record
from orlop_linux.kernel.cgroups import create
from orlop_linux.live import removal

if TYPE_CHECKING:
    from pathlib import Path

V1_FILES = ("cgroup.procs", "tasks", "cpuset.cpus", "cpuset.mems", "freezer.state")
V2_FILES = ("cgroup.procs", "cgroup.controllers", "cgroup.subtree_control", "cgroup.freeze", "cgroup.kill")


class Host:
    """A host with hierarchies below one directory, and the files of /proc/self that describe them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.proc = root / "proc"
        self.proc.mkdir()
        self._mountinfo: list[str] = []
        self._membership: list[str] = []
        self.number = 0

    def mount(self, name: str, controllers: str = "", own: str = "/", inside: str = "/") -> Path:
        """Mount a v1 hierarchy (*controllers* like ``cpu,cpuacct``) or, without any, the unified one."""
        place = self.root / name
        place.mkdir()
        device = place.stat().st_dev
        kind = f"cgroup cgroup rw,{controllers}" if controllers else "cgroup2 cgroup2 rw,nsdelegate"
        self.number += 1
        escaped = str(place).replace(" ", "\\040")
        numbers = f"{self.number} 1 {os.major(device)}:{os.minor(device)}"
        self._mountinfo.append(f"{numbers} {inside} {escaped} rw,nosuid shared:9 - {kind}")
        self._membership.append(f"{self.number if controllers else 0}:{controllers}:{own}")
        self.write()
        fill(place, unified=not controllers)
        return place

    def write(self) -> None:
        others = ["22 1 0:21 / /proc rw - proc proc rw", "23 1 0:22 / /cgroup - cgroup rw - tmpfs none rw"]
        (self.proc / "mountinfo").write_text("\n".join([*others, *self._mountinfo]) + "\n")
        (self.proc / "cgroup").write_text("\n".join(self._membership) + "\n")


def fill(directory: Path, *, unified: bool) -> None:
    """Write the files of a new cgroup."""
    for name in V2_FILES if unified else V1_FILES:
        (directory / name).write_text("")
    if unified:
        parent = directory.parent / "cgroup.subtree_control"
        given = parent.read_text().replace("+", "") if parent.exists() else "cpu memory pids"
        (directory / "cgroup.controllers").write_text(given)


class Entries(list[tuple[str, dict[str, Any]]]):
    """A journal in memory."""

    def intend(self, undo: str, **data: Any) -> None:
        self.append((undo, data))


@pytest.fixture
def journal() -> Entries:
    return Entries()


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(id="web", phase="creating", creator=[0, 0], directory=str(tmp_path))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Return a host whose directories behave like cgroups when they are made and removed."""

    def make(name: str, mode: int, *, dir_fd: int) -> None:
        os.mkdir(name, mode, dir_fd=dir_fd)
        place = tmp_path / os.readlink(f"/proc/self/fd/{dir_fd}") / name
        fill(place, unified=(place.parent / "cgroup.controllers").exists())

    def remove(name: str, *, dir_fd: int) -> None:
        here = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=dir_fd)
        try:
            files = os.listdir(here)
            if any(os.path.isdir(f"/proc/self/fd/{here}/{file}") for file in files):
                raise OSError(16, "Device or resource busy")
            for file in files:
                os.unlink(file, dir_fd=here)
        finally:
            os.close(here)
        os.rmdir(name, dir_fd=dir_fd)

    monkeypatch.setattr(create, "make_directory", make)
    monkeypatch.setattr(removal, "remove_directory", remove)
    return Host(tmp_path)
