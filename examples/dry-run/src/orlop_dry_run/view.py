"""The files of the real host, for plugins that adjust a config; a dry run reads, and never writes."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from orlop_hookspecs.host import READ_LIMIT, HostDevice

if TYPE_CHECKING:
    from collections.abc import Sequence

_LETTERS = {stat.S_IFCHR: "c", stat.S_IFBLK: "b", stat.S_IFIFO: "p"}


class RealView:
    """Implements :class:`orlop_hookspecs.host.HostView`."""

    @staticmethod
    def names(directory: str) -> Sequence[str]:
        """Return the names in *directory*, sorted; none when it does not exist."""
        try:
            return sorted(os.listdir(directory)) if directory.startswith("/") else ()
        except FileNotFoundError:
            return ()

    @staticmethod
    def read(path: str) -> bytes:
        """Return the content of a regular file of at most a mebibyte."""
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        if status.st_size > READ_LIMIT:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        with open(path, "rb") as file:
            return file.read(READ_LIMIT)

    @staticmethod
    def device(path: str) -> HostDevice:
        """Return the device node at *path*."""
        status = os.stat(path)
        letter = _LETTERS.get(stat.S_IFMT(status.st_mode))
        if letter is None:
            raise OSError(errno.ENODEV, "not a device", path)
        numbers = os.major(status.st_rdev), os.minor(status.st_rdev)
        return HostDevice(letter, *numbers, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
