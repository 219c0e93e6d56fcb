"""What a test may leave behind, and how it is taken away: control groups with whatever still runs in them."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

# Much longer than anything takes, also on a machine with many times its load; only a hang gets that far.
PATIENCE = 120.0


def remove_cgroup(top: Path, patience: float = PATIENCE) -> None:
    """Remove the control group *top* and all below it, once the processes in them have ended.

    A process that does not end by itself in a third of the time is killed.

    A group stays busy until the last of its processes has been taken off the processor, which is after it has
    gone from ``cgroup.procs`` and after whoever waited for it was told.

    Args:
        top: The group's directory; nothing happens if it is not there.
        patience: Seconds until the last refusal is raised.

    Raises:
        OSError: A group is still busy after that time.
    """
    deadline = time.monotonic() + patience
    for group in (*_below(top), top):
        while group.is_dir():
            for member in _members(group):
                _end(member, deadline)
            try:
                group.rmdir()
            except FileNotFoundError:
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                os.sched_yield()


def _below(top: Path) -> Iterator[Path]:
    """Yield the groups below one, the deepest first."""
    for directory, _, _ in os.walk(top, topdown=False):
        if directory != str(top):
            yield Path(directory)


def _members(group: Path) -> list[int]:
    try:
        return [int(line) for line in (group / "cgroup.procs").read_text().split()]
    except OSError:  # it has just gone
        return []


def _end(pid: int, deadline: float) -> None:
    """Wait for the end of a process, and kill it when that does not come; whoever is its parent reaps it."""
    try:
        process = os.pidfd_open(pid)
    except OSError:
        return
    try:
        # An engine's monitor tidies up before it ends; killed in the middle it would leave that to nobody.
        if not select.select([process], [], [], max(0.0, deadline - time.monotonic()) / 3)[0]:
            signal.pidfd_send_signal(process, signal.SIGKILL)
            select.select([process], [], [], max(0.0, deadline - time.monotonic()))
    except ProcessLookupError:
        return  # it ended just now
    finally:
        os.close(process)
