"""A procfs that the container cannot replace: opened before the config's mounts, never attached anywhere."""

from __future__ import annotations

import errno
import os

from orlop_linux.init import syscalls

PROC_SUPER_MAGIC = 0x9FA0
_BENEATH = (
    syscalls.RESOLVE_BENEATH
    | syscalls.RESOLVE_NO_XDEV
    | syscalls.RESOLVE_NO_MAGICLINKS
    | syscalls.RESOLVE_NO_SYMLINKS
)


def open_private(*, new_pid_namespace: bool) -> int:
    """Return a descriptor of a procfs root.

    A new instance shows the caller's pid namespace. Where the kernel refuses one (a pid namespace that
    belongs to another user namespace, proc(5)), the host's own mount serves: the container's mounts are not
    there yet.

    Raises:
        OSError: What is at /proc is no procfs.
    """
    if new_pid_namespace:
        try:
            context = syscalls.fsopen(b"proc")
            try:
                syscalls.fsconfig(context, syscalls.FSCONFIG_CMD_CREATE)
                return syscalls.fsmount(context, syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NOEXEC)
            finally:
                os.close(context)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EBUSY, errno.EINVAL):
                raise
    fd = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if syscalls.statfs_type(fd) != PROC_SUPER_MAGIC:
        os.close(fd)
        raise OSError(errno.EXDEV, "")
    return fd


def open_file(proc_fd: int, path: bytes, flags: int) -> int:
    """Open *path* below the procfs root *proc_fd*: no symbolic link, no other mount is crossed."""
    return syscalls.openat2(proc_fd, path, flags, _BENEATH)


def reopen(proc_fd: int, fd: int, mode: int) -> int:
    """Return a new descriptor of the file behind *fd*, which may be O_PATH, opened with *mode*."""
    own = os.open(b"%b/fd" % os.readlink(b"self", dir_fd=proc_fd), os.O_PATH | os.O_CLOEXEC, dir_fd=proc_fd)
    try:
        return os.open(b"%d" % fd, mode | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=own)
    finally:
        os.close(own)


def write(proc_fd: int, path: bytes, data: bytes) -> None:
    """Write *data* to a procfs file in one write."""
    fd = open_file(proc_fd, path, os.O_WRONLY)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)
