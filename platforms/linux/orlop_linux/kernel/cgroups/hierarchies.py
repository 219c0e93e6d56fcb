"""Which cgroup hierarchies this host has mounted, and where in each the caller is.

From /proc/self/mountinfo (proc(5)) and /proc/self/cgroup (cgroups(7)). A host is *v1* (one hierarchy for each
controller or set of co-mounted controllers), *v2* (one unified hierarchy), or *hybrid*: v1 with a cgroup2
mount beside it, which holds what no v1 hierarchy has claimed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_FLAGS = frozenset(
    {"rw", "ro", "all", "none", "noprefix", "clone_children", "xattr", "cpuset_v2_mode", "favordynmods"}
)
_GENERIC = ("relatime", "seclabel")


_last: tuple[tuple[str, bytes, bytes], list[Hierarchy]] | None = None
"""The last answer and what it was made of: as long as nothing is mounted it stays right."""


class Hierarchy:
    """One mounted hierarchy."""

    __slots__ = ("controllers", "mount", "own", "version")

    def __init__(self, mount: str, version: int, controllers: Sequence[str], own: tuple[str, ...]) -> None:
        """Keep what was found.

        Args:
            mount: Absolute path of the mount point.
            version: 1 or 2.
            controllers: Controllers of a v1 hierarchy, ``name=systemd`` for a named one; empty for version 2.
            own: The caller's own cgroup, as components below the mount point.
        """
        self.mount = mount
        self.version = version
        self.controllers = tuple(controllers)
        self.own = own

    @property
    def named(self) -> bool:
        """True for a v1 hierarchy without controllers, such as systemd's own."""
        return self.version == 1 and all(name.startswith("name=") for name in self.controllers)

    @property
    def shown_as(self) -> str:
        """The name of its directory below /sys/fs/cgroup by convention: ``cpu,cpuacct``, ``systemd``."""
        return ",".join(name.removeprefix("name=") for name in self.controllers)


def find_hierarchies(root: str = "", proc: str = "/proc/self") -> list[Hierarchy]:
    """Return the hierarchies that are mounted at or below *root* (empty: anywhere), v1 first.

    Args:
        root: Only mount points at or below this directory are looked at.
        proc: The directory whose ``mountinfo`` and ``cgroup`` describe the caller.
    """
    global _last  # noqa: PLW0603 - replaced as a whole, so that threads see the old one or the new one
    mountinfo, own = _read(f"{proc}/mountinfo"), _read(f"{proc}/cgroup")
    key = (root, mountinfo, own)
    if _last is None or _last[0] != key:
        _last = (key, _find(root, mountinfo, own))
    return _last[1]


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        parts = []
        while part := file.read(1 << 16):
            parts.append(part)
    return b"".join(parts)


def _find(root: str, mountinfo: bytes, own: bytes) -> list[Hierarchy]:
    membership = _parse_membership(os.fsdecode(own))
    found: dict[tuple[str, ...], Hierarchy] = {}
    for mount, device, inside, version, controllers in _cgroup_mounts(mountinfo):
        key = controllers or ("",)
        if key in found or not _is_below(mount, root) or not _is_visible(mount, device):
            continue
        path = membership.get(key[0], "/")
        found[key] = Hierarchy(mount, version, controllers, _relative(path, inside))
    return sorted(found.values(), key=lambda one: one.version)


def is_unified(hierarchies: Sequence[Hierarchy]) -> bool:
    """Tell whether cgroup v2 has all controllers: no v1 hierarchy with a controller is mounted."""
    return any(one.version == 2 for one in hierarchies) and all(
        one.version == 2 or one.named for one in hierarchies
    )


def _cgroup_mounts(mountinfo: bytes) -> Iterator[tuple[str, int, str, int, tuple[str, ...]]]:
    for line in mountinfo.splitlines():
        # A host with many containers has thousands of lines; those of cgroups are few.
        if b" - cgroup" not in line:
            continue
        before, _, after = line.partition(b" - ")
        fields, details = before.split(b" "), after.split(b" ")
        if details[0] not in {b"cgroup", b"cgroup2"}:
            continue
        major, _, minor = fields[2].partition(b":")
        version = 1 if details[0] == b"cgroup" else 2
        controllers: list[str] = []
        if version == 1:
            for option in _unescape(details[2]).split(","):
                if (
                    option not in _FLAGS
                    and option not in _GENERIC
                    and not option.startswith("release_agent=")
                ):
                    controllers.append(option)  # noqa: PERF401 - three conditions read better in a loop
        yield (
            _unescape(fields[4]),
            os.makedev(int(major), int(minor)),
            _unescape(fields[3]),
            version,
            tuple(controllers),
        )


def _unescape(field: bytes) -> str:
    r"""Undo mountinfo's octal escapes: ``\040`` is a space."""
    if b"\\" in field:
        parts = field.split(b"\\")
        field = parts[0] + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in parts[1:])
    return os.fsdecode(field)


def _parse_membership(text: str) -> dict[str, str]:
    """Return the caller's cgroup path by controller; the unified hierarchy has the empty name."""
    paths: dict[str, str] = {}
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for name in controllers.split(","):
            paths[name] = path
    return paths


def _is_below(mount: str, root: str) -> bool:
    return not root or mount == root or mount.startswith(root.rstrip("/") + "/")


def _is_visible(mount: str, device: int) -> bool:
    """Tell whether the mount point still shows that mount: another one may lie over it."""
    try:
        return os.stat(mount, follow_symlinks=False).st_dev == device
    except OSError:
        return False


def _relative(path: str, inside: str) -> tuple[str, ...]:
    """Return *path* below *inside*, the directory of the hierarchy that is mounted.

    A caller outside of what is mounted, or outside of its cgroup namespace's root (``/..``), counts as in the
    mount's root.
    """
    parts = [part for part in path.split("/") if part]
    base = [part for part in inside.split("/") if part]
    if ".." in parts or parts[: len(base)] != base:
        return ()
    return tuple(parts[len(base) :])
