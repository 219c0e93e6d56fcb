"""What a plugin may look at on the host while it adjusts a config: files of a vendor's driver, and devices.

A plan is the same wherever it is made, so planners see nothing of a machine. Adjusting comes before planning,
and there is hardware whose description only its machine has. It is read through a :class:`HostView`, which
the platform supplies: a test's machine shows its own files, and nothing else of the host can be reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from orlop_hookspecs.frozen import Frozen, frozen

READ_LIMIT = 1 << 20
"""Bytes of the largest file that is read."""


@frozen
class HostDevice(Frozen):
    """A device node of the host."""

    type: str
    """``c``, ``b`` or ``p``."""
    major: int = 0
    minor: int = 0
    mode: int = 0o666
    """Permission bits."""
    uid: int = 0
    gid: int = 0


class HostView(Protocol):
    """The host's files, read-only. Paths are absolute; symbolic links are followed."""

    def names(self, directory: str) -> Sequence[str]:
        """Return the names in *directory*, sorted; none when it does not exist.

        Raises:
            OSError: It cannot be read.
        """

    def read(self, path: str) -> bytes:
        """Return the content of the regular file at *path*.

        Raises:
            OSError: It is not there (ENOENT), no regular file (EINVAL) or larger than a mebibyte (EFBIG).
        """

    def device(self, path: str) -> HostDevice:
        """Return the device node at *path*.

        Raises:
            OSError: It is not there (ENOENT), or no device (ENODEV).
        """


class NoHost:
    """A view in which there is nothing: that of the hooks after ``orlop_adjust``."""

    def names(self, directory: str) -> Sequence[str]:  # noqa: ARG002 - the view's interface
        """Return no names."""
        return ()

    def read(self, path: str) -> bytes:
        """Refuse."""
        raise FileNotFoundError(_ENOENT, "no such file in this view of the host", path)

    def device(self, path: str) -> HostDevice:
        """Refuse."""
        raise FileNotFoundError(_ENOENT, "no such file in this view of the host", path)


_ENOENT = 2

NO_HOST = NoHost()
"""The one that is used where nobody looks."""
