"""Mounts: whether this caller can make any, and whether the kernel has the calls for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.availability import Answer
from orlop_linux.kernel import needs
from orlop_linux.kernel.examine.births import refusal
from orlop_linux.kernel.unprivileged import in_user_namespace, may_mount

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orlop_linux.kernel.kernel import LinuxKernel


def answers(kernel: LinuxKernel, names: Sequence[str]) -> dict[str, Answer]:
    """Answer about mounts."""
    rooms: dict[str, Callable[[], Answer]] = {
        "mounts": lambda: _mounts(kernel),
        "mounts.recursive": lambda: Answer(available=True),
        "mounts.idmap": _idmap,
    }
    why = needs.lacking()
    no = Answer(available=False, reason=why, remedy=needs.HINT)
    return {name: no if why else room() for name, room in rooms.items() if name in names}


def _mounts(kernel: LinuxKernel) -> Answer:
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


def _idmap() -> Answer:
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
