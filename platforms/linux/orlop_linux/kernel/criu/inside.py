"""What is done in the namespaces of a restored container because images do not hold it.

The root is not in them, so they do not say that it was read-only; nor is what is in a network namespace.

A namespace is entered by a thread of its own: for that of mounts, setns(2) needs one that shares its root
directory with nobody.
"""

from __future__ import annotations

import os
from threading import Thread
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import StepError
from orlop_linux.init import syscalls
from orlop_linux.init.names import loopback_up
from orlop_linux.live.process import reason

if TYPE_CHECKING:
    from collections.abc import Callable

_CLONE_FS = 0x00000200
_CLONE_NEWNS = 0x00020000
_CLONE_NEWNET = 0x40000000


def protect_root(pid: int) -> None:
    """Make the root of process *pid* read-only; mounts below it keep their own options.

    Raises:
        StepError: The kernel refused.
    """
    _run(pid, "mnt", _CLONE_NEWNS, _protect, "cannot make the root read-only", "/root/readonly")


def bring_up_loopback(pid: int) -> None:
    """Bring up ``lo`` in the network namespace of process *pid*, as on create.

    Raises:
        StepError: The kernel refused.
    """
    _run(pid, "net", _CLONE_NEWNET, loopback_up, "cannot bring up the loopback device", "/linux/namespaces")


def _protect() -> None:
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        syscalls.mount_setattr(root, set_=syscalls.MOUNT_ATTR_RDONLY)
    finally:
        os.close(root)


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
