"""What resctrl counts for a container (kernel doc, filesystems/resctrl.rst, "MON groups")."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from orlop_linux.kernel.resctrlfs import DIRECTORY, read
from orlop_linux.live.resctrl import class_of

if TYPE_CHECKING:
    from orlop_hookspecs.record import Record


def read_stats(record: Record) -> dict[str, Any]:
    """Return ``{"resctrl": {"clos", "monitoring": {resource: {domain: {event: number}}}}}``.

    The numbers are those of the container's own monitoring group, or of a class that is its own. What a
    shared class uses is not the container's, and what the processor cannot tell just now is left out.
    """
    known = class_of(record)
    if known is None:
        return {}
    root, clos = known
    found: dict[str, Any] = {"clos": clos}
    parts = [] if clos == "/" else [clos]
    if record.kernel["resctrl"].get("monitoring") is True:
        parts += ["mon_groups", record.id]
    elif clos != record.id or record.kernel["resctrl"].get("existed"):
        return {"resctrl": found}
    try:
        found["monitoring"] = _read(root, [*parts, "mon_data"])
    except FileNotFoundError:
        pass  # the processor has no monitoring, or the group is gone
    return {"resctrl": found}


def _read(root: str, parts: list[str]) -> dict[str, dict[str, dict[str, int]]]:
    counted: dict[str, dict[str, dict[str, int]]] = {}
    fds = [os.open(root, DIRECTORY)]
    try:
        for part in parts:
            fds.append(os.open(part, DIRECTORY, dir_fd=fds[-1]))
        for name in sorted(os.listdir(fds[-1])):
            # mon_L3_00 is domain 0 of resource L3.
            resource, _, domain = name.removeprefix("mon_").rpartition("_")
            if name.startswith("mon_") and resource and domain.isdigit():
                events = counted.setdefault(resource, {}).setdefault(str(int(domain)), {})
                _read_events(fds[-1], name, events)
    finally:
        for fd in fds:
            os.close(fd)
    return counted


def _read_events(directory: int, name: str, events: dict[str, int]) -> None:
    fd = os.open(name, DIRECTORY, dir_fd=directory)
    try:
        for event in sorted(os.listdir(fd)):
            text = "" if event.startswith("mon_") else read(fd, event).strip()  # sums of sub-NUMA clusters
            if text.isdigit():
                events[event] = int(text)
    finally:
        os.close(fd)
