"""The files of the host, for plugins that adjust a config (:mod:`orlop_hookspecs.host`)."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from orlop_hookspecs.host import READ_LIMIT, HostDevice

if TYPE_CHECKING:
    from collections.abc import Sequence

_LETTERS = {stat.S_IFCHR: "c", stat.S_IFBLK: "b", stat.S_IFIFO: "p"}


class LinuxView:
    """What the caller sees of the running system."""

    @staticmethod
    def names(directory: str) -> Sequence[str]:
        """Return the names in *directory*, sorted; none when it does not exist."""
        try:
            return sorted(os.listdir(_absolute(directory)))
        except FileNotFoundError:
            return ()

    @staticmethod
    def read(path: str) -> bytes:
        """Return the content of a regular file of at most a mebibyte."""
        # A FIFO that somebody has put there would be waited for, a terminal would become ours.
        descriptor = os.open(_absolute(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", path)
            content = b""
            while part := os.read(descriptor, READ_LIMIT + 1 - len(content)):
                content += part
        finally:
            os.close(descriptor)
        if len(content) > READ_LIMIT:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        return content

    @staticmethod
    def device(path: str) -> HostDevice:
        """Return the device node at *path*."""
        status = os.stat(_absolute(path))
        letter = _LETTERS.get(stat.S_IFMT(status.st_mode))
        if letter is None:
            raise OSError(errno.ENODEV, "not a device", path)
        major, minor = os.major(status.st_rdev), os.minor(status.st_rdev)
        return HostDevice(letter, major, minor, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)


def _absolute(path: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise OSError(errno.ENOENT, "not an absolute path", path)
    return path
