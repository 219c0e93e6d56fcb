"""The seccomp agent at ``listenerPath``: whether somebody is there, and what it is sent (config-linux.md)."""

from __future__ import annotations

import errno
import os
import sys
import time

from orlop_hookspecs.errors import StepError
from orlop_linux.live.process import reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

POINTER = "/linux/seccomp/listenerPath"
_PATIENCE = 10
"""Seconds until an agent that takes nothing is given up."""
_LONG = 8 if sys.maxsize > 1 << 32 else 4  # struct timeval is two of them


def refuse(path: str, message: str, number: int, hint: str = "") -> StepError:
    """Return the error about an agent."""
    return StepError(
        f"seccomp agent: {message}", pointer=POINTER, plugin="seccomp", path=path, errno=number, hint=hint
    )


def probe(path: str) -> None:
    """Make sure that a stream socket listens at *path*, without connecting to it.

    An agent gets exactly one state per connection, so there is none to try with. The kernel looks for the
    socket and compares the type before it does anything else (unix(7), EPROTOTYPE).

    Raises:
        StepError: There is no socket, nobody has it open, or it is of another type.
    """
    from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_SEQPACKET

    for kind in (SOCK_DGRAM, SOCK_SEQPACKET):
        try:
            _connect(path, AF_UNIX, kind | SOCK_CLOEXEC).close()
        except OSError as error:
            if error.errno != errno.EPROTOTYPE:
                raise _absent(path, error) from error
        else:
            raise refuse(path, "the socket is not of type SOCK_STREAM", errno.EPROTOTYPE)


def deliver(path: str, text: bytes, fds: tuple[int, ...]) -> None:
    """Send one container process state with its descriptors over a connection of its own.

    Raises:
        StepError: The agent is gone, or does not take it in time.
    """
    from _socket import (
        AF_UNIX,
        MSG_NOSIGNAL,
        SCM_RIGHTS,
        SO_SNDTIMEO,
        SOCK_CLOEXEC,
        SOCK_STREAM,
        SOL_SOCKET,
    )

    order = sys.byteorder
    limit = _PATIENCE.to_bytes(_LONG, order) + bytes(_LONG)
    deadline = time.monotonic() + _PATIENCE
    try:
        # The limit is one for connect(2), too; a timeout of Python's would make that one fail at once.
        sock = _connect(path, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, (SOL_SOCKET, SO_SNDTIMEO, limit))
    except OSError as error:
        raise _absent(path, error) from error
    try:
        rights = b"".join(fd.to_bytes(4, order) for fd in fds)
        sent = sock.sendmsg([text], [(SOL_SOCKET, SCM_RIGHTS, rights)], MSG_NOSIGNAL)
        while sent < len(text) and time.monotonic() < deadline:
            sent += sock.send(text[sent:], MSG_NOSIGNAL)
    except OSError as error:
        if error.errno == errno.EAGAIN:
            raise _slow(path) from error
        raise refuse(path, f"cannot send the state: {reason(error)}", error.errno or 0) from error
    finally:
        sock.close()
    if sent < len(text):
        raise _slow(path)


def _connect(
    path: str, family: int, kind: int, option: tuple[int, int, bytes] | None = None
) -> _socket.socket:
    """Return a connected socket; the address goes through a descriptor, it may be too long itself."""
    from _socket import socket

    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        sock = socket(family, kind)
        try:
            if option is not None:
                sock.setsockopt(*option)
            sock.connect(f"/proc/self/fd/{fd}")
        except BaseException:
            sock.close()
            raise
    finally:
        os.close(fd)
    return sock


def _slow(path: str) -> StepError:
    return refuse(path, f"it does not take the state within {_PATIENCE} seconds", errno.ETIMEDOUT)


def _absent(path: str, error: OSError) -> StepError:
    number = error.errno or 0
    if number == errno.EAGAIN:
        return _slow(path)
    if number == errno.ECONNREFUSED:
        return refuse(path, "nobody listens on the socket", number, "start the agent first")
    if number == errno.ENOENT:
        return refuse(path, "there is no socket", number, "start the agent first")
    if number == errno.EPROTOTYPE:
        return refuse(path, "the socket is not of type SOCK_STREAM", number)
    return refuse(path, f"cannot connect: {reason(error)}", number)
