"""The engine's end of the handshake with one container process: what comes out of it is verified here."""

from __future__ import annotations

import _socket as socket
import os
import select
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import StepError
from orlop_linux.init import protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PID_DIGITS = 10


class SilentEndError(Exception):
    """The other side has ended without a word."""


class Channel:
    """One connected socket of :mod:`orlop_linux.init.protocol`."""

    def __init__(self, container: str) -> None:
        """Make the socket pair; the other end is in :attr:`theirs` until it has been passed on."""
        self._container = container
        self._heard = False
        self.pidfd = -1
        """The process, once it is known: how it ended is told when it does."""
        self._ours, self.theirs = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC
        )

    def send(self, kind: bytes, payload: bytes = b"", fds: Sequence[int] = ()) -> None:
        """Send one message.

        Raises:
            OSError: The other side is gone, or a descriptor is not open.
        """
        protocol.send(self._ours, kind, payload, fds)

    def receive(self, seconds: float | None = None) -> tuple[bytes, bytes, list[int]]:
        """Return type, payload and descriptors of the next message; the caller closes the descriptors.

        Raises:
            SilentEndError: Nothing has come and nothing will come.
            StepError: Nothing comes within *seconds*, or the other side has ended.
        """
        poller = select.poll()
        poller.register(self._ours, select.POLLIN)
        if not poller.poll(None if seconds is None else max(0.0, seconds) * 1000):
            raise StepError("the container process does not answer", container=self._container)
        try:
            try:
                message = protocol.receive(self._ours)
            except ConnectionResetError:
                # It ended without reading all that it was sent (unix(7)); what it said is still there.
                message = protocol.receive(self._ours)
        except (protocol.EndOfChannel, ConnectionError):
            if not self._heard:
                raise SilentEndError from None
            raise StepError(
                f"the container process ended while it was being made{_last_words(self.pidfd)}",
                container=self._container,
                hint="a memory limit below what the runtime itself needs may be the reason",
            ) from None
        self._heard = True
        return message

    def serve(self, batches: Iterator[list[int]]) -> tuple[bytes, bytes, list[int]]:
        """Send the first trees, and more as often as they are asked for; return the first other answer.

        Raises:
            StepError: More is asked for than there is, or the other side has ended.
        """
        answer: tuple[bytes, bytes, list[int]] = (protocol.MORE, b"", [])
        first = True
        while answer == (protocol.MORE, b"", []):
            batch = next(batches, None)
            try:
                if batch:
                    self.send(protocol.TREES, b"", batch)
                elif not first:
                    raise self.refuse()
            except (BrokenPipeError, ConnectionResetError):
                pass  # the process has ended; what it said about it is read below
            first = False
            answer = self.receive()
        return answer

    def refuse(self, fds: Sequence[int] = ()) -> StepError:
        """Return the error for an answer that nothing can be made of, and close its descriptors."""
        for fd in fds:
            os.close(fd)
        return StepError(
            "the container process sent an answer that makes no sense", container=self._container
        )

    def process(self, payload: bytes, fds: Sequence[int]) -> tuple[int, int]:
        """Return pid and pidfd from a STAGE or PID message.

        Raises:
            StepError: They are not one process.
        """
        if len(fds) == 1 and len(payload) <= _PID_DIGITS and payload.isdigit():
            pid = int(payload)
            if pid > 0 and pid_of(fds[0]) == pid:
                return pid, fds[0]
        raise self.refuse(fds)

    def fileno(self) -> int:
        """Return the descriptor of our end."""
        return self._ours.fileno()

    def close(self) -> None:
        """Close both ends, as far as they are still here. Idempotent."""
        self._ours.close()
        self.theirs.close()


_LAST_MOMENT = 5000
"""Milliseconds that a process may take from closing its descriptors to its end."""


def _last_words(pidfd: int) -> str:
    """Return how a process ended, when a signal did it; its descriptors are closed before it has ended."""
    if pidfd < 0:
        return ""
    try:
        ended = select.poll()
        ended.register(pidfd, select.POLLIN)
        ended.poll(_LAST_MOMENT)
        info = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    except (OSError, OverflowError):
        return ""
    return "" if info is None or info.si_code == os.CLD_EXITED else f" (signal {info.si_status})"


def pid_of(fd: int) -> int:
    """Return the process that the pidfd *fd* stands for; 0 when it is none, or the process is gone."""
    with open(f"/proc/self/fdinfo/{fd}", "rb") as file:
        for line in file:
            if line.startswith(b"Pid:"):
                return max(0, int(line[4:]))
    return 0
