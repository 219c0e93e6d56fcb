"""The state root: which directory holds the containers, and whether it can be trusted."""

from __future__ import annotations

import os
import stat

from orlop_hookspecs.errors import StoreError, UsageError

SYSTEM_ROOT = "/run/orlop"
"""State root of the superuser."""

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_WHOLE_MAP = ["0", "0", "4294967295"]


def absolute(path: str) -> str:
    """Return *path* from the root on, without superfluous parts; an empty one stays empty.

    Raises:
        UsageError: It is relative to a current directory that has been removed.
    """
    try:
        return os.path.abspath(path) if path else ""
    except OSError as error:  # getcwd(2)
        raise UsageError(
            f"the current directory cannot be told: {(error.strerror or str(error)).lower()}",
            path=path,
            errno=error.errno,
            hint="change to a directory that exists, or name an absolute path",
        ) from None


def default_root() -> str:
    """Return the state root of the caller.

    The superuser has :data:`SYSTEM_ROOT`; others, and root in a user namespace who does not call itself root,
    have ``$XDG_RUNTIME_DIR/orlop``.
    """
    runtime_directory = os.environ.get("XDG_RUNTIME_DIR", "")
    if not runtime_directory.startswith("/"):
        return SYSTEM_ROOT
    if os.geteuid() == 0 and (os.environ.get("USER") == "root" or not _in_user_namespace()):
        return SYSTEM_ROOT
    return f"{runtime_directory}/orlop"


def label_of(root: str | None) -> str:
    """Return a word for the state root *root*: empty for the caller's default, another one for each other.

    Two roots may hold containers of one identifier, whose cgroups must not be the same.
    """
    path = absolute(root or "")
    if not path or path == default_root():
        return ""
    import zlib

    return f"{zlib.crc32(os.fsencode(path)):08x}"


def _in_user_namespace() -> bool:
    """Tell whether the caller's user ids are mapped (user_namespaces(7))."""
    try:
        with open("/proc/self/uid_map", "rb") as file:
            return file.read(64).decode().split() != _WHOLE_MAP
    except OSError:
        return False


def failed(act: str, path: str, error: OSError) -> StoreError:
    """Return the error for *act* that the kernel refused on *path*."""
    reason = (error.strerror or str(error)).lower()
    return StoreError(f"{act}: {reason}", path=path, errno=error.errno)


def open_root(path: str, *, create: bool) -> int | None:
    """Open the state root; ``None`` when it does not exist and *create* is false.

    Whoever can write to the root could swap what ``delete`` undoes. It must therefore be a directory and no
    link, belong to the caller, and be writable by nobody else.

    Raises:
        StoreError: It cannot be made, opened or trusted.
    """
    try:
        return _open_verified(path)
    except FileNotFoundError:
        if not create:
            return None
    except OSError as error:
        raise _explain(path, error) from None
    try:
        _make(path)
        return _open_verified(path)
    except OSError as error:
        raise _explain(path, error) from None


def _open_verified(path: str) -> int:
    descriptor = os.open(path, _DIRECTORY)
    status = os.fstat(descriptor)
    problem = ""
    if status.st_uid != os.geteuid():
        problem = "belongs to another user"
    elif status.st_mode & _WRITABLE_BY_OTHERS:
        problem = "is writable by others"
    if problem:
        os.close(descriptor)
        raise StoreError(
            f"the state root {problem}",
            path=path,
            hint="it must be a directory of the caller that nobody else can write to",
        )
    return descriptor


def _make(path: str) -> None:
    """Make the root with mode 0700, and its parents.

    In a runtime directory it is sticky as well, so that it is not pruned (XDG Base Directory Specification).
    """
    parent = os.path.dirname(path.rstrip("/"))
    if parent and not os.path.isdir(parent):
        os.makedirs(parent, 0o700, exist_ok=True)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return
    runtime_directory = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime_directory and path.startswith(runtime_directory.rstrip("/") + "/"):
        os.chmod(path, 0o700 | stat.S_ISVTX)


def _explain(path: str, error: OSError) -> StoreError:
    if isinstance(error, StoreError):
        return error
    if os.path.islink(path):
        return StoreError("the state root is a symbolic link", path=path, errno=error.errno)
    made = failed("the state root cannot be used", path, error)
    if path == SYSTEM_ROOT and isinstance(error, PermissionError):
        made.hint = "name a directory with --root, or set XDG_RUNTIME_DIR"
    return made
