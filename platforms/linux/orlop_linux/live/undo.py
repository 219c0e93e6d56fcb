"""Undo of journal entries: the kinds that the Linux platform writes, and nothing else.

- ``process``: ``pid`` and ``start_time``. Kill it and wait until it is gone.
- ``cgroup``: ``trees``, a list of a cgroup each (``mount``, ``path``, ``version``) with ``kept``, how many
  components of its path were there before. Kill what is in it; remove it, and the parents that were made for
  it if they are empty.
- ``systemd``: ``unit``, ``user``. Kill what is in the scope and stop it.
- ``resctrl``: ``root``, ``group`` (a list of names), ``shared``. Remove the group; a shared one only if the
  creation failed.
- ``mount``: ``id``, ``path``, ``namespace``. Unmount the root of a container in a shared mount namespace.
- ``netdev``: ``namespace``, ``home``, ``joined``, ``devices``. Give network devices back, if the creation
  failed.

All are idempotent. The data comes from a file and is verified like config.
"""

from __future__ import annotations

import os

from orlop_hookspecs.errors import StepError, StoreError
from orlop_linux.live.process import SIGKILL, has_ended, open_process, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from orlop_hookspecs.record import Record
    from orlop_linux.live.process import Ends

PATIENCE = 10.0


def undo(record: Record, kind: str, data: Mapping[str, Any], ends: Ends) -> None:
    """Undo one entry.

    Raises:
        StoreError: The entry is malformed or of an unknown kind; nothing was touched.
        StepError: The kernel did not let go; the undo can be repeated.
    """
    if kind == "process":
        pid, started = data.get("pid"), data.get("start_time")
        if type(pid) is not int or type(started) is not int:
            raise StoreError(
                "the journal is not usable: process entry is malformed", container=record.id, value=dict(data)
            )
        end_process(pid, started, ends)
    elif kind == "cgroup":
        from orlop_linux.live.removal import undo as undo_cgroups

        foreign = record.kernel.get("foreign_cgroups", [])
        trees = data.get("trees")
        if foreign and isinstance(trees, list):
            data = {
                "trees": [
                    t
                    for t in trees
                    if not (isinstance(t, dict) and [t.get("mount"), t.get("path")] in foreign)
                ]
            }
        undo_cgroups(data, record.directory if record.phase == "creating" else "")
    elif kind == "resctrl":
        from orlop_linux.live.resctrl import undo as undo_resctrl

        undo_resctrl(record, data)
    elif kind == "mount":
        from orlop_linux.live.mounts import undo as undo_mount

        undo_mount(record, data)
    elif kind == "netdev":
        from orlop_linux.live.netdev import undo as undo_devices

        undo_devices(record, data)
    elif kind == "systemd":
        from orlop_linux.live.systemd import undo as undo_systemd

        undo_systemd(record, data)
    else:
        raise StoreError(f"the journal is not usable: unknown kind {kind!r}", container=record.id)


def end_process(pid: int, started: int, ends: Ends) -> None:
    """Kill the process that is *pid* and started at *started*, wait for its end, reap it if it is ours."""
    pidfd = open_process(pid, started)
    if pidfd is None:
        return
    try:
        send(pidfd, SIGKILL)
        if not has_ended(pidfd, PATIENCE):
            raise StepError("the process does not end", value=pid, act="delete")
        ends.reap(pid, started, pidfd)
    finally:
        os.close(pidfd)
