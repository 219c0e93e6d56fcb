"""Detached copies of the host's mounts: what a container gets of the host, by descriptor.

The engine makes them, and the container process never looks up a path of the host. Only an engine that may
not mount leaves it to the container process, which then does it before anything else, as the caller's user
and in its copy of the caller's mounts: what a path means is still for the caller to see.

A copy is cut off from the host's propagation before anything can happen in it.
"""

from __future__ import annotations

import errno
import os
import stat

from orlop_linux.init import failure, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

KINDS = {"c": stat.S_ISCHR, "u": stat.S_ISCHR, "b": stat.S_ISBLK}
"""Types of device nodes, as CreateDevice has them, that a container cannot make in a user namespace."""


def open_source(path: str, flags: int = 0) -> int:
    """Return an O_PATH descriptor of *path*.

    Magic links are refused: behind them are descriptors of this very process.
    """
    name = path.encode("utf-8", "surrogateescape")
    return syscalls.openat2(syscalls.AT_FDCWD, name, os.O_PATH | flags, syscalls.RESOLVE_NO_MAGICLINKS)


def clone(fd: int, *, recursive: bool, propagation: int) -> int:
    """Return a detached copy of the mount at *fd*, with all below it if *recursive*."""
    flags = syscalls.OPEN_TREE_CLONE | syscalls.AT_EMPTY_PATH
    tree = syscalls.open_tree(fd, b"", flags | (syscalls.AT_RECURSIVE if recursive else 0))
    if propagation:
        syscalls.mount_setattr(tree, propagation=propagation, recursive=True)
    return tree


def copy(path: str, *, recursive: bool, propagation: int) -> int:
    """Return a detached copy of what is at *path*."""
    fd = open_source(path)
    try:
        return clone(fd, recursive=recursive, propagation=propagation)
    finally:
        os.close(fd)


def sysfs(propagation: int) -> int:
    """Return the caller's own sysfs, without what is mounted below it as far as the kernel allows that.

    Nobody asked for the host's mounts below. Where they are locked together by the owner of another user
    namespace (mount_namespaces(7)) they come along, read-only: the cgroups of the caller are among them.
    """
    try:
        return copy("/sys", recursive=False, propagation=propagation)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    tree = copy("/sys", recursive=True, propagation=propagation)
    try:
        syscalls.mount_setattr(tree, set_=syscalls.MOUNT_ATTR_RDONLY, recursive=True)
        try:
            syscalls.mount_setattr(tree, clear=syscalls.MOUNT_ATTR_RDONLY)
        except PermissionError:
            pass  # it is read-only for its owner as well
    except BaseException:
        os.close(tree)
        raise
    return tree


def root(path: str, *, detached: bool, propagation: int) -> int:
    """Return the root directory at *path*, as a detached copy if the container makes a mount of it."""
    fd = open_source(path, os.O_DIRECTORY)
    if not detached:
        return fd
    try:
        tree = clone(fd, recursive=True, propagation=propagation)
    finally:
        os.close(fd)
    if not propagation:
        # pivot_root(2) refuses a shared root; the config's propagation is set after the switch.
        syscalls.mount_setattr(tree, propagation=syscalls.MS_PRIVATE)
    return tree


def device(path: str, kind: str, major: int, minor: int) -> int:
    """Return the host's node for a container that may not make nodes; -1 if there is none."""
    try:
        fd = open_source(path)
    except FileNotFoundError:
        return -1
    try:
        info = os.fstat(fd)
        if not KINDS[kind](info.st_mode) or (os.major(info.st_rdev), os.minor(info.st_rdev)) != (
            major,
            minor,
        ):
            return -1
        return clone(fd, recursive=False, propagation=syscalls.MS_PRIVATE)
    finally:
        os.close(fd)


_ACTS: dict[str, Callable[..., int]] = {"copy": copy, "sysfs": sysfs, "root": root, "device": device}


def make(act: str, arguments: dict[str, Any]) -> int:
    """Return the descriptor that one of the functions above gives; -1: there is nothing to be given."""
    return _ACTS[act](**arguments)


class Refused(Exception):  # noqa: N818 - it carries a failure to where its place in the plan is known
    """A source could not be opened."""

    def __init__(self, step: int, error: failure.Refusal) -> None:
        """Keep the step's index in phase ``container`` and why."""
        super().__init__(step)
        self.step = step
        self.error = error


def open_all(requests: Sequence[tuple[str, int, str, dict[str, Any]]]) -> dict[str, int]:
    """Open what an engine could not, in its order: key, index of the step, function, arguments.

    Raises:
        Refused: One of them cannot be opened.
    """
    trees: dict[str, int] = {}
    for key, step, act, arguments in requests:
        try:
            fd = make(act, arguments)
        except OSError as error:
            raise Refused(step, failure.Refusal(error.errno, failure.DETAIL_SOURCE)) from None
        if fd >= 0:
            trees[key] = fd
    return trees
