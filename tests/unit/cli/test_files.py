"""The pid file: whole or not at all, and never in place of something else."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from orlop.cli.files import PidFile
from orlop_hookspecs.errors import UsageError


def write(path: str, pid: int = 4711) -> None:
    place = PidFile(path)
    try:
        place.write(pid)
    finally:
        place.close()


def test_only_digits(tmp_path: Path) -> None:
    write(f"{tmp_path}/pid")
    assert (tmp_path / "pid").read_bytes() == b"4711"
    assert os.listdir(tmp_path) == ["pid"]


def test_replaces_an_old_one(tmp_path: Path) -> None:
    (tmp_path / "pid").write_text("1234567890")
    write(f"{tmp_path}/pid")
    assert (tmp_path / "pid").read_bytes() == b"4711"


def test_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("pid")
    assert (tmp_path / "pid").read_bytes() == b"4711"


def test_relative_to_the_directory_at_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    place = PidFile("pid")
    monkeypatch.chdir(tmp_path / "elsewhere")
    place.write(1)
    place.close()
    assert (tmp_path / "pid").read_bytes() == b"1"


def test_umask_counts(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(f"{tmp_path}/pid")
    finally:
        os.umask(before)
    assert (tmp_path / "pid").stat().st_mode & 0o777 == 0o640


def test_longest_name_and_deep_path(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d" * 200] * 5)
    deep.mkdir(parents=True)
    name = "p" * 255
    write(f"{deep}/{name}")
    assert (deep / name).read_bytes() == b"4711"


def test_what_is_no_regular_file_stays(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "link").symlink_to(victim)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "directory").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    before = sorted(os.listdir(tmp_path))
    for name in ("link", "dangling", "fifo", "directory", "socket"):
        mode = (tmp_path / name).lstat().st_mode
        with pytest.raises(UsageError, match="not a regular file"):
            PidFile(f"{tmp_path}/{name}")
        assert (tmp_path / name).lstat().st_mode == mode
    with pytest.raises(UsageError, match="not a regular file"):
        PidFile("/dev/null")
    assert victim.read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("name", ["", "missing/pid", "file/pid", ".", "..", "directory/", "p" * 256, "nul\0"])
def test_places_that_cannot_hold_one(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "directory").mkdir()
    with pytest.raises(UsageError, match="pid file"):
        PidFile(name)
    assert sorted(os.listdir(tmp_path)) == ["directory", "file"]


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    place = PidFile(f"{tmp_path}/pid")
    (tmp_path / "pid").mkdir()  # since it was looked at
    (tmp_path / "pid" / "x").mkdir()
    with pytest.raises(UsageError, match="cannot write the pid file"):
        place.write(1)
    place.close()
    assert os.listdir(tmp_path) == ["pid"]
