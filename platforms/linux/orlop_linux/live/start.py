"""``start``: tell the waiting container process to execute its program, and learn whether it did."""

from __future__ import annotations

import os

from orlop_hookspecs.errors import StateError, StepError
from orlop_linux.live.failures import Outline, error_of
from orlop_linux.live.process import await_program, is_alive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop_hookspecs.record import Record

SOCKET_NAME = "start.sock"
_ANSWER_LIMIT = 1 << 16


def _connect(record: Record) -> int:
    """Return a connected descriptor; the address goes through the directory's, it may be too long itself."""
    from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM, socket

    directory = os.open(record.directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
        try:
            sock.connect(f"/proc/self/fd/{directory}/{SOCKET_NAME}")
            return sock.detach()
        finally:
            sock.close()
    finally:
        os.close(directory)


def _listen(fd: int) -> bytes:
    """Return what the process says of a failure; nothing when its program runs."""
    answer = b""
    while len(answer) < _ANSWER_LIMIT:
        chunk = os.read(fd, _ANSWER_LIMIT)
        if not chunk:
            break
        answer += chunk
    return answer


def start(record: Record, state: bytes) -> None:
    """Let the container process execute its phase ``exec``; return when its program runs.

    Raises:
        StateError: Nobody waits for a start any more.
        StepError: The seccomp agent is not there; the container process still waits.
        StepError, HookError: A step failed; the container process has ended.
    """
    attend: Callable[[int], bytes] = _listen
    if "listener" in record.kernel:
        from orlop_linux.live.listener import Handover

        attend = Handover(record, state).attend
    try:
        fd = _connect(record)
    except (FileNotFoundError, ConnectionRefusedError):
        raise StateError(
            "the container process does not wait for its start any more", container=record.id
        ) from None
    try:
        os.write(fd, b"s")
        answer = attend(fd)
    except (BrokenPipeError, ConnectionResetError):
        # Nobody will ever accept this connection. If another start was served first, one that was killed
        # since, its program may run by now.
        if is_alive(record.pid, record.start_time):
            raise StateError(
                "cannot start an already running container",
                act="start",
                container=record.id,
                hint="a start that was interrupted has started it",
            ) from None
        raise StepError("the container process ended before its start", container=record.id) from None
    finally:
        os.close(fd)
    if answer:
        outlines = [Outline.from_data(one) for one in record.kernel.get("exec", [])]
        raise error_of(answer, {"exec": outlines}, record.id)
    await_program(record.pid, record.start_time)
