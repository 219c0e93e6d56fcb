"""Freezing: the freezer controller of cgroup v1, or the cgroup.freeze of cgroup v2 (cgroups(7))."""

from __future__ import annotations

import errno
import os
import select
import time

from orlop_hookspecs.errors import PlatformError, StepError
from orlop_linux.live.cgroups import READ, read_file, write_file
from orlop_linux.live.process import reason, wait_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orlop_linux.live.cgroups import Group

PATIENCE = 10.0
"""Seconds until a freeze that has not succeeded is taken back."""


def freezer(groups: Iterable[Group]) -> Group | None:
    """Return the cgroup through which the container is frozen: the v1 freezer if there is one, else v2."""
    unified = None
    for group in groups:
        if "freezer" in group.controllers:
            return group
        if group.version == 2:
            unified = group
    return unified


def is_frozen(groups: Iterable[Group]) -> bool:
    """Tell whether the container has been frozen, or is being."""
    group = freezer(groups)
    if group is None:
        return False
    name = "freezer.state" if group.version == 1 else "cgroup.freeze"
    try:
        fd = group.open()
        try:
            text = read_file(fd, name, 64).strip()
        finally:
            os.close(fd)
    except (FileNotFoundError, PlatformError):  # nothing is shown: neither is anything frozen by us
        return False
    return text in {"FROZEN", "FREEZING", "1"}


def thaw(groups: Iterable[Group]) -> None:
    """Thaw a v1 freezer, whose frozen processes do not even die of SIGKILL; those of cgroup v2 do."""
    set_v1(groups, "THAWED")


def set_v1(groups: Iterable[Group], state: str) -> None:
    """Write ``FROZEN`` or ``THAWED`` to the container's v1 freezer, if it has one, without waiting."""
    group = freezer(groups)
    if group is None or group.version != 1:
        return
    try:
        fd = group.open()
        try:
            write_file(fd, "freezer.state", state)
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ENODEV}:
            raise


def freeze(groups: Sequence[Group], *, frozen: bool) -> None:
    """Freeze or thaw the container and wait until it is; a freeze that does not succeed is taken back.

    Raises:
        PlatformError: The container has no cgroup that can be frozen.
        StepError: Not all processes froze in time.
    """
    act = "pause" if frozen else "resume"
    group = freezer(groups)
    if group is None:
        raise PlatformError("the container has no cgroup of its own that could be frozen", act=act)
    fd = group.open()
    name, values, wait = (
        ("freezer.state", ("THAWED", "FROZEN"), _wait_v1)
        if group.version == 1
        else ("cgroup.freeze", ("0", "1"), _wait_v2)
    )
    done = False
    try:
        write_file(fd, name, values[frozen])
        done = wait(fd, time.monotonic() + PATIENCE, frozen=frozen)
        if not done:
            raise StepError(
                "the processes of the container did not all freeze"
                if frozen
                else "the container did not thaw",
                act=act,
                path=group.directory,
                errno=errno.EBUSY,
                hint="" if frozen else "a parent of its cgroup may be frozen",
            )
    except OSError as error:
        if isinstance(error, StepError):
            raise
        raise StepError(
            f"cannot {act}: {reason(error)}", act=act, path=group.directory, errno=error.errno
        ) from error
    finally:
        try:
            if frozen and not done:
                write_file(fd, name, values[False])
        finally:
            os.close(fd)


def _wait_v1(fd: int, deadline: float, *, frozen: bool) -> bool:
    wanted = "FROZEN" if frozen else "THAWED"

    def reached() -> bool:
        if read_file(fd, "freezer.state", 64).strip() == wanted:
            return True
        # A process that was being forked may have slipped through; the kernel freezes it when asked again.
        write_file(fd, "freezer.state", wanted)
        return False

    return wait_until(reached, deadline)


def _wait_v2(fd: int, deadline: float, *, frozen: bool) -> bool:
    wanted = f"frozen {int(frozen)}"
    events = os.open("cgroup.events", READ, dir_fd=fd)
    try:
        poller = select.poll()
        poller.register(events, select.POLLPRI)
        while wanted not in os.pread(events, 4096, 0).decode().splitlines():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            poller.poll(int(left * 1000) + 1)
    finally:
        os.close(events)
    return True
