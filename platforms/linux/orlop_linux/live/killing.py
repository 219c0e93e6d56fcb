"""Signals to every process of a container, also to those that are being made meanwhile."""

from __future__ import annotations

import errno
import os
import time

from orlop_hookspecs.errors import PlatformError
from orlop_linux.live.cgroups import all_members, members, write_file
from orlop_linux.live.freezer import set_v1, thaw
from orlop_linux.live.process import SIGKILL, has_ended, open_pid, read_stat, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orlop_linux.live.cgroups import Group

_BATCH = 64  # pidfds that are open at one time; the caller's limit on descriptors may be small
_SCANS = 16


def signal_members(group: Group, number: int, spared: set[int]) -> set[int]:
    """Signal every process of *group* whose pid is not in *spared*; return the pids that were signalled.

    A pid that was read may be somebody else's by the time it is used. So the descriptor is opened first, and
    used only if the cgroup still lists the pid afterwards: then it is a member, whoever it is.
    """
    done: set[int] = set()
    try:
        fd = group.open()
    except FileNotFoundError:
        return done
    try:
        waiting = sorted(members(fd) - spared)
        while waiting:
            batch, waiting = waiting[:_BATCH], waiting[_BATCH:]
            opened: dict[int, int] = {}
            try:
                for pid in batch:
                    pidfd = open_pid(pid)
                    if pidfd is not None:
                        opened[pid] = pidfd
                still = members(fd)
                done.update(pid for pid, pidfd in opened.items() if pid in still and send(pidfd, number))
            finally:
                for pidfd in opened.values():
                    os.close(pidfd)
    finally:
        os.close(fd)
    return done


def signal_all(groups: Sequence[Group], number: int) -> int:
    """Signal every process of the container once, also those that are being made; return how many there were.

    SIGKILL goes the way of :func:`kill_all`, without waiting. For any other signal the cgroups are read until
    nobody new is found; they are not frozen for it, because a caller that dies then would leave them frozen.
    """
    if number == SIGKILL:
        return len(_kill_once(groups))
    done: set[int] = set()
    for _ in range(_SCANS):
        new: set[int] = set()
        for group in groups:
            new |= signal_members(group, number, done | new)
        if not new:
            break
        done |= new
    return len(done)


def _kill_once(groups: Sequence[Group]) -> set[int]:
    """Send SIGKILL to every process of *groups*, freezing first where only that keeps up with forks."""
    found = all_members(groups)
    if not found:
        return found
    if os.getpid() in found:
        raise PlatformError(
            "the caller is in the container's cgroup and would kill itself", path=groups[0].directory
        )
    by_file = _kill_by_file(groups)
    if not by_file:
        set_v1(groups, "FROZEN")
    try:
        done: set[int] = set()
        for group in groups:
            try:
                done |= signal_members(group, SIGKILL, done)
            except PermissionError as error:
                # A security module may forbid our signal. cgroup.kill asks none: whom it hit, ends.
                if by_file:
                    continue
                raise PlatformError(
                    "a process of the container cannot be killed: permission denied",
                    path=group.directory,
                    errno=error.errno,
                    hint="a security module forbids it; load a profile that lets the runtime send signals",
                ) from error
    finally:
        thaw(groups)
    return found


def _kill_by_file(groups: Iterable[Group]) -> bool:
    """Write cgroup.kill (Linux 5.14) where it exists and tell whether it was there."""
    done = False
    for group in groups:
        if group.version == 2:
            try:
                fd = group.open()
            except FileNotFoundError:
                continue
            try:
                write_file(fd, "cgroup.kill", "1")
                done = True
            except OSError as error:
                if error.errno not in {errno.ENOENT, errno.EOPNOTSUPP, errno.ENODEV}:
                    raise
            finally:
                os.close(fd)
    return done


def kill_all(groups: Sequence[Group], deadline: float) -> set[int]:
    """Kill every process of *groups* until none is left or the monotonic clock reaches *deadline*.

    Returns:
        The pids that are left.
    """
    while True:
        left = {pid for pid in _kill_once(groups) if not _is_dead(pid)}
        remaining = deadline - time.monotonic()
        if not left or remaining <= 0:
            return left
        pidfd = open_pid(min(left))
        if pidfd is None:
            continue
        try:
            has_ended(pidfd, min(remaining, 0.1))
        finally:
            os.close(pidfd)


def _is_dead(pid: int) -> bool:
    stat = read_stat(pid)
    return stat is None or stat[0] in "ZXx"
