"""Whether this process runs from a copy of the interpreter that no container can change."""

from __future__ import annotations

import errno
import fcntl
import os

from orlop_linux.init import syscalls

OVERLAYFS_SUPER_MAGIC = 0x794C7630
"""File system type of overlayfs, see statfs(2) and linux/magic.h."""

SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
"""What makes a memory file constant for good, see fcntl(2)."""


def verify_self() -> bool:
    """Tell whether /proc/self/exe is a sealed memory file or in a read-only overlay that is attached nowhere.

    Only the kernel is asked: what the process was told, by its environment or its arguments, may be a lie.
    """
    exe = os.open("/proc/self/exe", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _is_sealed(exe) or _is_detached_overlay(exe)
    finally:
        os.close(exe)


def _is_sealed(exe: int) -> bool:
    try:
        return fcntl.fcntl(exe, fcntl.F_GET_SEALS) & SEALS == SEALS
    except OSError:
        return False  # EINVAL: no memory file


def _is_detached_overlay(exe: int) -> bool:
    if syscalls.statfs_type(exe) != OVERLAYFS_SUPER_MAGIC:
        return False
    # The root of the host may be an overlay, too, where orlop runs in a container. What tells ours from it is
    # that the file system itself is read-only; with a read-only mount of a writable one, or none, this would
    # be ETXTBSY, because the file is being executed.
    try:
        os.close(os.open("/proc/self/exe", os.O_WRONLY | os.O_CLOEXEC))
    except OSError as error:
        if error.errno != errno.EROFS:
            return False
    else:
        return False
    # And no path leads to it: that of a file in a detached mount begins at the mount's own root.
    try:
        named = os.stat(os.readlink("/proc/self/exe"))
    except OSError:
        return True
    return not os.path.samestat(named, os.fstat(exe))
