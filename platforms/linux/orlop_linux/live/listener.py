"""The start of a container whose filter has a listener: from the container process to the seccomp agent.

The other side is :mod:`orlop_linux.init.listener`, where the exchange is told. What comes from there is
input: descriptors of another kind than expected are closed, and the container process is ended.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has only signal
import errno
import os
import select
import sys
import time

from orlop_hookspecs.errors import StepError
from orlop_linux.init import handover
from orlop_linux.live import agent
from orlop_linux.live.process import SIGKILL, has_ended, open_process, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from orlop_hookspecs.record import Record

_PATIENCE = 30.0
"""Seconds until a container process that has announced a listener is given up."""
_GLANCE = 20  # milliseconds between looks at the page, once the filter may keep the process from speaking
_ANSWER_LIMIT = 1 << 16
_FDS = 4


class Handover:
    """One start, as the command sees it."""

    def __init__(self, record: Record, state: bytes) -> None:
        """Begin; the agent has to be there before anything is done.

        Raises:
            StepError: It is not. The container still waits for its start.
        """
        path, metadata = _settings(record)
        agent.probe(path)
        self._record = record
        self._path = path
        self._text = _process_state(record, state, metadata)
        self._page = self._helper = -1
        self._delivered = False
        self._alone = False
        self._deadline = 0.0

    def attend(self, connection: int) -> bytes:
        """Follow the start until the program runs; return what the process says of a failure.

        Raises:
            StepError: The listener could not be delivered; the container process has been ended.
        """
        from _socket import socket

        sock = socket(fileno=connection)
        answer = b""
        try:
            while len(answer) < _ANSWER_LIMIT:
                over = False
                if self._wait(connection):
                    data, fds = _receive(sock)
                    answer += data if not fds else b""
                    over = not data
                    if fds:
                        self._take(sock, data, fds)
                if self._delivered and not answer:
                    answer = self._failure()
                    over = over or bool(answer)
                if over:
                    break
            if answer and self._delivered:
                self._kill()
            self._require(answer)
        except BaseException:
            self._kill()
            raise
        finally:
            sock.detach()
            for fd in (self._page, self._helper):
                if fd >= 0:
                    os.close(fd)
        return answer

    def _require(self, answer: bytes) -> None:
        if not (answer or self._delivered):
            raise StepError("the container process ended before its start", container=self._record.id)

    def _wait(self, connection: int) -> bool:
        """Wait for something to read; return whether there is."""
        poller = select.poll()
        poller.register(connection, select.POLLIN)
        if self._delivered:
            return bool(poller.poll(_GLANCE))
        if not self._deadline:
            return bool(poller.poll())  # hooks take the time that they take
        if not self._alone:
            poller.register(self._helper, select.POLLIN)
        ready = dict(poller.poll(max(0.0, self._deadline - time.monotonic()) * 1000))
        if connection in ready:
            return True
        if ready:
            # The helper has ended: either the filter was not loaded, which we shall be told, or all is lost.
            self._alone = True
            self._deadline = min(self._deadline, time.monotonic() + 1.0)
            return False
        raise StepError(
            "the container process does not send the listener of its filter",
            container=self._record.id,
            pointer=agent.POINTER,
            errno=errno.ETIMEDOUT,
        )

    def _take(self, sock: _socket.socket, data: bytes, fds: list[int]) -> None:
        if data == handover.ANNOUNCED and len(fds) == 2 and self._page < 0:
            self._page, self._helper = fds
            if _link(self._page).startswith("/memfd:") and _link(self._helper) in _PIDFD:
                self._deadline = time.monotonic() + _PATIENCE
                return
            fds = []
        elif data == handover.LISTENER and len(fds) == 1 and self._page >= 0 and not self._delivered:
            listener = fds[0]
            self._signal(_signal.SIGSTOP)
            try:
                if _link(listener) == "anon_inode:seccomp notify":
                    agent.deliver(self._path, self._text, (listener,))
                    self._delivered = True
            finally:
                os.close(listener)
            if self._delivered:
                sock.send(handover.DELIVERED)
                self._outlive_helper()
                os.pwrite(self._page, bytes((handover.YES,)), handover.VERDICT)
                self._signal(_signal.SIGCONT)
                return
            fds = []
        for fd in fds:
            os.close(fd)
        raise StepError("the container process sent an answer that makes no sense", container=self._record.id)

    def _outlive_helper(self) -> None:
        """Wait until the helper is gone: as a zombie it would be a child of the container's program."""
        deadline = time.monotonic() + 1.0
        if has_ended(self._helper, 1.0):
            while send(self._helper, 0) and time.monotonic() < deadline:
                os.sched_yield()

    def _failure(self) -> bytes:
        """Return what the container process has written about a failure."""
        text = os.pread(self._page, handover.SIZE, 0)
        if text[handover.FAILED : handover.FAILED + 1] != bytes((handover.YES,)):
            return b""
        return text[handover.FAILURE : handover.FAILURE + handover.FAILURE_SIZE]

    def _signal(self, number: int) -> None:
        """Stop the container process, or let it go on: it looks for the verdict without a pause, as it can.

        Where a security module forbids the signal it keeps looking.
        """
        pidfd = open_process(self._record.pid, self._record.start_time)
        if pidfd is not None:
            try:
                send(pidfd, number)
            except PermissionError:
                pass
            finally:
                os.close(pidfd)

    def _kill(self) -> None:
        """End the container process: its filter may keep it from ending itself."""
        pidfd = open_process(self._record.pid, self._record.start_time)
        if pidfd is not None:
            try:
                send(pidfd, SIGKILL)
                has_ended(pidfd, 10.0)
            finally:
                os.close(pidfd)


_PIDFD = frozenset(("anon_inode:[pidfd]", "pidfd:"))


def _link(fd: int) -> str:
    """Return what kind of thing a descriptor is; a pidfd has an inode of its own since Linux 6.9."""
    text = os.readlink(f"/proc/self/fd/{fd}")
    return "pidfd:" if text.startswith("pidfd:[") else text


def _receive(sock: _socket.socket) -> tuple[bytes, list[int]]:
    from _socket import CMSG_LEN, MSG_CMSG_CLOEXEC, SCM_RIGHTS, SOL_SOCKET

    data, ancillary, _, _ = sock.recvmsg(_ANSWER_LIMIT, CMSG_LEN(4 * _FDS), MSG_CMSG_CLOEXEC)
    fds: list[int] = []
    for level, kind, content in ancillary:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            fds += [
                int.from_bytes(content[i : i + 4], sys.byteorder) for i in range(0, len(content) // 4 * 4, 4)
            ]
    return data, fds


def _settings(record: Record) -> tuple[str, str | None]:
    """Return path and metadata of the agent; they were stored, so they are verified here."""
    stored = record.kernel.get("listener")
    if isinstance(stored, list) and len(stored) == 2:
        path, metadata = stored
        if isinstance(path, str) and path.startswith("/") and isinstance(metadata, str | None):
            return path, metadata
    raise StepError("the record of the container is damaged: listener", container=record.id)


def _process_state(record: Record, state: bytes, metadata: str | None) -> bytes:
    """Return the container process state as JSON (config-linux.md, The Container Process State)."""
    import json

    described = json.loads(state)
    document = {"ociVersion": described["ociVersion"], "fds": ["seccompFd"], "pid": record.pid}
    if metadata is not None:
        document["metadata"] = metadata
    return json.dumps(document | {"state": described}).encode()
