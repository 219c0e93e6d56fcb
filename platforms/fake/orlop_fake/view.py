"""The files of the machine in memory, for plugins that adjust a config (:mod:`orlop_hookspecs.host`)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from orlop_fake.refusals import refusal
from orlop_fake.vfs import Device, Directory, File
from orlop_hookspecs.host import READ_LIMIT, HostDevice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop_fake.machine import Machine
    from orlop_fake.vfs import Node


class FakeView:
    """What the runtime sees of a machine in memory."""

    def __init__(self, machine: Machine) -> None:
        """View *machine*."""
        self._machine = machine

    def _find(self, path: str) -> Node:
        with self._machine.lock:
            self._machine.check_alive()
            return self._machine.host_find(path).node

    def names(self, directory: str) -> Sequence[str]:
        """Return the names in *directory*, sorted; none when it does not exist."""
        try:
            node = self._find(directory)
        except FileNotFoundError:
            return ()
        if not isinstance(node, Directory):
            raise refusal(errno.ENOTDIR, directory)
        return sorted(node.names())

    def read(self, path: str) -> bytes:
        """Return the content of a regular file of at most a mebibyte."""
        node = self._find(path)
        if not isinstance(node, File):
            raise refusal(errno.EINVAL, path)
        content = node.read()
        if len(content) > READ_LIMIT:
            raise refusal(errno.EFBIG, path)
        return content

    def device(self, path: str) -> HostDevice:
        """Return the device node at *path*."""
        node = self._find(path)
        if not isinstance(node, Device):
            raise refusal(errno.ENODEV, path)
        return HostDevice(node.type, node.major, node.minor, node.mode, node.uid, node.gid)
