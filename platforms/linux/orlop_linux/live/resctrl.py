"""The container's groups in the resctrl file system after they were made: their removal."""

from __future__ import annotations

import errno
import os

from orlop_hookspecs.errors import StepError, StoreError
from orlop_linux.live.process import reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from orlop_hookspecs.record import Record

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
RESERVED = frozenset({"", ".", "..", "info", "mon_groups", "mon_data"})
"""Names below a resctrl directory that are no groups (kernel doc, Documentation/filesystems/resctrl.rst)."""

remove_directory = os.rmdir
"""rmdir(2); a seam for tests that model resctrl on a plain directory, which has files to remove first."""


def is_group_name(name: str) -> bool:
    """Tell whether *name* can be a group's directory."""
    return name not in RESERVED and "/" not in name and "\0" not in name and "\n" not in name


def undo(record: Record, data: Mapping[str, Any]) -> None:
    """Undo a journal entry ``resctrl``: ``{"root", "group": [names], "shared": bool}``.

    ``group`` is ``[clos]``, ``[clos, "mon_groups", id]`` or ``["mon_groups", id]``. A shared class was asked
    for by its closID: it outlives the container (config-linux.md, IntelRdt) and goes only when the creation
    itself failed and nobody joined it.
    """
    root, names, shared = data.get("root"), data.get("group"), data.get("shared", False)
    if (
        not isinstance(root, str)
        or not root.startswith("/")
        or "/../" in f"{root}/"
        or not isinstance(names, list)
        or not all(isinstance(name, str) for name in names)
        or not _is_group_path(names)
    ):
        raise StoreError(
            "the journal is not usable: resctrl entry is malformed", value=dict(data), container=record.id
        )
    if shared and record.phase == "created":
        return
    try:
        fd = os.open(root, _DIRECTORY)
    except FileNotFoundError:
        return
    try:
        for name in names[:-1]:
            below = os.open(name, _DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = below
        if shared and _has_tasks(fd, names[-1]):
            return
        remove_directory(names[-1], dir_fd=fd)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StepError(
            f"cannot remove the resctrl group: {reason(error)}",
            path="/".join((root, *names)),
            errno=error.errno or errno.EIO,
            act="delete",
        ) from error
    finally:
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
