"""The handshake between the engine, the zygote and the container child.

One message is one packet of an AF_UNIX SOCK_SEQPACKET socket: a type byte, then the payload. Descriptors
travel as SCM_RIGHTS and arrive close-on-exec. Large data (the plan) travels as a memfd.

    engine                        zygote              stage*                child
      | SPAWN {request}              |                   |                    |
      |  [channel, cgroup, tasks,    |                   |                    |
      |   joins] ------------------> |                   |                    |
      |                              | clone3 --------------------------------+  (no join, no clock), or
      |                              | clone3 -----------+                    |
      | <----------------------------- STAGE {pid} [pidfd]                    |
      |                              |                   | setns*, unshare    |
      | <------------------------------------------ MAP  |  (new user ns)     |
      | MAPPED ----------------------------------------> |                    |
      |                              |                   | clone3 ------------+
      | <----------------------------- PID {pid} [pidfd], by the cloner       |
      |                              |                   x                    | joins its cgroups
      | <----------------------------------------------------------------- MAP (new user ns, no stage)
      | MAPPED -------------------------------------------------------------> |
      |    ... the engine executes phase host-with-pid ...                    |
      | BUILD {sizes} [plan, stdio 0-2, listener, preserved, console] ------> |
      | TREES [detached mounts] --------------------------------------------> |
      |                                                                       | phases container, confined
      | <---------------------------------------------------- MORE            |  as often as there are
      | TREES [detached mounts] --------------------------------------------> |  more mounts than that
      | <---------------------------------------------------- READY or FAILED |
      |    ... the engine saves the record ...                                |
      | COMMIT -------------------------------------------------------------> |
      x (closes the channel)                                                  | waits on the listener

    start                                                                   child
      | connect, "s" ----------------------------------------------------->   | phase exec
      | <---------------------------- end of stream: execve(2) has succeeded  x
      | <---------------------------- or a failure, then end of stream
                                     (a filter with a listener: see orlop_linux.init.listener)

    * A stage exists only when namespaces are joined or clocks are set: both change the process that does it.

The end of the channel before COMMIT means that the engine is gone: the child ends itself. Whatever the child
answers is input for the engine and verified there.
"""

from __future__ import annotations

import _socket as socket
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SPAWN = b"S"
STAGE = b"G"
PID = b"P"
MAP = b"U"
MAPPED = b"M"
BUILD = b"B"
TREES = b"T"
MORE = b"O"
READY = b"R"
FAILED = b"F"
COMMIT = b"C"

MESSAGE_LIMIT = 65536
"""Longest packet, in bytes; more data than that travels as a memfd."""
FDS_PER_MESSAGE = 200
"""Descriptors in one packet; the kernel's limit is 253 (SCM_MAX_FD, unix(7))."""
START_REQUEST = b"s"


class EndOfChannel(Exception):  # noqa: N818 - it is no error but the way a peer says that it is gone
    """The other side has closed the channel."""


def send(sock: socket.socket, kind: bytes, payload: bytes = b"", fds: Sequence[int] = ()) -> None:
    """Send one message with at most :data:`FDS_PER_MESSAGE` descriptors."""
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))] if fds else []
    sock.sendmsg([kind + payload], ancillary, socket.MSG_NOSIGNAL)


def receive(sock: socket.socket) -> tuple[bytes, bytes, list[int]]:
    """Return type, payload and descriptors of the next message.

    Raises:
        EndOfChannel: The other side is gone, or sent a packet that is longer or has more descriptors than any
            message.
    """
    space = socket.CMSG_LEN(4 * FDS_PER_MESSAGE)
    data, ancillary, flags, _ = sock.recvmsg(MESSAGE_LIMIT, space, socket.MSG_CMSG_CLOEXEC)
    fds: list[int] = []
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            count = len(content) // struct.calcsize("i")
            fds += struct.unpack_from(f"{count}i", content)
    if not data or flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        for fd in fds:
            os.close(fd)
        raise EndOfChannel
    return data[:1], data[1:], fds
