"""The container's groups in the resctrl file system after they were made: their removal."""

from __future__ import annotations

import errno
import fcntl
import os
import time

from orlop_hookspecs.errors import StepError, StoreError
from orlop_linux.live.process import reason, wait_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from orlop_hookspecs.record import Record

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
RESERVED = frozenset({"", ".", "..", "info", "mon_groups", "mon_data"})
"""Names below a resctrl directory that are no groups (kernel doc, Documentation/filesystems/resctrl.rst)."""

PATIENCE = 10.0
"""Seconds until a lock that another program holds is given up."""

remove_directory = os.rmdir
"""rmdir(2); a seam for tests that model resctrl on a plain directory, which has files to remove first."""


def is_group_name(name: str) -> bool:
    """Tell whether *name* can be a group's directory."""
    return name not in RESERVED and "/" not in name and "\0" not in name and "\n" not in name


def class_of(record: Record) -> tuple[str, str] | None:
    """Return root and class of service of a container; ``None`` when it has none.

    Raises:
        StoreError: What the record says is malformed.
    """
    known = record.kernel.get("resctrl")
    if known is None:
        return None
    root, clos = (known.get("root"), known.get("clos")) if isinstance(known, dict) else (None, None)
    if (
        not isinstance(root, str)
        or not isinstance(clos, str)
        or not _is_clean(root)
        or not (clos == "/" or is_group_name(clos))
    ):
        raise StoreError("the stored state is not usable: resctrl is malformed", container=record.id)
    return root, clos


def _is_clean(root: str) -> bool:
    return root.startswith("/") and "/../" not in f"{root}/" and "\0" not in root


def lock(fd: int) -> bool:
    """Lock an open root against other programs that keep to resctrl.rst, "Locking"; tell whether it worked.

    The lock goes with the descriptor.
    """

    def take() -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    return wait_until(take, time.monotonic() + PATIENCE)


def undo(record: Record, data: Mapping[str, Any]) -> None:
    """Undo a journal entry ``resctrl``: ``{"root", "group": [names], "shared": bool}``.

    ``group`` is ``[clos]``, ``[clos, "mon_groups", id]`` or ``["mon_groups", id]``. A shared class was asked
    for by its closID: it outlives the container (config-linux.md, IntelRdt) and goes only when the creation
    itself failed and nobody joined it.
    """
    root, names, shared = data.get("root"), data.get("group"), data.get("shared", False)
    if (
        not isinstance(root, str)
        or not _is_clean(root)
        or not isinstance(names, list)
        or not all(isinstance(name, str) for name in names)
        or not _is_group_path(names)
    ):
        raise StoreError(
            "the journal is not usable: resctrl entry is malformed", value=dict(data), container=record.id
        )
    if (shared and record.phase == "created") or names in record.kernel.get("foreign_resctrl", []):
        return
    try:
        _remove(root, names, shared=bool(shared))
    except FileNotFoundError:
        return
    except OSError as error:
        if isinstance(error, StepError):
            raise
        raise StepError(
            f"cannot remove the resctrl group: {reason(error)}",
            path="/".join((root, *names)),
            errno=error.errno or errno.EIO,
            act="delete",
        ) from error


def _remove(root: str, names: list[str], *, shared: bool) -> None:
    fds = [os.open(root, _DIRECTORY)]
    try:
        if not lock(fds[0]):
            raise StepError(
                "cannot remove the resctrl group: another program has locked resctrl",
                path=root,
                errno=errno.EBUSY,
                act="delete",
            )
        for name in names[:-1]:
            fds.append(os.open(name, _DIRECTORY, dir_fd=fds[-1]))
        if not (shared and _has_tasks(fds[-1], names[-1])):
            remove_directory(names[-1], dir_fd=fds[-1])
    finally:
        for fd in fds:
            os.close(fd)


def _is_group_path(names: list[str]) -> bool:
    if "mon_groups" in names[:-1]:
        at = names.index("mon_groups")
        return at <= 1 and len(names) == at + 2 and all(is_group_name(n) for n in (*names[:at], names[-1]))
    return len(names) == 1 and is_group_name(names[0])


def _has_tasks(fd: int, name: str) -> bool:
    try:
        tasks = os.open(f"{name}/tasks", os.O_RDONLY | os.O_CLOEXEC, dir_fd=fd)
    except FileNotFoundError:
        return False
    try:
        return bool(os.read(tasks, 1))
    finally:
        os.close(tasks)
