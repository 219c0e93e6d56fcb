"""System calls that every container needs: on a kernel without one of them none is begun.

The answers are the same for the whole life of a process, so the kernel is asked once. Each call is made with
arguments that can have no effect; a kernel that does not have it says ENOSYS, and so does a filter of system
calls that keeps it from us.
"""

from __future__ import annotations

import ctypes
import errno

from orlop_hookspecs.errors import PlatformError
from orlop_linux.init import syscalls

LEAST = (5, 12)
"""The first Linux with all of them."""

CALLS: dict[str, tuple[tuple[int, int], tuple[int | None, ...]]] = {
    "open_tree": ((5, 2), (-1, None, 0)),
    "move_mount": ((5, 2), (-1, None, -1, None, -1)),
    "fsopen": ((5, 2), (None, 0)),
    "clone3": ((5, 3), (None, 0)),
    "openat2": ((5, 6), (-1, None, None, 0)),
    "close_range": ((5, 9), (1, 0, 0)),
    "mount_setattr": ((5, 12), (-1, None, 0, None, 0)),
}
"""Each with the first Linux that has it (its manual page), and arguments that mean nothing."""

HINT = "use Linux 5.12 or newer, or allow the call where a filter of the host forbids it"

_found: list[str] = []


def has(name: str) -> bool:
    """Tell whether the kernel has one of :data:`CALLS`."""
    arguments = CALLS[name][1]
    try:
        syscalls.call(name, *(one if one is None else ctypes.c_long(one) for one in arguments))
    except OSError as error:
        return error.errno != errno.ENOSYS
    return True


def lacking() -> str:
    """Return what the kernel lacks, in words; empty when it has all of it."""
    if not _found:
        missing = next((name for name in CALLS if not has(name)), "")
        _found.append(words(missing) if missing else "")
    return _found[0]


def words(name: str) -> str:
    """Return that the kernel lacks the call *name*."""
    return f"the kernel has no {name}(2), which came with Linux {'.'.join(map(str, CALLS[name][0]))}"


def require(container: str) -> None:
    """Refuse to make a container on a kernel that lacks something.

    Raises:
        PlatformError: It does.
    """
    why = lacking()
    if why:
        raise PlatformError(why, container=container, errno=errno.ENOSYS, hint=HINT)
