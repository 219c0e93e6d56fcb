"""The root of a container that shares a mount namespace: the one mount under which all others of it are.

It is known by its mount id before it is attached (proc_pid_fdinfo(5)), and everything below goes with it.
Mount ids are used again, so the path must be the container's, too. Another mount namespace is entered by a
thread of its own: setns(2) needs one that shares its root directory with nobody.
"""

from __future__ import annotations

import errno
import os

from orlop_hookspecs.errors import StepError, StoreError
from orlop_linux.live.process import reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from orlop_hookspecs.record import Record

_CLONE_FS = 0x00000200
_CLONE_NEWNS = 0x00020000


def mount_id(fd: int) -> int:
    """Return the id of the mount that *fd* is on, which may be detached."""
    with open(f"/proc/thread-self/fdinfo/{fd}", encoding="ascii") as file:
        for line in file:
            if line.startswith("mnt_id:"):
                return int(line[7:])
    raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))


def namespace_of(process: str) -> list[int]:
    """Return what tells the mount namespace of a directory of procfs from every other one."""
    info = os.stat(f"/proc/{process}/ns/mnt")
    return [info.st_dev, info.st_ino]


def undo(record: Record, data: Mapping[str, Any]) -> None:
    """Undo a journal entry ``mount``: ``{"id", "path", "namespace"}``. Idempotent.

    Raises:
        StoreError: The entry is malformed; nothing was touched.
        StepError: The mount is there and cannot be taken off.
    """
    number, path, namespace = data.get("id"), data.get("path"), data.get("namespace")
    if (
        type(number) is not int
        or not isinstance(path, str)
        or not path.startswith("/")
        or not isinstance(namespace, list)
        or [type(part) for part in namespace] != [int, int]
    ):
        raise StoreError(
            "the journal is not usable: mount entry is malformed", container=record.id, value=dict(data)
        )
    try:
        if namespace_of("thread-self") == namespace:
            _detach(number, path)
        else:
            _detach_elsewhere(number, path, namespace)
    except OSError as error:
        raise StepError(
            f"cannot unmount the container's root: {reason(error)}",
            path=path,
            errno=error.errno,
            hint="the mounts are the container's own; delete it again when nothing is mounted over them",
        ) from error


def _detach(number: int, path: str) -> None:
    """Take mount *number* at *path* off, with all below it, if it is in this namespace.

    Raises:
        OSError: EBUSY: something is mounted over it; as umount2(2).
    """
    from orlop_linux.init import syscalls

    if not _is_there(number, os.fsencode(path)):
        return
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if mount_id(fd) != number:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        syscalls.umount2(b"/proc/thread-self/fd/%d" % fd, syscalls.MNT_DETACH)
    finally:
        os.close(fd)


def _is_there(number: int, path: bytes) -> bool:
    with open("/proc/thread-self/mountinfo", "rb") as file:
        for line in file:
            words = line.split(b" ")
            if int(words[0]) == number:
                return _unescape(words[4]) == path
    return False


def _unescape(path: bytes) -> bytes:
    """Return a path of mountinfo without its octal escapes, proc_pid_mountinfo(5)."""
    head, *rest = path.split(b"\\")
    return head + b"".join(bytes((int(part[:3], 8),)) + part[3:] for part in rest)


def _detach_elsewhere(number: int, path: str, namespace: list[int]) -> None:
    """Do the same in another mount namespace; without a process in it the namespace counts as gone."""
    import threading

    fd = _open_namespace(namespace)
    if fd < 0:
        return
    failures: list[OSError] = []

    def act() -> None:
        from orlop_linux.init import syscalls

        try:
            syscalls.unshare(_CLONE_FS)
            syscalls.setns(fd, _CLONE_NEWNS)
            _detach(number, path)
        except OSError as error:
            failures.append(error)

    try:
        thread = threading.Thread(target=act, name="orlop-unmount")
        thread.start()
        thread.join()
    finally:
        os.close(fd)
    if failures:
        raise failures[0]


def _open_namespace(namespace: list[int]) -> int:
    """Return a descriptor of a mount namespace that some process is in, or -1."""
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            if namespace_of(name) != namespace:
                continue
            fd = os.open(f"/proc/{name}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue  # it has just ended, or is not ours to look at
        info = os.fstat(fd)
        if [info.st_dev, info.st_ino] == namespace:
            return fd
        os.close(fd)
    return -1
