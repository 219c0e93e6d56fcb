"""A zygote that starts while the engine is still importing: two processors, half the time."""

from __future__ import annotations

import os

from orlop_linux.live import prewarm

_waiting: list[tuple[int, int]] = []


def begin() -> None:
    """Start a zygote in the background, for the next :func:`take`."""
    _waiting.append(_launch())


def take() -> tuple[int, int]:
    """Return control descriptor and process id of a zygote, the one that waits or a new one."""
    return _waiting.pop() if _waiting else _launch()


def drop() -> None:
    """End the zygotes that nobody has taken."""
    while _waiting:
        fd, pid = _waiting.pop()
        os.close(fd)
        os.waitpid(pid, 0)


def _launch() -> tuple[int, int]:
    from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_SEQPACKET, socketpair

    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    try:
        pid = prewarm.launch(theirs.fileno())
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return ours.detach(), pid
