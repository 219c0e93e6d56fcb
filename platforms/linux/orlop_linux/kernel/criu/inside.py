"""What is done in the namespaces of a restored container because images do not hold it.

The root is not in them, so they do not say that it was read-only; nor is what is in a network namespace.
Mounts of the host's files are made anew, and not all of them with the attributes that they had.

A namespace is entered by a thread of its own: for that of mounts, setns(2) needs one that shares its root
directory with nobody.
"""

from __future__ import annotations

import os
from threading import Thread
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import StepError
from orlop_linux.init import attributes, resolve, syscalls
from orlop_linux.init.names import loopback_up
from orlop_linux.live.process import reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from orlop_linux.kernel.criu.shown import Demand

_CLONE_FS = 0x00000200
_CLONE_NEWNS = 0x00020000
_CLONE_NEWNET = 0x40000000


def protect(pid: int, demands: Iterable[Demand]) -> None:
    """Give the mounts that process *pid* sees the attributes that they have to have.

    Raises:
        StepError: The kernel refused.
    """
    left = [one for one in demands if not one.attributes <= one.mount.options]
    if not left:
        return
    done = 0

    def act() -> None:
        nonlocal done
        root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for one in left:
                _protect(root, one.mount.point, attributes.mask_of(one.attributes))
                done += 1
        finally:
            os.close(root)

    error = _run(pid, "mnt", _CLONE_NEWNS, act)
    if error is not None:
        failed = left[done]
        raise StepError(
            f"cannot make a mount {', '.join(sorted(failed.attributes))}: {reason(error)}",
            pointer=failed.pointer,
            value=failed.mount.point,
            errno=error.errno,
        ) from error


def bring_up_loopback(pid: int) -> None:
    """Bring up ``lo`` in the network namespace of process *pid*, as on create.

    Raises:
        StepError: The kernel refused.
    """
    error = _run(pid, "net", _CLONE_NEWNET, loopback_up)
    if error is not None:
        raise StepError(
            f"cannot bring up the loopback device: {reason(error)}",
            pointer="/linux/namespaces",
            errno=error.errno,
        ) from error


def _protect(root: int, point: str, mask: int) -> None:
    mount = resolve.open_in_root(root, point)
    try:
        syscalls.mount_setattr(mount, set_=mask)
    finally:
        os.close(mount)


def _run(pid: int, name: str, kind: int, act: Callable[[], None]) -> OSError | None:
    """Have *act* done in a namespace of process *pid*; return what the kernel refused, if it did."""
    failures: list[OSError] = []
    namespace = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)

    def run() -> None:
        try:
            if kind == _CLONE_NEWNS:
                syscalls.unshare(_CLONE_FS)
            syscalls.setns(namespace, kind)
            act()
        except OSError as error:
            failures.append(error)

    try:
        thread = Thread(target=run, name=f"orlop-{name}")
        thread.start()
        thread.join()
    finally:
        os.close(namespace)
    return failures[0] if failures else None
