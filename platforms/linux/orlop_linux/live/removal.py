"""Removal of a container's cgroups."""

from __future__ import annotations

import errno
import os
import time

from orlop_hookspecs.errors import StepError, StoreError
from orlop_linux.live.cgroups import (
    DIRECTORY,
    PARENT_MARKS,
    Group,
    all_members,
    children,
    open_below,
    parse_group,
    split_path,
)
from orlop_linux.live.killing import kill_all
from orlop_linux.live.process import reason, wait_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

PATIENCE = 10.0
"""Seconds until a cgroup that should be empty is given up."""

remove_directory = os.rmdir
"""rmdir(2); a seam for tests that model cgroups on plain directories, which have files to remove first."""


def remove(group: Group, kept: int) -> None:
    """Kill what is left in *group*, remove it with all below it, then its parents as long as they are empty.

    Parents go that were made for this container, or for another one that is gone.

    Args:
        group: The cgroup that was made.
        kept: How many leading components of its path were there before and stay.

    Raises:
        StepError: Something in it did not end, or the kernel does not let it go.
    """
    parts = split_path(group.path)
    deadline = time.monotonic() + PATIENCE
    if kept < len(parts):
        _remove_leaf(group, parts, deadline)
    for depth in range(len(parts) - 1, 0, -1):
        if depth <= kept and not _is_marked(group.mount, parts[:depth]):
            return
        try:
            _rmdir(group.mount, parts[:depth])
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno in {errno.EBUSY, errno.ENOTEMPTY}:
                return  # somebody else lives there now
            raise _cannot_remove(group, error) from error


def _is_marked(mount: str, parts: Sequence[str]) -> bool:
    """Tell whether a cgroup is a parent that some container's creation made."""
    try:
        fd = open_below(mount, "/" + "/".join(parts))
    except FileNotFoundError:
        return True  # it is gone, the next one may be ours
    try:
        for name in PARENT_MARKS:
            try:
                os.getxattr(fd, name)
            except OSError:
                continue
            return True
    finally:
        os.close(fd)
    return False


def _remove_leaf(group: Group, parts: list[str], deadline: float) -> None:
    last: list[OSError] = []

    def gone() -> bool:
        try:
            _rmdir(group.mount, parts)
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno not in {errno.EBUSY, errno.ENOTEMPTY}:
                raise _cannot_remove(group, error) from error
            last[:] = [error]
            left = kill_all([group], deadline)
            if left:
                names = ", ".join(map(str, sorted(left)[:10]))
                raise StepError(
                    f"processes in the cgroup do not end: {names}", path=group.directory, errno=errno.EBUSY
                ) from None
            _remove_below(group)
            return False
        return True

    if not wait_until(gone, deadline):
        raise _cannot_remove(group, last[0]) from last[0]


def _cannot_remove(group: Group, error: OSError) -> StepError:
    return StepError(
        f"cannot remove the cgroup: {reason(error)}", path=group.directory, errno=error.errno, act="delete"
    )


def _rmdir(mount: str, parts: Sequence[str]) -> None:
    fd = open_below(mount, "/" + "/".join(parts[:-1])) if len(parts) > 1 else os.open(mount, DIRECTORY)
    try:
        remove_directory(parts[-1], dir_fd=fd)
    except OSError as error:
        if error.errno not in {errno.EROFS, errno.EACCES, errno.EPERM}:
            raise
        # The kernel says so also of what was never made.
        os.stat(parts[-1], dir_fd=fd, follow_symlinks=False)
        raise
    finally:
        os.close(fd)


def _remove_below(group: Group) -> None:
    """Remove the cgroups below *group*, deepest first; those that are busy stay for the next try."""
    try:
        here = group.open()
    except FileNotFoundError:
        return
    names: list[str] = []
    levels = [children(here)]
    try:
        while levels:
            if levels[-1]:
                name = levels[-1].pop()
                try:
                    below = os.open(name, DIRECTORY, dir_fd=here)
                except FileNotFoundError:
                    continue
                os.close(here)
                here = below
                names.append(name)
                levels.append(children(here))
            else:
                levels.pop()
                if levels:
                    above = os.open("..", DIRECTORY, dir_fd=here)
                    os.close(here)
                    here = above
                    try:
                        remove_directory(names.pop(), dir_fd=here)
                    except OSError as error:
                        if error.errno not in {errno.ENOENT, errno.EBUSY, errno.ENOTEMPTY}:
                            raise
    finally:
        os.close(here)


def _is_anothers(group: Group, directory: str) -> bool:
    """Tell whether *group* was made for another container than the one with its state in *directory*."""
    from orlop_linux.kernel.cgroups.marks import other_owner

    try:
        fd = group.open()
    except OSError:
        return False
    try:
        return bool(other_owner(fd, directory))
    finally:
        os.close(fd)


def undo(data: Mapping[str, Any], killed: str = "") -> None:
    """Undo a journal entry ``cgroup``, see :mod:`orlop_linux.live.undo`.

    Args:
        data: The entry.
        killed: The state directory of a container whose creation was killed: it may have announced cgroups
            that another creation has made since.
    """
    trees = data.get("trees")
    if not isinstance(trees, list):
        raise StoreError("the journal is not usable: cgroup entry is malformed", value=data)
    parsed = []
    for tree in trees:
        kept = tree.get("kept") if isinstance(tree, dict) else None
        if type(kept) is not int or kept < 0:
            raise StoreError("the journal is not usable: cgroup entry is malformed", value=tree)
        group = parse_group(tree)
        if not (killed and _is_anothers(group, killed)):
            parsed.append((group, kept))
    # A process may be in one of the cgroups and have left another: all are emptied before the first one goes.
    made = [group for group, kept in parsed if kept < len(split_path(group.path))]
    if made and all_members(made):
        kill_all(made, time.monotonic() + PATIENCE)
    for group, kept in parsed:
        remove(group, kept)
