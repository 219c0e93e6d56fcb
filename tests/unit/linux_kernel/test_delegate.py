"""Which files of a cgroup go to the container's user, and who that is on the host."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from orlop_linux.kernel.cgroups import delegate


@pytest.fixture
def chowned(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []

    def chown(name: str, uid: int, gid: int, *, dir_fd: int, follow_symlinks: bool) -> None:
        assert (gid, follow_symlinks) == (-1, False)
        os.stat(name, dir_fd=dir_fd)
        found.append((name, uid))

    monkeypatch.setattr(os, "chown", chown)
    monkeypatch.setattr(os, "fchown", lambda _, uid, gid: found.append(("", uid)))
    return found


def give(place: Path, owner: int) -> None:
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        delegate.give(fd, owner)
    finally:
        os.close(fd)


def test_the_kernels_list_counts_and_what_is_missing_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chowned: list[tuple[str, int]]
) -> None:
    for name in ("cgroup.procs", "memory.oom.group", "memory.max"):
        (tmp_path / name).write_text("")
    (tmp_path / "list").write_text("cgroup.procs\nmemory.oom.group\nmissing\n../memory.max\n..\n")
    monkeypatch.setattr(delegate, "LIST", str(tmp_path / "list"))
    give(tmp_path, 1005)
    assert chowned == [("", 1005), ("cgroup.procs", 1005), ("memory.oom.group", 1005)]


def test_without_a_list_three_files_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chowned: list[tuple[str, int]]
) -> None:
    monkeypatch.setattr(delegate, "LIST", str(tmp_path / "missing"))
    for name in (*delegate.FALLBACK, "memory.max"):
        (tmp_path / name).write_text("")
    give(tmp_path, 7)
    assert chowned == [("", 7), *((name, 7) for name in delegate.FALLBACK)]


def test_ids_are_those_of_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = open

    def opened(path: Any, *rest: Any, **more: Any) -> Any:
        return real(tmp_path / "map" if path == "/proc/42/uid_map" else path, *rest, **more)

    monkeypatch.setattr("builtins.open", opened)
    (tmp_path / "map").write_text("0 1000 1\n1 100000 10\n")
    assert [delegate.host_id(42, number) for number in (0, 1, 10, 11)] == [1000, 100000, 100009, None]
