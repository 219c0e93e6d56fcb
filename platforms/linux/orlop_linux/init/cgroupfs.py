"""Showing the container its cgroups: cgroup_namespaces(7), cgroups(7).

One hierarchy for all (cgroup v2) is mounted at the destination itself. Several ones (v1, hybrid) get a tmpfs
with a directory for each, and links for controllers that share one.
"""

from __future__ import annotations

import errno
import os

from orlop_linux.init import attributes, failure, mounts, resolve, syscalls
from orlop_linux.init.failure import At

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orlop_linux.init.context import Context

CONTROLLERS = frozenset(
    {
        "blkio", "cpu", "cpuacct", "cpuset", "debug", "devices", "freezer", "hugetlb", "memory", "misc",
        "net_cls", "net_prio", "perf_event", "pids", "rdma",
    }
)  # fmt: skip
"""Controllers of cgroup v1; a hierarchy with another name has none and is known by ``name=``."""

UNIFIED = ("", "unified")
"""Names of the v2 hierarchy: alone, and beside v1 ones."""


def _fresh(name: str) -> int:
    """Return a new mount of hierarchy *name*, with the root of the caller's cgroup namespace as its root."""
    if name in UNIFIED:
        return mounts.new_filesystem("cgroup2", "cgroup2", ())
    parts = name.split(",")
    data = parts if CONTROLLERS.issuperset(parts) else ["none", f"name={name}"]
    return mounts.new_filesystem("cgroup", "cgroup", data)


def _hierarchy(context: Context, name: str, key: str, fields: dict[str, Any]) -> int:
    """Return a mount of one hierarchy with its attributes.

    The container's own directory is the root of a cgroup namespace that was made for it, so the engine's tree
    of it shows all there is. The root of somebody else's namespace only shows in a new mount.
    """
    mount = -1
    if fields["own_namespace"] and ("cgroup" not in context.new_namespaces or not context.has(key)):
        try:
            mount = _fresh(name)
        except OSError:
            # A user namespace may mount only what it owns, and v1 only exactly the set of controllers that
            # exists.
            if not context.has(key):
                raise
    if mount < 0:
        mount = context.take(key)
    else:
        context.discard(key)
    try:
        attributes.apply_attributes(mount, fields["attributes"], fields["cleared"], fields["recursive"])
    except OSError:
        os.close(mount)
        raise
    return mount


def _check_name(name: str) -> str:
    if name in ("", ".", "..") or "/" in name:
        raise OSError(errno.EINVAL, "")
    return name


def _attach_all(context: Context, place: int, fields: dict[str, Any], index: int) -> None:
    """Attach each hierarchy below the tmpfs *place*; nobody else can reach it yet."""
    for number, (name, aliases) in enumerate(context.cgroup_mounts):
        os.mkdir(_check_name(name), 0o755, dir_fd=place)
        point = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
        try:
            mount = _hierarchy(context, name, f"cgroup:{index}:{number}", fields)
            try:
                syscalls.move_mount(mount, point)
            finally:
                os.close(mount)
        finally:
            os.close(point)
        for alias in aliases:
            if alias != name:
                os.symlink(name, _check_name(alias), dir_fd=place)


def mount_cgroup(context: Context, fields: dict[str, Any], index: int) -> None:
    """Execute MountCgroup."""
    with At(failure.DETAIL_TARGET):
        target = resolve.make_directory(context.root_fd, fields["destination"])
    try:
        if [name for name, _ in context.cgroup_mounts] == [""]:
            mount = _hierarchy(context, "", f"cgroup:{index}:0", fields)
            try:
                mounts.attach(context, mount, target, fields)
            finally:
                os.close(mount)
            return
        writable = tuple(name for name in fields["attributes"] if name != "ro")
        place = mounts.new_filesystem("tmpfs", "tmpfs", ("mode=0755",), (), attributes.mask_of(writable))
        try:
            mounts.attach(context, place, target, {**fields, "propagation": ()})
            _attach_all(context, place, fields, index)
            attributes.apply_attributes(place, fields["attributes"], fields["cleared"], fields["recursive"])
            attributes.apply_propagation(place, fields["propagation"])
        finally:
            os.close(place)
    finally:
        os.close(target)


OPS = {"MountCgroup": mount_cgroup}
