"""The resctrl file system as text: schemata, the hardware's limits, and what it says about a failure.

Source: kernel doc, Documentation/filesystems/resctrl.rst.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT_ROOT = "/sys/fs/resctrl"

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_LIMIT = 1 << 20
_DECIMAL = ("MB", "SMBA")  # bandwidth in per cent or MB/s; all other resources are bit masks in hexadecimal
_IN_MEGABYTES = "mba_MBps"

Schemata = dict[str, dict[str, str]]
"""Values by resource and domain: ``L3:0=ff;1=f`` is ``{"L3": {"0": "ff", "1": "f"}}``."""


def read(directory: int, name: str) -> str:
    """Return what file *name* says."""
    fd = os.open(name, _READ, dir_fd=directory)
    try:
        return os.read(fd, _LIMIT).decode("ascii", "replace")
    finally:
        os.close(fd)


def write(directory: int, name: str, text: str) -> None:
    """Write *text* to file *name* with one write(2)."""
    fd = os.open(name, _WRITE, dir_fd=directory)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def parse_schemata(lines: Sequence[str]) -> Schemata:
    """Return schemata by resource and domain, numbers in the shortest form.

    A later line changes what an earlier one has set.
    """
    found: Schemata = {}
    for line in lines:
        resource, colon, rest = line.strip().partition(":")
        if not colon:
            continue
        domains = found.setdefault(resource.strip(), {})
        for part in rest.split(";"):
            domain, _, value = part.partition("=")
            if domain.strip():
                domains[domain.strip()] = _shortest(resource.strip(), value.strip())
    return found


def _shortest(resource: str, value: str) -> str:
    try:
        return str(int(value)) if resource in _DECIMAL else f"{int(value, 16):x}"
    except ValueError:
        return value.lower()


def granularities(root: int, resources: Mapping[str, object]) -> dict[str, int]:
    """Return the steps of bandwidth that the hardware can do, for those of *resources* that have them.

    The kernel rounds what is written up to them ("Memory bandwidth Allocation"), but not where the file
    system was mounted to take megabytes.
    """
    found: dict[str, int] = {}
    for resource in _DECIMAL:
        if resource not in resources:
            continue
        try:
            text = read(root, f"info/{resource}/bandwidth_gran").strip()
        except FileNotFoundError:
            continue
        if text.isdigit() and int(text) > 1 and _IN_MEGABYTES not in mount_options(root).split(","):
            found[resource] = int(text)
    return found


def is_same(wanted: str, present: str | None, step: int) -> bool:
    """Tell whether writing *wanted* would give *present*, for a resource that is rounded up to *step*."""
    if present is None or wanted == present:
        return present is not None
    return step > 0 and wanted.isdigit() and str(-(-int(wanted) // step) * step) == present


def monitoring_events(root: int) -> frozenset[str]:
    """Return what the hardware can count, such as ``llc_occupancy`` and ``mbm_total_bytes``."""
    try:
        return frozenset(read(root, "info/L3_MON/mon_features").split())
    except FileNotFoundError:
        return frozenset()


def last_status(root: str) -> str:
    """Return what resctrl says about the last command that failed, as a hint."""
    try:
        fd = os.open(root, DIRECTORY)
        try:
            text = read(fd, "info/last_cmd_status").strip()
        finally:
            os.close(fd)
    except OSError:
        return ""
    return text if text != "ok" else ""


def mount_options(root: int) -> str:
    """Return the options with which the file system of an open root is mounted; empty when it is no resctrl.

    Source: proc(5), mountinfo.
    """
    device = os.fstat(root).st_dev
    name = f"{os.major(device)}:{os.minor(device)}".encode()
    with open("/proc/self/mountinfo", "rb") as file:
        for line in file:
            before, _, after = line.partition(b" - ")
            if after.startswith(b"resctrl ") and before.split(b" ")[2] == name:
                return after.split()[-1].decode("ascii", "replace")
    return ""


def verify(root: int) -> None:
    """Raise FileNotFoundError unless a resctrl file system is open as *root*."""
    if not mount_options(root):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
