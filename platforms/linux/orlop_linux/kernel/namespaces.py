"""Namespaces by the spec's names, and those that are joined by their paths: namespaces(7), ioctl_ns(2)."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import StepError
from orlop_linux.init import syscalls

if TYPE_CHECKING:
    from typing import Any

    from orlop_hookspecs.plan import PlannedStep

FLAGS = {
    "mount": syscalls.CLONE_NEWNS,
    "uts": syscalls.CLONE_NEWUTS,
    "ipc": syscalls.CLONE_NEWIPC,
    "user": syscalls.CLONE_NEWUSER,
    "pid": syscalls.CLONE_NEWPID,
    "network": syscalls.CLONE_NEWNET,
    "cgroup": syscalls.CLONE_NEWCGROUP,
    "time": syscalls.CLONE_NEWTIME,
}
"""Namespace names of the spec with their flags of clone(2)."""

_NS_GET_NSTYPE = 0xB703
_NSFS_MAGIC = 0x6E736673


def _verify(fd: int, wanted: int) -> None:
    if syscalls.statfs_type(fd) != _NSFS_MAGIC:
        raise OSError(errno.EINVAL, "not a namespace")
    if fcntl.ioctl(fd, _NS_GET_NSTYPE) != wanted:
        raise OSError(errno.EINVAL, "a namespace of another kind")


def open_namespace(planned: PlannedStep) -> tuple[int, int]:
    """Return a descriptor and the flag of the namespace that a JoinNamespace step names, verified.

    Raises:
        StepError: The path is missing or is not a namespace of that kind.
    """
    step: Any = planned.step
    wanted = FLAGS[step.type]
    fd = -1
    try:
        # O_NONBLOCK: a FIFO in its place must not block.
        fd = os.open(step.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        _verify(fd, wanted)
    except OSError as error:
        if fd >= 0:
            os.close(fd)
        why = (error.strerror or os.strerror(error.errno or 0)).lower()
        raise StepError(
            f"cannot join the {step.type} namespace {step.path}: {why}",
            pointer=step.because,
            plugin=planned.plugin,
            errno=error.errno,
        ) from error
    return fd, wanted
