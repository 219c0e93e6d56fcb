"""The names by which CRIU knows what is not in an image: mounts and files of the host.

CRIU keeps such a name as one text, ``mnt[MOUNT POINT]:NAME``. A mount point that holds a part of that syntax
could be read as another one, with another source: what does not come back as it went in is refused.
"""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import StepError
from orlop_linux.init import resolve
from orlop_linux.kernel.mountinfo import Mount, read_mounts

if TYPE_CHECKING:
    from collections.abc import Iterable

_FORBIDDEN = frozenset("[],")
_HIERARCHY = re.compile(r"[a-z0-9_]+(,[a-z0-9_]+)*")
_LONGEST = 4095  # PATH_MAX without its end


def verify_key(path: str, because: str) -> str:
    """Return *path* if CRIU can keep it as a name.

    Raises:
        StepError: It cannot.
    """
    encoded = os.fsencode(path)
    clean = path.isprintable() and path.startswith("/") and not _FORBIDDEN.intersection(path)
    if not clean or "/../" in f"{path}/" or len(encoded) > _LONGEST:
        raise StepError(
            "criu cannot tell this mount point from others",
            pointer=because,
            value=path,
            errno=errno.EINVAL,
            hint="a name in a checkpoint has no brackets, commas or control characters",
        )
    return path


def hierarchy_key(directory: str, name: str, because: str) -> str:
    """Return the path of a hierarchy of cgroups in *directory*; of *directory* itself without a *name*.

    Its name is the kernel's: with commas, where one hierarchy has several controllers (cgroups(7)).

    Raises:
        StepError: CRIU cannot keep it as a name.
    """
    verify_key(directory, because)
    if not name:
        return directory
    path = f"{directory.rstrip('/')}/{name}"
    return path if _HIERARCHY.fullmatch(name) and len(path) <= _LONGEST else verify_key(path, because)


def resolved(root: int, path: str) -> str | None:
    """Return where *path* leads below the directory *root*, or ``None`` when there is nothing.

    Links are followed as the container would, and none leads out of it.
    """
    try:
        fd = resolve.open_in_root(root, path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def locate(pid: int, paths: Iterable[str]) -> dict[str, tuple[str, Mount]]:
    """Return for each of *paths* at which a process sees a mount its mount point and that mount."""
    found = {}
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        mounts = {one.point: one for one in read_mounts(pid)}
        for path in paths:
            point = resolved(root, path)
            if point is not None and point in mounts:
                found[path] = point, mounts[point]
    finally:
        os.close(root)
    return found


def mount_points(pid: int, wanted: Iterable[tuple[str, str]]) -> dict[str, tuple[str, Mount]]:
    """Return what :func:`locate` does, for mounts that images name.

    Args:
        pid: The process.
        wanted: (destination, JSON pointer of what asks for it).

    Raises:
        StepError: A mount point has a name that CRIU cannot keep.
    """
    pointers = dict(wanted)
    found = locate(pid, pointers)
    for destination, (point, _) in found.items():
        verify_key(destination, pointers[destination])
        verify_key(point, pointers[destination])
    return found
