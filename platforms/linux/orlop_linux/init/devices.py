"""Device nodes and symbolic links below the root (config-linux.md, Devices, Default Devices).

The last component is never followed: what the image has there is kept if it is what was asked for, or is an
error.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from orlop_linux.init import procfs, resolve, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orlop_linux.init.context import Context

_TYPES = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}
_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_NULL = os.makedev(1, 3)


def _is_node(info: os.stat_result, kind: int, device: int) -> bool:
    return stat.S_IFMT(info.st_mode) == kind and (kind == stat.S_IFIFO or info.st_rdev == device)


def create_device(context: Context, fields: dict[str, Any], index: int) -> None:
    """Execute CreateDevice.

    Raises:
        OSError: EEXIST: something else is there; EPERM: the kernel allows no such node and the engine sent
            none.
    """
    kind = _TYPES.get(fields["type"], 0)
    if not kind:
        raise OSError(errno.EINVAL, "")
    device = 0 if kind == stat.S_IFIFO else os.makedev(fields["major"], fields["minor"])
    parent, name = resolve.split_parent(context.root_fd, fields["path"])
    try:
        key = f"device:{index}"
        # In a user namespace the kernel makes no device nodes, or makes some that cannot be opened.
        if not (context.has_userns and context.has(key)):
            try:
                _make(parent, name, kind | fields["mode"] & 0o7777, device, (fields["uid"], fields["gid"]))
            except (PermissionError, FileExistsError):
                # What is there may be an empty file, over which a node has been bound before.
                if not context.has(key):
                    raise
            else:
                context.discard(key)
                return
        _bind(context.take(key), parent, name, kind, device)
    finally:
        os.close(parent)


def _make(parent: int, name: str, mode: int, device: int, owner: tuple[int, int]) -> None:
    try:
        os.mknod(name, mode, device, dir_fd=parent)
    except FileExistsError:
        made = False
    else:
        made = True
    node = os.open(name, _STEP, dir_fd=parent)
    try:
        info = os.fstat(node)
        if not _is_node(info, stat.S_IFMT(mode), device):
            raise OSError(errno.EEXIST, "")
        if made and (info.st_uid, info.st_gid) != owner:
            syscalls.fchownat(node, *owner)
    finally:
        os.close(node)


def _bind(tree: int, parent: int, name: str, kind: int, device: int) -> None:
    """Attach the host's node *tree*, verified to be the right one, over a file."""
    try:
        if not _is_node(os.fstat(tree), kind, device):
            raise OSError(errno.ENXIO, "")
        try:
            os.mknod(name, stat.S_IFREG | 0o644, dir_fd=parent)
        except FileExistsError:
            pass
        target = os.open(name, _STEP, dir_fd=parent)
        try:
            found = os.fstat(target)
            empty = stat.S_ISREG(found.st_mode) and not found.st_size
            if not empty and not _is_node(found, kind, device):
                raise OSError(errno.EEXIST, "")
            syscalls.move_mount(tree, target)
        finally:
            os.close(target)
    finally:
        os.close(tree)


def adopt_null(context: Context) -> None:
    """Make standard streams that are the host's null device the container's own one.

    Otherwise it would have a node of the host, in a mount that is not its own, to open by /proc/self/fd, and
    its root would change the node's mode and owner. Where the container has no null device, or may not open
    it, the stream becomes the host's in the read-only clone that is kept for masks; a process that joins has
    none, and keeps what it was given.
    """
    held = -1
    for stream in (0, 1, 2):
        try:
            if not _is_node(os.fstat(stream), stat.S_IFCHR, _NULL):
                continue
            mode = fcntl.fcntl(stream, fcntl.F_GETFL) & os.O_ACCMODE
        except OSError:
            continue
        try:
            if held < 0:
                held = _open_dev(context)
            null = _open_null(held, mode)
        except OSError:
            null = -1
        if null < 0 <= context.null_fd:
            null = _open_kept(context, mode)
        if null >= 0:
            os.dup2(null, stream)
            os.close(null)
    if held >= 0:
        os.close(held)


def _open_kept(context: Context, mode: int) -> int:
    try:
        return procfs.reopen(context.proc_fd, context.null_fd, mode)
    except OSError:
        return -1


def find_null(context: Context) -> int:
    """Return an O_PATH descriptor of the container's own null device, or -1 where it has none."""
    try:
        held = _open_dev(context)
    except OSError:
        return -1
    try:
        node = os.open("null", _STEP, dir_fd=held)
    except OSError:
        return -1
    finally:
        os.close(held)
    if _is_node(os.fstat(node), stat.S_IFCHR, _NULL):
        return node
    os.close(node)
    return -1


def _open_dev(context: Context) -> int:
    return resolve.open_in_root(context.root_fd, "/dev", os.O_PATH | os.O_DIRECTORY)


def _open_null(directory: int, mode: int) -> int:
    """Return the null device in *directory* opened with *mode*, or -1 where it is anything else.

    It is looked at before it is opened: to open a device, a pipe or a file of an image can have effects.
    """
    node = os.open("null", _STEP, dir_fd=directory)
    try:
        expected = os.fstat(node)
    finally:
        os.close(node)
    if not _is_node(expected, stat.S_IFCHR, _NULL):
        return -1
    careful = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    null = os.open("null", mode | careful, dir_fd=directory)
    if not _is_node(os.fstat(null), stat.S_IFCHR, _NULL):
        os.close(null)  # somebody who shares the directory has exchanged it
        return -1
    fcntl.fcntl(null, fcntl.F_SETFL, 0)
    return null


def create_symlink(context: Context, fields: dict[str, Any], _index: int) -> None:
    """Execute CreateSymlink.

    Raises:
        OSError: EEXIST: something else is there that may not be replaced.
    """
    target = fields["target"]
    resolve.encode(target)
    parent, name = resolve.split_parent(context.root_fd, fields["path"])
    try:
        try:
            os.symlink(target, name, dir_fd=parent)
        except FileExistsError:
            if _has_link(parent, name, target):
                return
            if not fields["replace"]:
                raise
            _unlink(parent, name)
            os.symlink(target, name, dir_fd=parent)
    finally:
        os.close(parent)


def _has_link(parent: int, name: str, target: str) -> bool:
    try:
        return os.readlink(name, dir_fd=parent) == target
    except OSError:
        return False  # no link, which the caller finds out


def _unlink(parent: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        raise OSError(errno.EEXIST, "") from None


OPS = {"CreateDevice": create_device, "CreateSymlink": create_symlink}
