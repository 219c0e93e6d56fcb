"""Covering what the container shall not read or change: masked and read-only paths (config-linux.md).

Both run after the root switch, when nothing but the container's own mounts is left. A directory is covered by
an empty file system, a file by the null device: the container's own, verified to be the device 1:3, because
an image's one can be anything. Through a node of the host its root could change the mode and the owner of the
host's /dev/null. A clone of that one, made before the switch, stands in where the container has none. What
covers is read-only in any case, which keeps nobody from opening a device.
"""

from __future__ import annotations

import errno
import os
import stat

from orlop_linux.init import devices, resolve, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orlop_linux.init.context import Context

_NULL = (1, 3)
_CLONE = syscalls.OPEN_TREE_CLONE | syscalls.AT_EMPTY_PATH


def keep_null(context: Context) -> None:
    """Keep the host's /dev/null for containers without one; called while the host's root is still the root.

    Raises:
        OSError: ENXIO: it is not the device 1:3.
    """
    if context.null_fd < 0:
        source = os.open("/dev/null", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            context.null_fd = syscalls.open_tree(source, b"", _CLONE)
        finally:
            os.close(source)
    info = os.fstat(context.null_fd)
    if not stat.S_ISCHR(info.st_mode) or (os.major(info.st_rdev), os.minor(info.st_rdev)) != _NULL:
        raise OSError(errno.ENXIO, "")
    syscalls.mount_setattr(context.null_fd, set_=syscalls.MOUNT_ATTR_RDONLY, propagation=syscalls.MS_PRIVATE)


def empty_filesystem() -> int:
    """Return a detached file system that is empty and read-only."""
    context = syscalls.fsopen(b"tmpfs")
    try:
        for key, value in ((b"source", b"none"), (b"mode", b"0555"), (b"nr_inodes", b"1")):
            syscalls.fsconfig(context, syscalls.FSCONFIG_SET_STRING, key, value)
        syscalls.fsconfig(context, syscalls.FSCONFIG_CMD_CREATE)
        return syscalls.fsmount(
            context,
            syscalls.MOUNT_ATTR_RDONLY
            | syscalls.MOUNT_ATTR_NOSUID
            | syscalls.MOUNT_ATTR_NODEV
            | syscalls.MOUNT_ATTR_NOEXEC,
        )
    finally:
        os.close(context)


def _attach(cover: int, target: int) -> int:
    """Attach *cover* at *target*; return the descriptor of which the next clone can be made.

    Kernels before 6.15 clone only what is attached, so each clone is made of what was attached before.
    """
    try:
        syscalls.move_mount(cover, target)
    except OSError:
        os.close(cover)
        raise
    return cover


def _cover(context: Context, target: int, *, directory: bool) -> None:
    if directory:
        if context.mask_fd < 0:
            context.mask_fd = _attach(empty_filesystem(), target)
        else:
            os.close(_attach(syscalls.open_tree(context.mask_fd, b"", _CLONE), target))
        return
    own = devices.find_null(context)
    if own >= 0:
        try:
            clone = syscalls.open_tree(own, b"", _CLONE)
        finally:
            os.close(own)
        try:
            syscalls.mount_setattr(clone, set_=syscalls.MOUNT_ATTR_RDONLY, propagation=syscalls.MS_PRIVATE)
        except OSError:
            os.close(clone)
            raise
        os.close(_attach(clone, target))
        return
    if context.null_fd < 0:
        raise OSError(errno.EBADF, "")
    try:
        clone = syscalls.open_tree(context.null_fd, b"", _CLONE)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # An older kernel and the first use: attach the original; it can be cloned from then on.
        syscalls.move_mount(context.null_fd, target)
        return
    os.close(_attach(clone, target))


def _open_existing(context: Context, path: str) -> int:
    """Return an O_PATH descriptor of *path*, or -1 when nothing is there.

    Raises:
        OSError: EBUSY: it is the root itself; as path_resolution(7).
    """
    try:
        fd = resolve.open_in_root(context.root_fd, path)
    except (FileNotFoundError, NotADirectoryError):
        return -1
    if os.path.samestat(os.fstat(fd), os.fstat(context.root_fd)):
        os.close(fd)
        raise OSError(errno.EBUSY, "")
    return fd


def mask_path(context: Context, fields: dict[str, Any], _index: int) -> None:
    """Execute MaskPath."""
    target = _open_existing(context, fields["path"])
    if target < 0:
        return
    try:
        _cover(context, target, directory=stat.S_ISDIR(os.fstat(target).st_mode))
    finally:
        os.close(target)


def readonly_path(context: Context, fields: dict[str, Any], _index: int) -> None:
    """Execute ReadonlyPath: a read-only clone of all that is there takes its place at once."""
    target = _open_existing(context, fields["path"])
    if target < 0:
        return
    try:
        clone = syscalls.open_tree(target, b"", _CLONE | syscalls.AT_RECURSIVE)
        try:
            syscalls.mount_setattr(clone, set_=syscalls.MOUNT_ATTR_RDONLY, recursive=True)
            syscalls.move_mount(clone, target)
        finally:
            os.close(clone)
    finally:
        os.close(target)


OPS = {"MaskPath": mask_path, "ReadonlyPath": readonly_path}
