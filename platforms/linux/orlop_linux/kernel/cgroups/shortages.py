"""Being told when the kernel kills for lack of memory (cgroup-v1/memory.rst, cgroup-v2.rst)."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

from orlop_linux.live.cgroups import READ, WRITE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orlop_linux.live.cgroups import Group

_SIZE = 4096
_KILLS = b"oom_kill"


class Shortages:
    """What has happened in one cgroup since it was asked last; to be polled for."""

    def __init__(self, descriptor: int, events: int, file: int, *, counts: bool) -> None:
        """Take over the descriptors.

        Args:
            descriptor: What is polled for.
            events: For which of poll(2)'s events.
            file: The file of the cgroup that says how often.
            counts: How often is in the file; otherwise *descriptor* is an eventfd(2).
        """
        self.descriptor = descriptor
        self.events = events
        self._file = file
        self._counts = counts
        self._seen = self._total() if counts else 0

    def news(self) -> int | None:
        """Return how often it has happened since the last call; ``None`` when the cgroup is gone."""
        try:
            total = self._total()
        except OSError:
            return None
        if not self._counts:
            try:
                return os.eventfd_read(self.descriptor)
            except BlockingIOError:
                return 0
        new, self._seen = total - self._seen, total
        return new

    def _total(self) -> int:
        lines = os.pread(self._file, _SIZE, 0).splitlines()
        return sum(int(line.split()[1]) for line in lines if line.split()[:1] == [_KILLS])

    def close(self) -> None:
        """Ask no more."""
        os.close(self._file)
        if self._file != self.descriptor:
            os.close(self.descriptor)


def shortages_in(groups: Iterable[Group]) -> Shortages | None:
    """Return what tells of kills in the container's cgroups; ``None`` where none of them counts memory."""
    for group in groups:
        try:
            directory = group.open()
        except FileNotFoundError:
            continue
        try:
            if group.version == 2:
                file = os.open("memory.events", READ, dir_fd=directory)
                # A file of the kernel's that has changed has something urgent to read.
                return Shortages(file, select.POLLPRI, file, counts=True)
            if "memory" in group.controllers:
                return _registered(directory)
        except FileNotFoundError:
            continue  # the unified hierarchy of a hybrid host has no controller of memory
        finally:
            os.close(directory)
    return None


def _registered(directory: int) -> Shortages:
    file = os.open("memory.oom_control", READ, dir_fd=directory)
    event = -1
    try:
        event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        control = os.open("cgroup.event_control", WRITE, dir_fd=directory)
        try:
            os.write(control, b"%d %d" % (event, file))
        finally:
            os.close(control)
    except BaseException:
        os.close(file)
        if event >= 0:
            os.close(event)
        raise
    return Shortages(event, select.POLLIN, file, counts=False)
