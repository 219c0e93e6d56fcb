"""Mounts: whether this caller can make any, and which of the newer system calls the kernel has."""

from __future__ import annotations

import ctypes
import errno
from typing import TYPE_CHECKING

from orlop_hookspecs.availability import Answer
from orlop_linux.init import syscalls
from orlop_linux.kernel.examine.births import refusal
from orlop_linux.kernel.unprivileged import in_user_namespace, may_mount

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop_linux.kernel.kernel import LinuxKernel

_NEWER = "use a newer kernel, or allow the call where a filter of the host's forbids it"


def answers(kernel: LinuxKernel, names: Sequence[str]) -> dict[str, Answer]:
    """Answer about mounts."""
    found: dict[str, Answer] = {}
    if "mounts" in names:
        found["mounts"] = _mounts(kernel)
    attributes = _has("mount_setattr", -1, None, 0, None, 0)
    if "mounts.recursive" in names:
        found["mounts.recursive"] = (
            Answer(available=True) if attributes else _lacking("mount_setattr(2), of Linux 5.12")
        )
    if "mounts.idmap" in names:
        found["mounts.idmap"] = _idmap(attributes=attributes)
    return found


def _lacking(what: str) -> Answer:
    return Answer(available=False, reason=f"the kernel has no {what}", remedy=_NEWER)


def _mounts(kernel: LinuxKernel) -> Answer:
    if not _has("fsopen", None, 0) or not _has("open_tree", -1, None, 0):
        return _lacking("fsopen(2) and open_tree(2), of Linux 5.2")
    if may_mount():
        return Answer(available=True)
    why = refusal(kernel, ["user", "mount"])
    if why:
        return Answer(
            available=True,
            allowed=False,
            reason=f"the caller lacks CAP_SYS_ADMIN, and has no user namespace to get it in: {why}",
            remedy="run as root, or allow user namespaces on this host",
        )
    return Answer(available=True, reason="in a user namespace, together with a mount namespace")


def _idmap(*, attributes: bool) -> Answer:
    if not attributes:
        return _lacking("mount_setattr(2), of Linux 5.12")
    if not may_mount() or in_user_namespace():
        return Answer(
            available=True,
            allowed=False,
            reason="the caller lacks CAP_SYS_ADMIN in the user namespace that owns the file systems",
            remedy="run as root outside of user namespaces",
        )
    return Answer(
        available=True, reason="where the file system can do it (mount_setattr(2), ID-mapped mounts)"
    )


def _has(name: str, *arguments: int | None) -> bool:
    """Tell whether the kernel has a system call, by making it with *arguments* that cannot be meant."""
    try:
        syscalls.call(name, *(one if one is None else ctypes.c_long(one) for one in arguments))
    except OSError as error:
        return error.errno != errno.ENOSYS
    return True
