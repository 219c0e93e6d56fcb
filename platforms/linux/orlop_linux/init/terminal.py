"""The container's terminal: a pseudoterminal of its own devpts, verified at both ends (pty(7), devpts)."""

from __future__ import annotations

import _socket as socket
import errno
import fcntl
import os
import stat
import struct

from orlop_linux.init import resolve, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orlop_linux.init.context import Context

_DEVPTS_SUPER_MAGIC = 0x1CD1
_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441
_TIOCSWINSZ = 0x5414
_TIOCSCTTY = 0x540E
_PTMX = (5, 2)
_NAME = b"/dev/pts/ptmx"


def _open_pair(context: Context) -> tuple[int, int]:
    """Return master and slave; the slave comes from the master itself, never by its name."""
    mount = resolve.open_in_root(context.root_fd, "/dev/pts", os.O_PATH | os.O_DIRECTORY)
    try:
        if syscalls.statfs_type(mount) != _DEVPTS_SUPER_MAGIC:
            raise OSError(errno.ENODEV, "")
        master = os.open("ptmx", os.O_RDWR | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=mount)
    finally:
        os.close(mount)
    info = os.fstat(master)
    if not stat.S_ISCHR(info.st_mode) or (os.major(info.st_rdev), os.minor(info.st_rdev)) != _PTMX:
        raise OSError(errno.ENXIO, "")
    fcntl.ioctl(master, _TIOCSPTLCK, b"\0\0\0\0")
    return master, fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)


def _bind_console(context: Context, slave: int) -> None:
    """Bind the slave over /dev/console, which is made new or stands there as no symbolic link."""
    parent, name = resolve.split_parent(context.root_fd, "/dev/console")
    try:
        try:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(name, flags, 0o600, dir_fd=parent))
        except FileExistsError:
            pass
        target = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            if stat.S_ISLNK(os.fstat(target).st_mode):
                raise OSError(errno.ELOOP, "")
            flags = syscalls.OPEN_TREE_CLONE | syscalls.AT_EMPTY_PATH
            tree = syscalls.open_tree(slave, b"", flags)
            try:
                syscalls.move_mount(tree, target)
            finally:
                os.close(tree)
        finally:
            os.close(target)
    finally:
        os.close(parent)


def open_terminal(context: Context, fields: dict[str, Any], _index: int) -> None:
    """Execute OpenTerminal."""
    master, slave = _open_pair(context)
    if fields["height"] or fields["width"]:
        size = struct.pack("4H", fields["height"] & 0xFFFF, fields["width"] & 0xFFFF, 0, 0)
        fcntl.ioctl(master, _TIOCSWINSZ, size)
    os.fchown(slave, fields["uid"], -1)
    if "mount" in context.new_namespaces:
        _bind_console(context, slave)
    console = socket.socket(fileno=context.console_fd)
    try:
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", master))
        console.sendmsg([_NAME], [rights], socket.MSG_NOSIGNAL)
    finally:
        console.close()
    os.close(master)
    os.setsid()
    fcntl.ioctl(slave, _TIOCSCTTY, 0)
    for number in (0, 1, 2):
        os.dup2(slave, number)
    os.close(slave)


OPS = {"OpenTerminal": open_terminal}
