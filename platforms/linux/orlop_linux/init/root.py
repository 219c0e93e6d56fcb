"""Making a detached mount the container's root, and entering it: pivot_root(2), mount_namespaces(7).

The engine sends the root as a detached tree. It is attached over ``/`` of the container's own mount
namespace, where no path leads to it, and entered by its descriptor; the old root comes off afterwards. No
path of the host or of the image is resolved on the way.
"""

from __future__ import annotations

import errno
import os
import stat

from orlop_linux.init import attributes, failure, procfs, protect, syscalls
from orlop_linux.init.failure import At, Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orlop_linux.init.context import Context

_REVEALING = frozenset({b"proc", b"sysfs"})


def _open_root() -> int:
    return os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def prepare_root(context: Context, fields: dict[str, Any], _index: int) -> None:
    """Execute PrepareRoot."""
    tree = context.take("root")
    context.root_fd = tree
    if not stat.S_ISDIR(os.fstat(tree).st_mode):
        raise OSError(errno.ENOTDIR, "")
    if not fields["own_namespace"]:
        if fields["bound"]:
            _bind_root(context, os.fsencode(fields["path"]))
        return
    flag, recursive = attributes.propagation_of(fields["propagation"])
    old = _open_root()
    try:
        # Whatever the container shares with the host comes from the engine. A mount of the old root that is
        # still shared would be taken off on the host as well (mount_namespaces(7)).
        syscalls.mount_setattr(old, propagation=syscalls.MS_SLAVE, recursive=True)
        if flag != syscalls.MS_SHARED:
            syscalls.mount_setattr(old, propagation=flag, recursive=recursive)
        # pivot_root(2) refuses a shared parent, and the attached root would appear on the host.
        syscalls.mount_setattr(old, propagation=syscalls.MS_PRIVATE)
        protect.keep_null(context)
        syscalls.move_mount(tree, old)
    finally:
        os.close(old)


def _bind_root(context: Context, path: bytes) -> None:
    """Attach the root over itself in a mount namespace that others use as well.

    The path leads to the same directory there, or nothing is done: the engine, which has journalled the
    mount, and this namespace may have different ideas of it.

    Raises:
        Refusal: ESTALE: it is another directory; EBUSY: it is the root directory of the namespace.
        OSError: As openat2(2) and move_mount(2).
    """
    with At(failure.DETAIL_ROOT):
        place = syscalls.openat2(
            syscalls.AT_FDCWD, path, os.O_PATH | os.O_DIRECTORY, syscalls.RESOLVE_NO_MAGICLINKS
        )
    try:
        info = os.fstat(place)
        if not os.path.samestat(info, os.fstat(context.root_fd)):
            raise Refusal(errno.ESTALE, failure.DETAIL_ROOT)
        if os.path.samestat(info, os.stat("/")):
            raise Refusal(errno.EBUSY, failure.DETAIL_ROOT)
        protect.keep_null(context)
        syscalls.move_mount(context.root_fd, place)
    finally:
        os.close(place)
    # Below a shared mount it has become shared itself; what is mounted in it stays here.
    syscalls.mount_setattr(context.root_fd, propagation=syscalls.MS_PRIVATE)


def switch_root(context: Context, fields: dict[str, Any], _index: int) -> None:
    """Execute SwitchRoot."""
    context.seal()
    method = fields["method"]
    if method == "pivot":
        _pivot(context)
    elif method in {"move", "chroot"}:
        if method == "move":
            _uncover(context)
        os.fchdir(context.root_fd)
        os.chroot(".")
    else:
        raise OSError(errno.EINVAL, "")
    os.chdir("/")


def _pivot(context: Context) -> None:
    """Put the old root on top of the new one, where the current directory is, and take it off."""
    old = _open_root()
    try:
        os.fchdir(context.root_fd)
        syscalls.pivot_root(b".", b".")
        # Still shared mounts of the old tree would be unmounted on the host as well.
        syscalls.mount_setattr(old, propagation=syscalls.MS_SLAVE, recursive=True)
    finally:
        os.close(old)
    syscalls.umount2(b".", syscalls.MNT_DETACH)


def _uncover(context: Context) -> None:
    """Take procfs and sysfs mounts off the old root, which stays below the new one.

    In a user namespace the kernel allows new ones only as far as a fully visible one is there
    (mount_namespaces(7)); masks on the container's own would be pointless with the host's around.
    """
    tree = _mount_id(context)
    parents: dict[bytes, bytes] = {}
    found: list[tuple[bytes, bytes]] = []
    for line in _read(context, b"self/mountinfo").split(b"\n"):
        words = line.split(b" ")
        if b"-" not in words:
            continue
        parents[words[0]] = words[1]
        if words[words.index(b"-") + 1] in _REVEALING:
            found.append((words[0], words[4]))
    for mount, path in reversed(found):
        if not _is_below(mount, tree, parents):
            _remove(path)


def _mount_id(context: Context) -> bytes:
    for line in _read(context, b"self/fdinfo/%d" % context.root_fd).split(b"\n"):
        if line.startswith(b"mnt_id:"):
            return line[7:].strip()
    raise OSError(errno.ENOTSUP, "")


def _read(context: Context, path: bytes) -> bytes:
    fd = procfs.open_file(context.proc_fd, b"%d/%b" % (os.getpid(), path.removeprefix(b"self/")), os.O_RDONLY)
    try:
        data = b""
        while chunk := os.read(fd, 65536):
            data += chunk
        return data
    finally:
        os.close(fd)


def _is_below(mount: bytes, tree: bytes, parents: dict[bytes, bytes]) -> bool:
    seen: set[bytes] = set()
    while mount not in seen:
        if mount == tree:
            return True
        seen.add(mount)
        mount = parents.get(mount, mount)
    return False


def _unescape(path: bytes) -> bytes:
    """Return a path of mountinfo without its octal escapes, proc_pid_mountinfo(5)."""
    head, *rest = path.split(b"\\")
    return head + b"".join(bytes((int(part[:3], 8),)) + part[3:] for part in rest)


def _remove(path: bytes) -> None:
    try:
        target = os.open(_unescape(path), os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # it went with the mount above it
    try:
        os.fchdir(target)
        syscalls.umount2(b".", syscalls.MNT_DETACH)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EPERM):
            raise
        # Locked by the owner of another user namespace: it can only be covered.
        cover = protect.empty_filesystem()
        try:
            syscalls.move_mount(cover, target)
        finally:
            os.close(cover)
    finally:
        os.close(target)


def set_root_propagation(context: Context, fields: dict[str, Any], _index: int) -> None:
    """Execute SetRootPropagation."""
    attributes.apply_propagation(context.root_fd, (fields["propagation"],))


def make_root_readonly(context: Context, _fields: dict[str, Any], _index: int) -> None:
    """Execute MakeRootReadonly."""
    syscalls.mount_setattr(context.root_fd, set_=syscalls.MOUNT_ATTR_RDONLY)


OPS = {
    "PrepareRoot": prepare_root,
    "SwitchRoot": switch_root,
    "SetRootPropagation": set_root_propagation,
    "MakeRootReadonly": make_root_readonly,
}
