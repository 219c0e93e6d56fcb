"""The cgroups that a process joins with its container, and those below them that a caller may name.

A cgroup of version 2 whose controllers are given on to others takes no processes (cgroups(7), "no internal
processes"): a container that has arranged its own cgroups that way has moved its first process below, and
there the new one goes as well.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import StepError
from orlop_linux.live.cgroups import Group, groups_of, read_file, split_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop_hookspecs.record import Record


def open_groups(record: Record, place: int, below: Mapping[str, str]) -> tuple[int | None, list[int]]:
    """Return the unified cgroup, if there is one, and the ``tasks`` files of the others, all open.

    Args:
        record: The container.
        place: Directory of its first process in procfs.
        below: Cgroup below the container's by controller; the empty name stands for all hierarchies.

    Raises:
        StepError: There is no such cgroup, or the container has none of its own.
    """
    groups = groups_of(record)
    _require_known(record, groups, below)
    unified: int | None = None
    tasks: list[int] = []
    try:
        for group in groups:
            further = _further(group, below)
            fd = _open(record, group, further)
            if group.version == 2:
                if not further:
                    fd = _with_first(group, fd, place)
                unified = fd
                continue
            try:
                tasks.append(os.open("tasks", os.O_WRONLY | os.O_CLOEXEC, dir_fd=fd))
            finally:
                os.close(fd)
    except BaseException:
        for fd in (*tasks, *([] if unified is None else [unified])):
            os.close(fd)
        raise
    return unified, tasks


def _require_known(record: Record, groups: list[Group], below: Mapping[str, str]) -> None:
    if below and not groups:
        raise StepError("the container has no cgroup of its own", container=record.id)
    known = {name for group in groups for name in _names(group)}
    for name in below:
        if name and name not in known:
            raise StepError(
                "the container has no cgroup with this controller",
                value=name,
                container=record.id,
                hint=f"there are {', '.join(sorted(known))}" if known else "name the path alone",
            )


def _names(group: Group) -> tuple[str, ...]:
    """Return what the cgroup is called: by its controllers, or by its name with ``name=`` or without."""
    return (*group.controllers, *(name[5:] for name in group.controllers if name.startswith("name=")))


def _further(group: Group, below: Mapping[str, str]) -> str:
    """Return the path below *group* that was asked for; empty: none."""
    for name in _names(group):
        if name in below:
            return below[name]
    return below.get("", "")


def _open(record: Record, group: Group, further: str) -> int:
    path = "/" + "/".join(part for part in further.split("/") if part)
    if path == "/":
        return group.open()
    try:
        split_path(path)
        return Group(group.mount, group.path + path, group.version, group.controllers).open()
    except ValueError:
        raise StepError("this is not the path of a sub-cgroup", value=further, container=record.id) from None
    except FileNotFoundError as error:
        raise StepError(
            "there is no such sub-cgroup: no such file or directory",
            path=group.directory + path,
            value=further,
            container=record.id,
            errno=error.errno,
        ) from None


def _with_first(group: Group, fd: int, place: int) -> int:
    """Return the cgroup in which the first process is, if that of the container cannot take another one."""
    if not read_file(fd, "cgroup.subtree_control").strip():
        return fd
    listing = os.open("cgroup", os.O_RDONLY | os.O_CLOEXEC, dir_fd=place)
    try:
        lines = os.read(listing, 1 << 16).decode("utf-8", "surrogateescape").splitlines()
    finally:
        os.close(listing)
    own = next((line[3:] for line in lines if line.startswith("0::")), "")
    at = own.find(group.path + "/")
    if at < 0:
        return fd
    os.close(fd)
    return Group(group.mount, own[at:], 2).open()
