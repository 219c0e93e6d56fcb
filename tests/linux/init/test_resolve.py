"""Paths of the image lead nowhere but into the image, whatever resolves them and whoever changes it."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import socket
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.linux.init.forked import errno_of

from orlop_linux.init import resolve

pytestmark = pytest.mark.usefixtures("unchanged_host")

_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


@pytest.fixture(params=["openat2", "walk"])
def resolver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Resolve by the kernel, or as on a kernel without openat2(2)."""
    name: str = request.param
    if name == "walk":
        monkeypatch.setattr(resolve, "_openat2", lambda *_: None)
    return name


@pytest.fixture
def root_fd(rootfs: Path) -> Iterator[int]:
    """Return a descriptor of the root."""
    fd = os.open(rootfs, os.O_PATH)
    yield fd
    os.close(fd)


def where(fd: int) -> str:
    """Return the path of *fd* and close it."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def closing(function: Callable[..., int], *args: Any) -> int:
    """Return the errno of a function that returns a descriptor; 0 if it succeeds."""

    def call() -> None:
        os.close(function(*args))

    return errno_of(call)


@pytest.mark.usefixtures("resolver")
class TestLinks:
    @pytest.mark.parametrize("target", ["/a/b", "a/b", "../../../a/b", "/../a/./b", "a//b/", "/a/../a/b/."])
    def test_a_link_is_resolved_inside_the_root(self, rootfs: Path, root_fd: int, target: str) -> None:
        (rootfs / "a/b").mkdir(parents=True)
        (rootfs / "link").symlink_to(target)
        for function in (resolve.open_in_root, resolve.make_directory, resolve.make_file):
            assert where(function(root_fd, "/link")) == f"{rootfs}/a/b"

    def test_a_link_to_the_host_leads_into_the_root(self, rootfs: Path, root_fd: int, host: Path) -> None:
        (rootfs / "link").symlink_to(host)
        (rootfs / "up").symlink_to("../" * 40 + str(host).lstrip("/"))
        for path in ("/link/secret", "/up/secret"):
            assert closing(resolve.open_in_root, root_fd, path) == errno.ENOENT
        assert where(resolve.make_directory(root_fd, "/link/new")) == f"{rootfs}{host}/new"
        assert where(resolve.make_file(root_fd, "/up/file")) == f"{rootfs}{host}/file"

    def test_a_dangling_link_is_made_inside_the_root(self, rootfs: Path, root_fd: int) -> None:
        (rootfs / "etc").mkdir()
        (rootfs / "etc/resolv.conf").symlink_to("../run/systemd/stub.conf")
        assert where(resolve.make_file(root_fd, "/etc/resolv.conf")) == f"{rootfs}/run/systemd/stub.conf"
        assert (rootfs / "run/systemd/stub.conf").is_file()
        assert (rootfs / "etc/resolv.conf").is_symlink()

    def test_a_dangling_link_that_goes_up_through_nothing_is_refused(
        self, rootfs: Path, root_fd: int
    ) -> None:
        (rootfs / "link").symlink_to("missing/../other")
        assert closing(resolve.make_directory, root_fd, "/link") == errno.ENOENT
        assert os.listdir(rootfs) == ["link"]

    def test_a_loop_ends(self, rootfs: Path, root_fd: int) -> None:
        (rootfs / "a").symlink_to("b")
        (rootfs / "b").symlink_to("a")
        for function in (resolve.open_in_root, resolve.make_directory, resolve.make_file):
            assert closing(function, root_fd, "/a/x") == errno.ELOOP

    @pytest.mark.parametrize(("links", "expected"), [(40, 0), (41, errno.ELOOP), (300, errno.ELOOP)])
    def test_forty_links_are_followed(self, rootfs: Path, root_fd: int, links: int, expected: int) -> None:
        (rootfs / "0").mkdir()
        for number in range(1, links + 1):
            (rootfs / str(number)).symlink_to(str(number - 1))
        assert closing(resolve.open_in_root, root_fd, f"/{links}") == expected

    @pytest.mark.parametrize(
        "path", ["self/root", "self/cwd", "self/exe", "self/fd/0", "self/root/etc", "self/ns/mnt"]
    )
    def test_magic_links_are_refused(self, path: str) -> None:
        fd = os.open("/proc", os.O_PATH)
        try:
            assert closing(resolve.open_in_root, fd, path) == errno.ELOOP
            assert closing(resolve.open_in_root, fd, "net/dev") == 0
        finally:
            os.close(fd)


@pytest.mark.usefixtures("resolver")
class TestPaths:
    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            ("", errno.ENOENT),
            ("a\0b", errno.EINVAL),
            ("\ud800", errno.EINVAL),
            ("/" + "x" * 255, 0),
            ("/" + "x" * 256, errno.ENAMETOOLONG),
            ("/." * 2047 + "/", 0),
            ("/." * 2048, errno.ENAMETOOLONG),
            ("x" * 100_000, errno.ENAMETOOLONG),
            ("/.." * 1300 + "/a", 0),
            ("/a" * 1000, 0),
            ("/a\nb", 0),
            ("//a///b//", 0),
            ("/\udcff\udcfe", 0),
        ],
    )
    def test_odd_paths(self, rootfs: Path, root_fd: int, path: str, expected: int) -> None:
        try:
            assert closing(resolve.make_directory, root_fd, path) == expected
        finally:
            # Python before 3.13 cannot remove a tree as deep as that.
            subprocess.run(["rm", "--recursive", "--force", rootfs / "a"], check=True)

    def test_bytes_that_are_no_text_are_kept(self, rootfs: Path, root_fd: int) -> None:
        os.close(resolve.make_directory(root_fd, "/\udcff"))
        assert os.listdir(os.fsencode(rootfs)) == [b"\xff"]

    def test_a_file_is_no_directory(self, rootfs: Path, root_fd: int) -> None:
        (rootfs / "file").touch()
        for path in ("/file/", "/file/.", "/file/..", "/file/x"):
            assert closing(resolve.open_in_root, root_fd, path) == errno.ENOTDIR
            assert closing(resolve.make_directory, root_fd, path) == errno.ENOTDIR
        assert closing(resolve.make_directory, root_fd, "/file") == errno.ENOTDIR
        assert where(resolve.make_file(root_fd, "/file")) == f"{rootfs}/file"

    def test_modes(self, rootfs: Path, root_fd: int) -> None:
        before = os.umask(0)
        try:
            os.close(resolve.make_directory(root_fd, "/a/b", 0o700))
            os.close(resolve.make_file(root_fd, "/c/d"))
        finally:
            os.umask(before)
        found = {name: stat.S_IMODE((rootfs / name).stat().st_mode) for name in ("a", "a/b", "c", "c/d")}
        assert found == {"a": 0o755, "a/b": 0o700, "c": 0o755, "c/d": 0o644}

    def test_nothing_blocks(self, rootfs: Path, root_fd: int) -> None:
        os.mkfifo(rootfs / "fifo")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(rootfs / "socket"))
        signal.alarm(10)
        try:
            for name in ("fifo", "socket"):
                assert where(resolve.make_file(root_fd, f"/{name}")) == f"{rootfs}/{name}"
                assert closing(resolve.make_directory, root_fd, f"/{name}") == errno.ENOTDIR
            os.close(resolve.open_in_root(root_fd, "/fifo", os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW))
        finally:
            signal.alarm(0)

    def test_opening_for_use(self, rootfs: Path, root_fd: int) -> None:
        (rootfs / "file").write_text("text", encoding="utf-8")
        (rootfs / "link").symlink_to("/file")
        fd = resolve.open_in_root(root_fd, "/link", os.O_RDONLY)
        with os.fdopen(fd) as file:
            assert file.read() == "text"

    def test_the_parent_and_the_name(self, rootfs: Path, root_fd: int) -> None:
        (rootfs / "dev").symlink_to("/other/place")
        (rootfs / "other").mkdir()
        parent, name = resolve.split_parent(root_fd, "/dev/null/")
        assert (where(parent), name) == (f"{rootfs}/other/place", "null")
        parent, name = resolve.split_parent(root_fd, "/top")
        assert (where(parent), name) == (str(rootfs), "top")
        for path in ("/", "", "/a/..", "/a/."):
            assert errno_of(resolve.split_parent, root_fd, path) == errno.EINVAL


@pytest.mark.usefixtures("resolver")
class TestRealDirectory:
    def test_it_is_made(self, rootfs: Path, root_fd: int) -> None:
        assert where(resolve.real_directory(root_fd, "/proc")) == f"{rootfs}/proc"
        assert where(resolve.real_directory(root_fd, "/a/b/proc")) == f"{rootfs}/a/b/proc"
        assert where(resolve.real_directory(root_fd, "/proc")) == f"{rootfs}/proc"

    @pytest.mark.parametrize(
        "target", ["/tmp/p", "tmp/p", "/missing", "chain", "../../../../tmp/p", "/proc", "."]
    )
    def test_a_link_is_refused(self, rootfs: Path, root_fd: int, target: str) -> None:
        (rootfs / "tmp/p").mkdir(parents=True)
        (rootfs / "chain").symlink_to("/tmp/p")
        (rootfs / "proc").symlink_to(target)
        assert closing(resolve.real_directory, root_fd, "/proc") == errno.ELOOP
        assert not (rootfs / "missing").exists()

    def test_a_link_in_the_middle_is_refused(self, rootfs: Path, root_fd: int) -> None:
        (rootfs / "real/proc").mkdir(parents=True)
        (rootfs / "link").symlink_to("real")
        assert closing(resolve.real_directory, root_fd, "/link/proc") == errno.ELOOP
        assert closing(resolve.real_directory, root_fd, "/link/new") == errno.ELOOP
        assert os.listdir(rootfs / "real") == ["proc"]

    def test_another_kind_is_refused(self, rootfs: Path, root_fd: int) -> None:
        (rootfs / "sys").touch()
        os.mkfifo(rootfs / "proc")
        assert closing(resolve.real_directory, root_fd, "/sys") == errno.ENOTDIR
        assert closing(resolve.real_directory, root_fd, "/proc") == errno.ENOTDIR


_NAMES = ("a", "b", "c")
_PARTS = st.sampled_from((*_NAMES, *_NAMES, "..", ".", ""))
_PATHS = st.lists(_PARTS, min_size=1, max_size=6).map("/".join)
_ENTRIES = st.lists(
    st.tuples(
        st.lists(st.sampled_from(_NAMES), min_size=1, max_size=3).map("/".join),
        st.sampled_from(("directory", "file", "link", "link")),
        st.tuples(st.booleans(), _PATHS).map(lambda pair: "/" * pair[0] + pair[1]),
    ),
    max_size=8,
)


def _outcome(function: Callable[..., int], *args: Any) -> tuple[str, int]:
    try:
        fd = function(*args)
    except OSError as error:
        return "errno", error.errno or 0
    try:
        return "inode", os.fstat(fd).st_ino
    finally:
        os.close(fd)


@settings(max_examples=150)
@given(entries=_ENTRIES, path=_PATHS)
def test_our_walk_agrees_with_the_kernel(entries: list[tuple[str, str, str]], path: str) -> None:
    with tempfile.TemporaryDirectory() as top:
        for place, kind, target in entries:
            try:
                if kind == "directory":
                    os.makedirs(f"{top}/{place}")
                elif kind == "file":
                    os.close(os.open(f"{top}/{place}", os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW))
                elif target:
                    os.symlink(target, f"{top}/{place}")
            except OSError:
                continue  # what is there already stays
        root = os.open(top, os.O_PATH)
        try:
            for flags in (os.O_PATH, os.O_PATH | os.O_DIRECTORY):
                kernel = _outcome(resolve.open_in_root, root, "/" + path, flags)
                assert kernel == _outcome(resolve.walk, root, b"/" + path.encode(), flags)
        finally:
            os.close(root)


class TestRaces:
    @pytest.fixture
    def racer(self, rootfs: Path, host: Path) -> Iterator[Path]:
        """Yield a directory that another process exchanges with a link to the host all the time."""
        (rootfs / "real").mkdir()
        (rootfs / "evil").symlink_to("../" * 40 + str(host).lstrip("/"))
        rename = ctypes.CDLL(None, use_errno=True).renameat2
        one, other = os.fsencode(rootfs / "real"), os.fsencode(rootfs / "evil")
        pid = os.fork()
        if pid == 0:
            while os.getppid() != 1:
                rename(_AT_FDCWD, one, _AT_FDCWD, other, _RENAME_EXCHANGE)
        yield rootfs / "real"
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    @pytest.mark.usefixtures("racer")
    def test_a_swapped_directory_never_leads_to_the_host(
        self, rootfs: Path, root_fd: int, resolver: str
    ) -> None:
        del resolver
        for number in range(300):
            for path, function in (
                (f"/real/{number}/x/y", resolve.make_directory),
                (f"/real/{number}.file", resolve.make_file),
                (f"/evil/../real/{number}", resolve.make_directory),
            ):
                try:
                    found = where(function(root_fd, path))
                except OSError as error:
                    assert error.errno in (errno.ENOENT, errno.ENOTDIR)  # noqa: PT017 - success is possible, too
                else:
                    assert found.startswith(f"{rootfs}/")

    def test_a_directory_that_is_moved_away_has_no_way_up(
        self, rootfs: Path, root_fd: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (rootfs / "a/b").mkdir(parents=True)
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside/found").touch()
        real_open = os.open

        def open_and_move(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            fd = real_open(path, flags, mode, dir_fd=dir_fd)
            if path == b"b":
                os.rename(rootfs / "a/b", tmp_path / "outside/b")
            return fd

        monkeypatch.setattr(os, "open", open_and_move)
        with pytest.raises(FileNotFoundError):
            resolve.walk(root_fd, b"/a/b/../found")

    def test_a_busy_kernel_is_not_asked_for_ever(
        self, rootfs: Path, root_fd: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls = []

        def again(*args: object) -> int:
            calls.append(args)
            raise OSError(errno.EAGAIN, "")

        monkeypatch.setattr("orlop_linux.init.syscalls.openat2", again)
        assert where(resolve.make_directory(root_fd, "/a/b")) == f"{rootfs}/a/b"
        assert 0 < len(calls) < 100
