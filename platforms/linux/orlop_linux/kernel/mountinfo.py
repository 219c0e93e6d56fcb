"""The mounts that a process sees: /proc/PID/mountinfo, proc_pid_mountinfo(5)."""

from __future__ import annotations

import os
import re

_ESCAPED = re.compile(rb"\\([0-7]{3})")


class Mount:
    """One line of mountinfo."""

    __slots__ = ("device", "number", "options", "point", "root", "type")

    def __init__(self, line: bytes) -> None:
        """Read the line."""
        words = line.split(b" ")
        self.number = int(words[0])
        self.device = words[2].decode()
        """``major:minor`` of its file system."""
        self.root = _text(words[3])
        """Which directory of its file system is mounted."""
        self.point = _text(words[4])
        self.options = frozenset(words[5].decode().split(","))
        """Attributes of the mount itself, such as ``ro``."""
        self.type = words[words.index(b"-") + 1].decode(errors="replace")


def read_mounts(pid: int | str) -> list[Mount]:
    """Return what process *pid* sees, in the order of mounting."""
    with open(f"/proc/{pid}/mountinfo", "rb") as file:
        return [Mount(line) for line in file]


def _text(word: bytes) -> str:
    return os.fsdecode(_ESCAPED.sub(lambda found: bytes((int(found[1], 8),)), word))
