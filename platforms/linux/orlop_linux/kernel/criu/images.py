"""The directories of a checkpoint: what lies there is input, whoever wrote it.

CRIU opens files in them by name and follows links. So nothing there may be a link, a pipe or a device: it
could be the host's own file that is read as an image, or written over by a log.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import PlatformError, UsageError
from orlop_linux.kernel.criu import rpc
from orlop_linux.live.process import reason

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTORS = "descriptors.json"
"""What the descriptors 0, 1 and 2 of the container process were: three texts."""

INVENTORY = "inventory.img"
PARENT = "parent"
"""The one link that CRIU itself makes: to the images of an earlier pre-dump."""

_INVENTORY_HEAD = 12
_MODULES = {"apparmor": "AppArmor", "selinux": "SELinux"}
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_DEPTH = 30
_SIZE = 4096
NULL = "null:"
"""What stands before the key of a descriptor that is the null device of the host."""
TERMINAL = "tty["
"""How the key of a terminal of the host begins."""
_KEY = re.compile(
    r"(pipe:\[[0-9]{1,20}\]|(null:)?file\[[0-9a-f]{1,8}:[0-9a-f]{1,16}\]|tty\[[0-9a-f]{1,16}:[0-9a-f]{1,16}\])\Z"
)


def open_directory(path: str, what: str, *, make: bool = False, below: int | None = None) -> int:
    """Return a descriptor of the directory at *path*, which is made if it may be.

    With *below*, a descriptor of the directory above, only the last component of *path* is looked up.

    Raises:
        UsageError: There is none, or it cannot be made.
    """
    try:
        if make:
            os.makedirs(path, 0o700, exist_ok=True)
        return os.open(path if below is None else os.path.basename(path), _DIRECTORY, dir_fd=below)
    except OSError as error:
        raise UsageError(f"cannot open the {what}: {reason(error)}", path=path, errno=error.errno) from error


def verify(directory: int, path: str, *, depth: int = 0) -> None:
    """Refuse a directory that others can write, or with anything but regular files and directories in it.

    Raises:
        PlatformError: It is so, or its chain of parents has no end.
    """
    _verify_owner(directory, path)
    with os.scandir(directory) as entries:
        for entry in entries:
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
                continue
            if entry.name == PARENT and stat.S_ISLNK(mode):
                _verify_parent(directory, path, depth)
                continue
            raise PlatformError(
                "the checkpoint is refused: it holds something that is not a regular file",
                path=f"{path}/{entry.name}",
                errno=errno.ELOOP if stat.S_ISLNK(mode) else errno.EINVAL,
                hint="criu would follow it; only images that nobody else can write are safe",
            )


def _verify_owner(directory: int, path: str) -> None:
    """Refuse a directory in which somebody else could put a link after it has been looked at."""
    info = os.fstat(directory)
    group = info.st_mode & stat.S_IWGRP and info.st_gid != os.getegid()
    if info.st_uid != os.geteuid() or group or info.st_mode & stat.S_IWOTH:
        raise PlatformError(
            "the checkpoint is refused: others can write to its directory",
            path=path,
            errno=errno.EPERM,
            hint="criu would follow a link that they put there; use a directory that is root's alone",
        )


def _verify_parent(directory: int, path: str, depth: int) -> None:
    target = os.readlink(PARENT, dir_fd=directory)
    if target.startswith("/") or depth == _DEPTH:
        raise PlatformError(
            "the checkpoint is refused: its parent is no relative path to earlier images",
            path=f"{path}/{PARENT}",
            errno=errno.ELOOP,
        )
    # From here: in a path of many links the kernel may count some twice, and refuse it (path_resolution(7)).
    above = open_directory(f"{path}/{PARENT}", "images of the earlier pre-dump", below=directory)
    try:
        verify(above, f"{path}/{PARENT}", depth=depth + 1)
    finally:
        os.close(above)


def clear(directory: int, path: str, names: Sequence[str]) -> None:
    """Remove the logs of an earlier run, so that CRIU makes new files and writes into nobody's.

    The directory may be somebody's, such as a container's user's, but not everybody's; where only owners can
    rename files, the kernel protects from links of others (fs.protected_symlinks, proc_sys_fs(5)).

    Raises:
        PlatformError: Something that is not a regular file has such a name, or could get it meanwhile.
    """
    mode = os.fstat(directory).st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise PlatformError(
            "everybody can write to the directory of the log",
            path=path,
            errno=errno.EPERM,
            hint="criu would follow a link that is put there; use another directory",
        )
    for name in names:
        try:
            mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(mode):
            raise PlatformError(
                "something that is not a regular file is in the way",
                path=f"{path}/{name}",
                errno=errno.ELOOP if stat.S_ISLNK(mode) else errno.EEXIST,
            )
        os.unlink(name, dir_fd=directory)


def require_inventory(directory: int, path: str) -> None:
    """Refuse a directory without a checkpoint in it.

    Raises:
        PlatformError: There is none.
    """
    try:
        os.stat(INVENTORY, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError as error:
        raise PlatformError(
            f"there is no checkpoint: {INVENTORY} is missing", path=path, errno=errno.ENOENT
        ) from error


def require_labels(directory: int, path: str, module: str) -> None:
    """Refuse images that hold no labels of a security module: CRIU was built without it.

    The inventory begins with two magic numbers and the length of its message (criu, images/inventory.proto).

    Raises:
        PlatformError: The processes could not be confined again.
    """
    fd = os.open(INVENTORY, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        found = rpc.security_module(os.read(fd, _SIZE)[_INVENTORY_HEAD:])
    except rpc.MalformedError:
        found = ""
    finally:
        os.close(fd)
    if found != module:
        raise PlatformError(
            f"criu keeps no labels of {_MODULES[module]}",
            path=path,
            errno=errno.EOPNOTSUPP,
            hint="the container could not be confined again; use a criu that was built with it",
        )


def write_descriptors(directory: int, path: str, keys: Sequence[str]) -> None:
    """Write what the first three descriptors are.

    Raises:
        PlatformError: The file cannot be written; there is none then.
    """
    try:
        os.unlink(DESCRIPTORS, dir_fd=directory)
    except FileNotFoundError:
        pass
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(DESCRIPTORS, flags, 0o600, dir_fd=directory)
        try:
            with open(fd, "wb") as file:
                file.write(json.dumps(list(keys)).encode())
        except OSError:
            os.unlink(DESCRIPTORS, dir_fd=directory)
            raise
    except OSError as error:
        raise PlatformError(
            f"cannot write the checkpoint: {reason(error)}",
            path=f"{path}/{DESCRIPTORS}",
            errno=error.errno or errno.EIO,
        ) from error


def read_descriptors(directory: int, path: str) -> list[str]:
    """Return the keys of the first three descriptors; empty for one that is not the caller's to replace.

    Raises:
        PlatformError: The file is malformed.
    """
    name = f"{path}/{DESCRIPTORS}"
    try:
        fd = os.open(
            DESCRIPTORS, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=directory
        )
    except FileNotFoundError:
        return ["", "", ""]
    except OSError as error:
        raise PlatformError(f"cannot read the checkpoint: {reason(error)}", path=name) from error
    try:
        text = os.read(fd, _SIZE)
    finally:
        os.close(fd)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not (isinstance(found, list) and len(found) == 3 and all(isinstance(one, str) for one in found)):
        raise PlatformError("the checkpoint is refused: three texts are expected", path=name)
    return [one if _KEY.match(one) else "" for one in found]


def stays_null(given: int, key: str) -> bool:
    """Tell whether a descriptor that was the null device is to be one again, whatever is *given* for it.

    CRIU gives what takes the place of a file the position that the file had; a pipe or a terminal has none.
    """
    if not key.startswith(NULL):
        return False
    try:
        os.lseek(given, 0, os.SEEK_CUR)
    except OSError:
        return True
    return False


def read_log(directory: int, name: str) -> bytes:
    """Return the end of a log; empty when there is none."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=directory)
    except OSError:
        return b""
    try:
        size = os.fstat(fd).st_size
        return os.pread(fd, 1 << 20, max(0, size - (1 << 20)))
    finally:
        os.close(fd)
