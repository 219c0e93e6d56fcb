"""The engine's end of the zygote: started once, on first use, and replaced when it has died."""

from __future__ import annotations

import _socket as socket
import errno
import os
from _thread import allocate_lock
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import PlatformError
from orlop_linux.init import jsontext, protocol
from orlop_linux.live import warm

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


class Zygote:
    """A handle of the process that container children are cloned from; safe to use from several threads."""

    def __init__(self) -> None:
        """Begin; the process is started by the first request."""
        self._lock = allocate_lock()
        self._control: socket.socket | None = None
        self._pid = 0

    def request(self, request: dict[str, Any], fds: Sequence[int]) -> None:
        """Send a SPAWN request; the answer comes on the channel that is the first of *fds*.

        Raises:
            PlatformError: The zygote cannot be started.
        """
        payload = jsontext.dumps(request).encode()
        with self._lock:
            for attempt in (0, 1):
                control = self._control or self._start()
                try:
                    protocol.send(control, protocol.SPAWN, payload, fds)
                except OSError as error:
                    self._stop()
                    if attempt or error.errno not in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
                        raise PlatformError(
                            "the zygote does not take requests", errno=error.errno, act="create"
                        ) from error
                else:
                    return

    def start(self) -> int:
        """Start the process if it does not run, and return its process id.

        Raises:
            OSError: It cannot be started.
        """
        with self._lock:
            if self._control is None:
                self._start()
            return self._pid

    def dismiss(self) -> None:
        """Let the process end, without waiting: nothing more will be asked. Then comes :meth:`close`."""
        with self._lock:
            if self._control is not None:
                self._control.close()
                self._control = None

    def close(self) -> None:
        """End the process; containers live on. Idempotent."""
        with self._lock:
            self._stop()

    def _start(self) -> socket.socket:
        fd, self._pid = warm.take()
        self._control = socket.socket(fileno=fd)
        return self._control

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._pid:
            try:
                os.waitpid(self._pid, 0)
            except ChildProcessError:
                pass  # the program that embeds us reaps all its children
            self._pid = 0
