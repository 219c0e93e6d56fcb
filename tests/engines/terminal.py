"""A terminal for a client that insists on one."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
from collections.abc import Sequence
from typing import Self

PATIENCE = 240.0


class Session:
    """A command on a terminal of 33 rows and 77 columns.

    Args:
        command: The command; the terminal is its controlling one.
    """

    def __init__(self, command: Sequence[str]) -> None:
        """Start it."""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
        # setsid(1) makes the terminal the controlling one, as a login does.
        self._process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *command], stdin=slave, stdout=slave, stderr=slave
        )
        os.close(slave)
        self.shown = b""

    def until(self, wanted: bytes) -> None:
        """Read until *wanted* has been shown.

        Raises:
            AssertionError: The command is silent, or has ended.
        """
        while wanted not in self.shown:
            assert select.select([self._master], [], [], PATIENCE)[0], self.shown
            try:
                piece = os.read(self._master, 4096)
            except OSError:  # EIO: nobody has the terminal open any more
                piece = b""
            assert piece, self.shown
            self.shown += piece

    def type(self, text: bytes) -> None:
        """Type something."""
        os.write(self._master, text)

    def resize(self, rows: int, columns: int) -> None:
        """Change the size of the terminal; the kernel tells the command."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def end(self) -> int:
        """Wait for the command's end, and return its exit status."""
        return self._process.wait(PATIENCE)

    def __enter__(self) -> Self:
        """Return the session."""
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """End the command if it has not ended, and close the terminal."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(PATIENCE)
        os.close(self._master)
