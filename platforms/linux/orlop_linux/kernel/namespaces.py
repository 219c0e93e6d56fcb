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

    from orlop_hookspecs.plan import Plan, PlannedStep

    Opened = dict[tuple[str, str], int]
    """Descriptors of namespaces by type and path."""

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


FILES = {"mount": "mnt", "network": "net"}
"""Files below /proc/PID/ns whose name is not the spec's."""

_SETTERS = {"SetHostname": "uts", "SetDomainname": "uts", "MoveNetDevices": "network"}
"""Steps that change a namespace, and its type; SetSysctl says it itself."""


def _verify(fd: int, wanted: int) -> None:
    if fcntl.ioctl(fd, _NS_GET_NSTYPE) != wanted:
        raise OSError(errno.EINVAL, "a namespace of another kind")


def _open(path: str) -> int:
    """Return a descriptor of the namespace file at *path*; what is none is not even opened.

    A device would notice, and a FIFO would wait.
    """
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if syscalls.statfs_type(place) != _NSFS_MAGIC:
            raise OSError(errno.EINVAL, "not a namespace")
        return os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(place)


def open_namespace(planned: PlannedStep) -> int:
    """Return a descriptor of the namespace that a JoinNamespace step names, verified.

    Raises:
        StepError: The path is missing or is not a namespace of that kind.
    """
    step: Any = planned.step
    fd = -1
    try:
        fd = _open(step.path)
        _verify(fd, FLAGS[step.type])
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
    return fd


def is_own(fd: int, kind: str) -> bool:
    """Tell whether the namespace *fd* of type *kind* is the calling thread's own."""
    try:
        mine = os.stat(f"/proc/thread-self/ns/{FILES.get(kind, kind)}")
    except FileNotFoundError:
        return False  # the kernel has no namespaces of that type
    return os.path.samestat(mine, os.fstat(fd))


def open_all(plan: Plan) -> Opened:
    """Return a descriptor of each namespace that is joined; nothing is touched.

    They are opened once: what was verified is what is joined, whatever becomes of the path meanwhile. Paths
    that are no such namespaces, and changes of the runtime's own ones, are refused.

    Raises:
        StepError: The step that would be refused, or would do harm.
    """
    opened: Opened = {}
    try:
        for planned in plan.steps("clone"):
            step: Any = planned.step
            if type(step).__name__ == "JoinNamespace" and (step.type, step.path) not in opened:
                opened[step.type, step.path] = open_namespace(planned)
        _spare_own(plan, opened)
    except BaseException:
        for fd in opened.values():
            os.close(fd)
        raise
    return opened


def _spare_own(plan: Plan, opened: Opened) -> None:
    own = {kind: path for (kind, path), fd in opened.items() if is_own(fd, kind)}
    if not own:
        return
    for planned in (*plan.steps("host-with-pid"), *plan.steps("confined")):
        step: Any = planned.step
        name = type(step).__name__
        kind = step.namespace if name == "SetSysctl" else _SETTERS.get(name, "")
        if kind in own:
            raise StepError(
                f"the {kind} namespace {own[kind]} is the runtime's own, and nothing in it is changed",
                pointer=step.because,
                plugin=planned.plugin,
                step=step.describe(),
                errno=errno.EPERM,
                hint=f"give the container a {kind} namespace of its own",
            )
