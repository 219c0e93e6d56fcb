"""What is done in the namespaces of a restored container because images do not hold it.

The root is not in them, so they do not say that it was read-only; nor is what is in a network namespace.
Mounts of the host's files are made anew, and not all of them read-only as they were.

A namespace is entered by a thread of its own: for that of mounts, setns(2) needs one that shares its root
directory with nobody.
"""

from __future__ import annotations

import errno
import os
from threading import Thread
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import StepError
from orlop_linux.init import resolve, syscalls
from orlop_linux.init.names import loopback_up
from orlop_linux.live.process import reason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_CLONE_FS = 0x00000200
_CLONE_NEWNS = 0x00020000
_CLONE_NEWNET = 0x40000000


def protect(pid: int, places: Sequence[str]) -> None:
    """Make the mounts at *places* read-only for process *pid*; those below keep their own options.

    ``/`` is the root. Where no mount is, nothing is done.

    Raises:
        StepError: The kernel refused.
    """

    def act() -> None:
        root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for place in places:
                _protect(root, place)
        finally:
            os.close(root)

    pointer = "/root/readonly" if tuple(places) == ("/",) else "/mounts"
    _run(pid, "mnt", _CLONE_NEWNS, act, "cannot make read-only what the config wants so", pointer)


def bring_up_loopback(pid: int) -> None:
    """Bring up ``lo`` in the network namespace of process *pid*, as on create.

    Raises:
        StepError: The kernel refused.
    """
    _run(pid, "net", _CLONE_NEWNET, loopback_up, "cannot bring up the loopback device", "/linux/namespaces")


def _protect(root: int, place: str) -> None:
    try:
        mount = resolve.open_in_root(root, place)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        syscalls.mount_setattr(mount, set_=syscalls.MOUNT_ATTR_RDONLY)
    except OSError as error:
        if error.errno != errno.EINVAL:  # mount_setattr(2): it is not the root of a mount
            raise
    finally:
        os.close(mount)


def _run(pid: int, name: str, kind: int, act: Callable[[], None], failed: str, pointer: str) -> None:  # noqa: PLR0913, PLR0917 - where, what, and how a failure is told
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
    if failures:
        error = failures[0]
        raise StepError(f"{failed}: {reason(error)}", pointer=pointer, errno=error.errno) from error
