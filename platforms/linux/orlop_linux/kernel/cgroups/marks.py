"""Extended attributes of cgroups: whose they are, and which ones are parents (cgroups(7), xattr(7)).

An unprivileged caller may set those that begin with ``user.`` only, and kernels before 5.7 have none of
these: then nothing is marked.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orlop_linux.live.cgroups import PARENT_MARKS

if TYPE_CHECKING:
    from collections.abc import Iterable

_OWNER_MARKS = ("trusted.orlop.container", "user.orlop.container")


def _mark(fd: int, names: Iterable[str], value: bytes) -> None:
    for name in names:
        try:
            os.setxattr(fd, name, value)
        except OSError:
            continue
        return


def _read(fd: int, names: Iterable[str]) -> bytes | None:
    for name in names:
        try:
            return os.getxattr(fd, name)
        except OSError:
            continue
    return None


def mark_parent(fd: int) -> None:
    """Say that a parent was made for containers: the last one of them removes it, whoever made it."""
    _mark(fd, PARENT_MARKS, b"1")


def is_parent(fd: int) -> bool:
    """Tell whether a cgroup was made, by whomever, as a parent for containers."""
    return _read(fd, PARENT_MARKS) is not None


def mark_owner(fd: int, directory: str) -> None:
    """Say that a cgroup was made for the container whose state is in *directory*."""
    if directory:
        _mark(fd, _OWNER_MARKS, os.fsencode(directory))


def other_owner(fd: int, directory: str) -> str:
    """Return the state directory of another container for which a cgroup was made; empty: there is none.

    Its deletion would end whatever is in the cgroup by then. One whose directory is gone will not be deleted.
    """
    owner = os.fsdecode(_read(fd, _OWNER_MARKS) or b"").partition("\0")[0]
    return owner if owner not in {"", directory} and os.path.lexists(owner) else ""
