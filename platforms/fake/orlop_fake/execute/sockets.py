"""Sockets of the host to which a launch sends what its caller wants to have: a terminal, a pidfd."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from orlop_fake.refusals import refusal
from orlop_fake.vfs import Socket
from orlop_hookspecs.errors import StepError
from orlop_hookspecs.frozen import Frozen, frozen

if TYPE_CHECKING:
    from orlop_fake.machine import Machine


@frozen
class Pidfd(Frozen):
    """What a pidfd socket receives: a descriptor that stands for a process, and a word beside it."""

    pid: int
    kind: str
    """``standard`` of the container process, ``setns`` of one that joined."""


def send(kernel: Machine, path: str, thing: object) -> None:
    """Send *thing* to whoever listens at *path* of the host.

    Raises:
        OSError: Nobody does.
    """
    listener = kernel.host_find(path).node
    if not isinstance(listener, Socket):
        raise refusal(errno.ECONNREFUSED, path)
    listener.received.append(thing)


def send_pidfd(kernel: Machine, path: str, thing: Pidfd, container: str) -> None:
    """Send a pidfd to whoever listens at *path*; an empty one stands for nobody.

    Raises:
        StepError: Nobody listens.
    """
    if not path:
        return
    try:
        send(kernel, path, thing)
    except OSError as error:
        raise StepError(
            f"cannot connect to the socket: {error.strerror}",
            path=path,
            container=container,
            errno=error.errno,
        ) from error
