"""What the names of mount options mean to the kernel: mount_setattr(2), fsconfig(2), mount(2)."""

from __future__ import annotations

import errno
import os

from orlop_linux.init import failure, syscalls
from orlop_linux.init.failure import At

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ATTRIBUTES = {
    "ro": syscalls.MOUNT_ATTR_RDONLY,
    "nosuid": syscalls.MOUNT_ATTR_NOSUID,
    "nodev": syscalls.MOUNT_ATTR_NODEV,
    "noexec": syscalls.MOUNT_ATTR_NOEXEC,
    "nodiratime": syscalls.MOUNT_ATTR_NODIRATIME,
    "nosymfollow": syscalls.MOUNT_ATTR_NOSYMFOLLOW,
}
"""Attributes that are there or not."""

ACCESS_TIMES = {
    "noatime": syscalls.MOUNT_ATTR_NOATIME,
    "relatime": syscalls.MOUNT_ATTR_RELATIME,
    "strictatime": syscalls.MOUNT_ATTR_STRICTATIME,
}
"""Attributes of which a mount has exactly one."""

_ST_NOATIME = 0x400
_ST_RELATIME = 0x1000

PROPAGATIONS = {
    "private": syscalls.MS_PRIVATE,
    "slave": syscalls.MS_SLAVE,
    "shared": syscalls.MS_SHARED,
    "unbindable": syscalls.MS_UNBINDABLE,
}
"""Propagation types; a leading ``r`` means the mounts below as well."""

SUPERBLOCK = ("ro", "sync", "dirsync", "lazytime", "mand")
"""Flags of a file system that fsconfig(2) knows by these names."""

FLAGS = {
    "ro": syscalls.MS_RDONLY,
    "nosuid": 0x2,
    "nodev": 0x4,
    "noexec": 0x8,
    "sync": 0x10,
    "mand": 0x40,
    "dirsync": 0x80,
    "nosymfollow": 0x100,
    "noatime": 0x400,
    "nodiratime": 0x800,
    "silent": 0x8000,
    "relatime": 1 << 21,
    "iversion": 1 << 23,
    "strictatime": 1 << 24,
    "lazytime": 1 << 25,
}
"""The same options as flags of mount(2)."""


def mask_of(names: Iterable[str]) -> int:
    """Return the attributes to set for fsmount(2).

    Raises:
        OSError: EINVAL: a name is unknown.
    """
    mask = 0
    for name in names:
        if name in ACCESS_TIMES:
            mask = mask & ~syscalls.MOUNT_ATTR__ATIME | ACCESS_TIMES[name]
        elif name in ATTRIBUTES:
            mask |= ATTRIBUTES[name]
        else:
            raise OSError(errno.EINVAL, "")
    return mask


def _access_time(fd: int) -> str:
    """Return the attribute of :data:`ACCESS_TIMES` that the mount *fd* has."""
    flags = os.fstatvfs(fd).f_flag
    if flags & _ST_NOATIME:
        return "noatime"
    return "relatime" if flags & _ST_RELATIME else "strictatime"


def apply_attributes(
    fd: int, attributes: Iterable[str], cleared: Iterable[str], recursive: Sequence[tuple[str, bool]] = ()
) -> None:
    """Set and clear attributes of the mount *fd*, then *recursive* pairs of (name, set) there and below.

    Switching off a way to keep access times leads back to the kernel's own, ``relatime``.

    Raises:
        OSError: EPERM: an attribute is locked by the owner of another user namespace (mount_namespaces(7)).
    """
    wanted = tuple(attributes)
    set_ = mask_of(wanted)
    clear = 0
    if not ACCESS_TIMES.keys().isdisjoint(wanted):
        clear |= syscalls.MOUNT_ATTR__ATIME
    for name in cleared:
        if name in ACCESS_TIMES:
            if not clear & syscalls.MOUNT_ATTR__ATIME and _access_time(fd) == name:
                clear |= syscalls.MOUNT_ATTR__ATIME
        else:
            clear |= mask_of((name,))
    with At(failure.DETAIL_ATTRIBUTES):
        if set_ or clear:
            syscalls.mount_setattr(fd, set_=set_, clear=clear)
        if recursive:
            _apply_recursive(fd, recursive)


def _apply_recursive(fd: int, pairs: Sequence[tuple[str, bool]]) -> None:
    set_ = clear = 0
    for name, value in pairs:
        if name in ACCESS_TIMES:
            if value or name != "relatime":
                clear |= syscalls.MOUNT_ATTR__ATIME
                set_ = set_ & ~syscalls.MOUNT_ATTR__ATIME | (ACCESS_TIMES[name] if value else 0)
            continue
        bit = mask_of((name,))
        set_ = set_ | bit if value else set_ & ~bit
        clear = clear & ~bit if value else clear | bit
    syscalls.mount_setattr(fd, set_=set_, clear=clear, recursive=True)


def propagation_of(name: str) -> tuple[int, bool]:
    """Return the propagation type *name* as its MS flag, and whether it goes for the mounts below as well.

    Raises:
        OSError: EINVAL: the name is unknown.
    """
    recursive = name not in PROPAGATIONS
    flag = PROPAGATIONS.get(name[1:] if recursive and name[:1] == "r" else name, 0)
    if not flag:
        raise OSError(errno.EINVAL, "")
    return flag, recursive


def apply_propagation(fd: int, names: Iterable[str]) -> None:
    """Set the propagation types *names* on the mount *fd*, in order."""
    for name in names:
        flag, recursive = propagation_of(name)
        syscalls.mount_setattr(fd, propagation=flag, recursive=recursive)


def flags_of(names: Iterable[str]) -> int:
    """Return the flags of mount(2) for attributes and superblock flags.

    Raises:
        OSError: EINVAL: a name is unknown.
    """
    flags = 0
    for name in names:
        if name not in FLAGS:
            raise OSError(errno.EINVAL, "")
        flags |= FLAGS[name]
    return flags
