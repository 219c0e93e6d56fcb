"""A seccomp agent in a thread: it takes states and listeners, and decides calls (seccomp_unotify(2))."""

from __future__ import annotations

import array
import ctypes
import fcntl
import json
import os
import select
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

RECEIVE, SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV and _SEND
CONTINUE = 1
PATIENCE = 120.0


class Call(NamedTuple):
    """A notified system call."""

    number: int
    args: tuple[int, ...]
    pid: int


def let(_call: Call) -> int:
    """Let a call go on."""
    return 0


class Agent:
    """Listens at *path*; *decide* returns an errno, 0 to let the call go on, or ``None`` and it waits."""

    def __init__(self, path: Path, decide: Callable[[Call], int | None] = let) -> None:
        self.path = path
        self.decide = decide
        self.states: list[dict[str, Any]] = []
        self.calls: list[Call] = []
        self.faults: list[str] = []
        self._told = threading.Event()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen(8)
        self._wake, self._asleep = os.pipe()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.die()
        self.path.unlink()
        assert self.faults == []

    def first_state(self) -> dict[str, Any]:
        """Wait for the first state: it is read some time after the runtime has sent it and gone on."""
        assert self._told.wait(PATIENCE), "no state arrives"
        return self.states[0]

    def die(self) -> None:
        """Close everything, as the end of the process would. Idempotent."""
        if self._thread.is_alive():
            os.close(self._asleep)
            self._thread.join(PATIENCE)
            os.close(self._wake)
            self._socket.close()

    def _run(self) -> None:
        listeners: list[int] = []
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        poller.register(self._wake, 0)
        try:
            while True:
                # Whoever has connected before the end is still heard: the wake comes last.
                for fd, event in sorted(poller.poll(), key=lambda found: found[0] == self._wake):
                    if fd == self._wake:
                        return
                    if fd == self._socket.fileno():
                        listener = self._accept()
                        if listener >= 0:
                            listeners.append(listener)
                            poller.register(listener, select.POLLIN)
                    elif event & select.POLLIN:
                        self._answer(fd)
                    else:  # nobody is left who could call
                        poller.unregister(fd)
                        listeners.remove(fd)
                        os.close(fd)
        except Exception as error:  # noqa: BLE001 - told by the test's own thread
            self.faults.append(repr(error))
        finally:
            for listener in listeners:
                os.close(listener)

    def _accept(self) -> int:
        connection, _ = self._socket.accept()
        with connection:
            connection.settimeout(PATIENCE)
            text, fds = b"", array.array("i")
            while True:
                data, ancillary, _, _ = connection.recvmsg(1 << 16, socket.CMSG_LEN(4 * 8))
                for _, _, content in ancillary:
                    fds.frombytes(content)
                    if text:
                        self.faults.append("descriptors that do not come first")
                if not data:
                    break
                text += data
        self.states.append(json.loads(text))
        self._told.set()
        if len(fds) != 1 or os.readlink(f"/proc/self/fd/{fds[0]}") != "anon_inode:seccomp notify":
            self.faults.append(f"{len(fds)} descriptors")
            return -1
        return fds[0]

    def _answer(self, listener: int) -> None:
        request = ctypes.create_string_buffer(80)
        try:
            fcntl.ioctl(listener, RECEIVE, request)
        except OSError:
            return  # the caller has gone
        unique, pid, _, number, _, _ = struct.unpack_from("=QIIiIQ", request.raw)
        call = Call(number, struct.unpack_from("=6Q", request.raw, 32), pid)
        self.calls.append(call)
        error = self.decide(call)
        if error is None:
            return
        answer = struct.pack("=QqiI", unique, 0, -error, 0 if error else CONTINUE)
        try:
            fcntl.ioctl(listener, SEND, answer)
        except OSError:
            return
