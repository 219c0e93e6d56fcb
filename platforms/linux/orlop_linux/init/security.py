"""Security modules: what the process will be after execve(2), written to its own files in a private procfs.

proc_pid_attr(5): a value is written in one write and is verified by the kernel then. The files are those of
the calling thread: ``thread-self`` is read as text and verified, so that no link is followed.
"""

from __future__ import annotations

import errno
import os

from orlop_linux.init import failure, procfs
from orlop_linux.init.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orlop_linux.init.context import Context

_ATTRIBUTE_MAX = 4096
"""Most that a file below attr takes or gives: a page of the smallest machine."""


def _thread(proc_fd: int) -> bytes:
    """Return the directory of the calling thread in the procfs *proc_fd*: ``PID/task/TID``.

    Raises:
        OSError: ENOENT: the procfs is of a pid namespace that does not have the process.
    """
    text = os.readlink(b"thread-self", dir_fd=proc_fd)
    pid, task, tid = text.split(b"/") if text.count(b"/") == 2 else (b"", b"", b"")
    if not (pid.isdigit() and tid.isdigit() and task == b"task"):
        raise OSError(errno.EXDEV, "")
    return text


def _open(context: Context, name: bytes, flags: int) -> int:
    """Open the attribute *name* of the calling thread."""
    if context.attributes_fd >= 0:
        return procfs.open_file(context.attributes_fd, name, flags)
    return procfs.open_file(context.proc_fd, _thread(context.proc_fd) + b"/attr/" + name, flags)


def _write(fd: int, data: bytes) -> None:
    """Write *data* to an attribute, all at once, and close it."""
    try:
        if len(data) > _ATTRIBUTE_MAX:
            raise OSError(errno.E2BIG, "")
        if os.write(fd, data) != len(data):
            raise OSError(errno.EIO, "")
    finally:
        os.close(fd)


def _read(context: Context, name: bytes) -> bytes:
    """Return the attribute *name* without the end of its line."""
    fd = _open(context, name, os.O_RDONLY)
    try:
        return os.read(fd, _ATTRIBUTE_MAX).rstrip(b"\n\0")
    finally:
        os.close(fd)


def _is_profile(shown: bytes, wanted: bytes) -> bool:
    """Tell whether *shown*, ``NAME (MODE)`` or ``unconfined``, is exactly the profile *wanted*.

    A profile of another policy namespace is written ``:NAMESPACE:NAME`` or ``:NAMESPACE://NAME``.
    """
    name, bracket, mode = shown.rpartition(b" (")
    if not bracket or not mode.endswith(b")"):
        name = shown
    if wanted.startswith(b":"):
        space, _, rest = wanted[1:].partition(b":")
        return name == b":" + space + b"://" + rest.removeprefix(b"//")
    return name == wanted


def set_apparmor_profile(context: Context, fields: dict[str, Any], _index: int) -> None:
    """Execute SetApparmorProfile, and verify what the kernel has understood.

    A caller that is confined in complain mode is given a profile that is made up when the wanted one is not
    loaded; that would not be a confinement.

    Raises:
        Failure: The kernel has another profile.
    """
    wanted = fields["profile"].encode("utf-8", "surrogateescape")
    name = b"apparmor/exec"
    try:
        fd = _open(context, name, os.O_WRONLY)
    except FileNotFoundError:
        name = b"exec"  # before Linux 5.8 AppArmor has no files of its own
        fd = _open(context, name, os.O_WRONLY)
    _write(fd, b"exec " + wanted)
    if not _is_profile(_read(context, name), wanted):
        raise Failure(errno.ENOENT, failure.DETAIL_PROFILE)


def set_selinux_label(context: Context, fields: dict[str, Any], _index: int) -> None:
    """Execute SetSelinuxLabel; the policy verifies the label."""
    _write(_open(context, b"exec", os.O_WRONLY), fields["label"].encode("utf-8", "surrogateescape"))


def label_keys(context: Context, label: str) -> None:
    """Let keyrings that are made from now on have *label*; empty: the kernel's own choice."""
    _write(_open(context, b"keycreate", os.O_WRONLY), label.encode("utf-8", "surrogateescape") or b"\n")


OPS = {"SetApparmorProfile": set_apparmor_profile, "SetSelinuxLabel": set_selinux_label}
