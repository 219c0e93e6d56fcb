"""tmpcopyup takes what is harmless of a hostile directory, keeps what it can keep, and ends."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
from tests.linux.init.forked import RefusedError, filesystem, furnish, in_child, open_fds

from orlop_linux.init import copyup, mounts

pytestmark = pytest.mark.usefixtures("unchanged_host")


def copied(rootfs: Path, *data: str, look: Any = None) -> Any:
    """Return what *look* says about a tmpfs over /data into which the image's /data was copied."""

    def run() -> Any:
        context = furnish(rootfs)
        before = open_fds()
        mounts.mount_filesystem(context, filesystem("/data", data=data, tmpcopyup=True), 0)
        assert open_fds() == before
        os.fchdir(context.root_fd)
        return look() if look else None

    return in_child(run)


@pytest.fixture
def data(rootfs: Path) -> Path:
    path = rootfs / "data"
    path.mkdir()
    return path


def test_files_directories_and_links(rootfs: Path, data: Path, host: Path) -> None:
    (data / "sub/deep").mkdir(parents=True)
    (data / "sub/file").write_text("text", encoding="utf-8")
    os.chown(data / "sub/file", 12, 34)
    (data / "sub/file").chmod(0o4751)
    os.utime(data / "sub/file", ns=(1, 2_000_000_003))
    (data / "link").symlink_to(host)
    os.chown(data / "link", 5, 6, follow_symlinks=False)
    (data / "sub/deep").chmod(0o1700)
    os.utime(data / "sub", ns=(1, 4_000_000_005))
    data.chmod(0o2750)
    os.chown(data, 7, 8)
    data.chmod(0o2750)

    def look() -> Any:
        entries = {}
        for name in (".", "sub", "sub/deep", "sub/file", "link"):
            info = os.lstat(f"data/{name}")
            entries[name] = [info.st_mode, info.st_uid, info.st_gid]
        times = [os.lstat(f"data/{name}").st_mtime_ns for name in ("sub", "sub/file")]
        return [entries, times, Path("data/sub/file").read_text(encoding="utf-8"), os.readlink("data/link")]

    entries, times, text, link = copied(rootfs, look=look)
    assert entries == {
        ".": [stat.S_IFDIR | 0o2750, 7, 8],
        "sub": [stat.S_IFDIR | 0o755, 0, 0],
        "sub/deep": [stat.S_IFDIR | 0o1700, 0, 0],
        "sub/file": [stat.S_IFREG | 0o4751, 12, 34],
        "link": [stat.S_IFLNK | 0o777, 5, 6],
    }
    assert times == [4_000_000_005, 2_000_000_003]
    assert (text, link) == ("text", str(host))


def test_options_count_more_than_the_directory(rootfs: Path, data: Path) -> None:
    data.chmod(0o700)

    def look() -> Any:
        info = os.stat("data")
        return [stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid]

    assert copied(rootfs, "mode=0711", "uid=3", look=look) == [0o711, 3, 0]


def test_special_files_neither_block_nor_come_along(rootfs: Path, data: Path) -> None:
    os.mkfifo(data / "fifo", 0o640)
    (data / "fifo").chmod(0o640)
    os.mknod(data / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(data / "socket"))

    def look() -> Any:
        return {name: os.lstat(f"data/{name}").st_mode for name in os.listdir("data")}

    assert copied(rootfs, look=look) == {"fifo": stat.S_IFIFO | 0o640}


def test_holes_stay_holes(rootfs: Path, data: Path) -> None:
    with (data / "sparse").open("wb") as file:
        file.truncate(1 << 40)
        file.seek(1 << 30)
        file.write(b"in the middle")

    def look() -> Any:
        info = os.stat("data/sparse")
        with Path("data/sparse").open("rb") as file:
            file.seek(1 << 30)
            return [info.st_size, info.st_blocks * 512 < 1 << 20, file.read(13).decode()]

    assert copied(rootfs, "size=1m", look=look) == [1 << 40, True, "in the middle"]


def test_what_does_not_fit_is_an_error(rootfs: Path, data: Path) -> None:
    (data / "big").write_bytes(b"x" * 200_000)
    with pytest.raises(RefusedError) as caught:
        copied(rootfs, "size=64k")
    assert caught.value.errno == errno.ENOSPC


def test_the_work_is_bounded(rootfs: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10):
        (data / str(number)).touch()
    monkeypatch.setattr(copyup, "ENTRIES_MAX", 9)
    with pytest.raises(RefusedError) as caught:
        copied(rootfs)
    assert caught.value.errno == errno.E2BIG
    monkeypatch.setattr(copyup, "ENTRIES_MAX", 10)
    assert len(copied(rootfs, look=lambda: os.listdir("data"))) == 10


def test_a_bottomless_tree_is_refused(rootfs: Path, data: Path) -> None:
    data.joinpath(*["d"] * copyup.DEPTH_MAX).mkdir(parents=True)
    with pytest.raises(RefusedError) as caught:
        copied(rootfs)
    assert caught.value.errno == errno.ENAMETOOLONG


def test_a_file_that_changes_under_the_copy_is_refused(
    rootfs: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "file").touch()
    (data / "other").touch()
    real = os.open

    def swap(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == "file" and flags & os.O_NONBLOCK:
            os.unlink("file", dir_fd=dir_fd)
            os.symlink("other", "file", dir_fd=dir_fd)
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", swap)
    with pytest.raises(RefusedError) as caught:
        copied(rootfs)
    assert caught.value.errno == errno.ELOOP
