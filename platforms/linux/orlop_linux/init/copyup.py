"""The option ``tmpcopyup``: what the image has at a destination is copied into the new tmpfs.

The image is hostile: nothing is followed, nothing blocks, and the work is bounded by the number of entries
and by what fits into the tmpfs.
"""

from __future__ import annotations

import errno
import os
import stat

from orlop_linux.init import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

ENTRIES_MAX = 100_000
"""Entries that are copied; more is E2BIG."""
DEPTH_MAX = 128
"""Directories inside each other; each holds two descriptors while it is copied. More is ENAMETOOLONG."""

_CHUNK = 1 << 24
_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def copy_up(source: int, destination: int, data: Sequence[str] = ()) -> None:
    """Copy the directory *source* into the empty mount *destination*; both may be O_PATH.

    Modes, owners, times and symbolic links are kept, holes stay holes. Sockets and device nodes are left out.
    Options ``mode``, ``uid`` and ``gid`` in *data* count more than what the source directory has.

    Raises:
        OSError: E2BIG, ENAMETOOLONG: the source is too large or too deep; ENOSPC: it does not fit.
    """
    given = {option.partition("=")[0] for option in data}
    _Copy(given).run(source, destination)


class _Copy:
    """One copy in progress, with the number of entries that it may still make."""

    __slots__ = ("given", "left")

    def __init__(self, given: set[str]) -> None:
        self.given = given
        self.left = ENTRIES_MAX

    def run(self, source: int, destination: int) -> None:
        """Copy the whole tree, without recursion."""
        stack: list[tuple[int, int, list[str]]] = []
        try:
            self._enter(stack, source, destination, ".")
            while stack:
                from_fd, to_fd, names = stack[-1]
                if not names:
                    self._finish(from_fd, to_fd, top=len(stack) == 1)
                    stack.pop()
                    os.close(from_fd)
                    os.close(to_fd)
                    continue
                name = names.pop()
                if self._copy(from_fd, to_fd, name):
                    self._enter(stack, from_fd, to_fd, name)
        finally:
            for from_fd, to_fd, _ in stack:
                os.close(from_fd)
                os.close(to_fd)

    def _enter(self, stack: list[tuple[int, int, list[str]]], source: int, target: int, name: str) -> None:
        """Open a pair of directories and list the source."""
        if len(stack) >= DEPTH_MAX:
            raise OSError(errno.ENAMETOOLONG, "")
        from_fd = os.open(name, _DIRECTORY, dir_fd=source)
        try:
            names = self._list(from_fd)
            to_fd = os.open(name, _DIRECTORY, dir_fd=target)
        except OSError:
            os.close(from_fd)
            raise
        stack.append((from_fd, to_fd, names))

    def _list(self, directory: int) -> list[str]:
        names: list[str] = []
        with os.scandir(directory) as entries:
            for entry in entries:
                self.left -= 1
                if self.left < 0:
                    raise OSError(errno.E2BIG, "")
                names.append(entry.name)
        return names

    def _finish(self, from_fd: int, to_fd: int, *, top: bool) -> None:
        """Give a directory its properties when nothing more is made in it."""
        info = os.fstat(from_fd)
        given = self.given if top else set()
        os.fchown(to_fd, -1 if "uid" in given else info.st_uid, -1 if "gid" in given else info.st_gid)
        if "mode" not in given:
            os.fchmod(to_fd, stat.S_IMODE(info.st_mode))
        os.utime(to_fd, ns=(info.st_atime_ns, info.st_mtime_ns))

    def _copy(self, from_fd: int, to_fd: int, name: str) -> bool:
        """Copy one entry; return whether it is a directory, which is only made."""
        seen = os.open(name, _STEP, dir_fd=from_fd)
        try:
            info = os.fstat(seen)
            kind = stat.S_IFMT(info.st_mode)
            if kind == stat.S_IFDIR:
                os.mkdir(name, 0o700, dir_fd=to_fd)
                return True
            if kind == stat.S_IFREG:
                _copy_file(from_fd, to_fd, name, info)
            elif kind == stat.S_IFLNK:
                os.symlink(os.readlink("", dir_fd=seen), name, dir_fd=to_fd)
                _own(to_fd, name, info)
            elif kind == stat.S_IFIFO:
                os.mkfifo(name, 0o600, dir_fd=to_fd)
                _own(to_fd, name, info)
                os.chmod(name, stat.S_IMODE(info.st_mode), dir_fd=to_fd)
            return False
        finally:
            os.close(seen)


def _own(to_fd: int, name: str, info: os.stat_result) -> None:
    """Set owner and times of what must not be opened; nobody else can reach the new file system yet."""
    made = os.open(name, _STEP, dir_fd=to_fd)
    try:
        syscalls.fchownat(made, info.st_uid, info.st_gid)
    finally:
        os.close(made)
    os.utime(name, ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=to_fd, follow_symlinks=False)


def _copy_file(from_fd: int, to_fd: int, name: str, info: os.stat_result) -> None:
    source = os.open(name, _READ, dir_fd=from_fd)
    try:
        if not os.path.samestat(os.fstat(source), info):
            raise OSError(errno.EAGAIN, "")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        target = os.open(name, flags, 0o600, dir_fd=to_fd)
        try:
            _copy_data(source, target, info.st_size)
            os.fchown(target, info.st_uid, info.st_gid)
            os.fchmod(target, stat.S_IMODE(info.st_mode))
            os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))
        finally:
            os.close(target)
    finally:
        os.close(source)


def _copy_data(source: int, target: int, size: int) -> None:
    """Copy the first *size* bytes, data only; what lies between stays a hole."""
    os.ftruncate(target, size)
    offset = 0
    while offset < size:
        try:
            offset = os.lseek(source, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # nothing but a hole is left
            raise
        end = min(os.lseek(source, offset, os.SEEK_HOLE), size)
        os.lseek(target, offset, os.SEEK_SET)
        while offset < end:
            sent = os.sendfile(target, source, offset, min(end - offset, _CHUNK))
            if not sent:
                return  # it became shorter
            offset += sent
