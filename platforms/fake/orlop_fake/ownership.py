"""Whose a file is through an id-mapped mount: mount_setattr(2), "ID-mapped mounts"."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from orlop_fake.refusals import refusal

if TYPE_CHECKING:
    from orlop_fake.mounts import Location, Mount
    from orlop_fake.namespaces import UserNamespace

OVERFLOW = 65534
"""The id in place of one that has no mapping (user_namespaces(7))."""


def shown(where: Location, user: UserNamespace) -> tuple[int, int]:
    """Return owner and group of *where* as processes in user namespace *user* see them.

    Only id-mapped mounts change anything: this machine keeps the ids that a container's processes use.
    """
    node, idmap = where.node, where.mount.idmap
    if idmap is None:
        return node.uid, node.gid
    found = []
    for kind, number in (("uid", node.uid), ("gid", node.gid)):
        outside = next(
            (to + number - first for first, to, size in idmap[kind] if first <= number < first + size), None
        )
        inside = None if outside is None else user.from_host(kind, outside)
        found.append(OVERFLOW if inside is None else inside)
    return found[0], found[1]


def stored(mount: Mount, user: UserNamespace, uid: int, gid: int) -> tuple[int, int]:
    """Return the owner and group that the file system notes for what ids *uid* and *gid* of *user* make.

    Raises:
        OSError: EOVERFLOW: the mount maps nothing to one of them.
    """
    if mount.idmap is None:
        return uid, gid
    found = []
    for kind, number in (("uid", uid), ("gid", gid)):
        outside = user.to_host(kind, number)
        inside = next(
            (
                first + outside - to
                for first, to, size in mount.idmap[kind]
                if outside is not None and to <= outside < to + size
            ),
            None,
        )
        if inside is None:
            raise refusal(errno.EOVERFLOW, mount.path)
        found.append(inside)
    return found[0], found[1]
