"""What a restored container shows: the mounts that the config demands, as it demands them, and no others."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from orlop_linux.init import resolve
from orlop_linux.kernel.criu import keys
from orlop_linux.kernel.mountinfo import Mount, read_mounts
from orlop_linux.kernel.security import shown_label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from orlop_hookspecs.errors import StepError

    Refuse = Callable[[str, str, object], StepError]

_NULL = "/dev/null"
_NULL_DEVICE = os.makedev(1, 3)
_OWN_CONTENT = frozenset(("tmpfs", "ramfs", "mqueue", "devpts"))
"""File systems that show nothing of the host."""
_MOUNTS = "CAP_SYS_ADMIN"
"""Whoever lacks it can mount nothing, and make no namespace (capabilities(7))."""


class Demand(NamedTuple):
    """Attributes that a mount has to have."""

    mount: Mount
    attributes: frozenset[str]
    pointer: str
    """JSON pointer of what demands them."""


def demands(pid: int, step: Any) -> list[Demand]:  # noqa: ANN401 - RestoreProcesses
    """Return what is demanded of the mounts that process *pid* sees.

    What lies below a mount of the config follows that one, unless it is one of the config as well. Paths are
    made read-only last, with all that is below. The null device over a masked file is the host's, of which
    root of the container must not change mode or owner.
    """
    found = _found(pid, step)
    wanted: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
        found[destination][0]: (
            ("ro",) if source == _NULL and destination not in step.places else (),
            (),
            because,
        )
        for destination, source, because in step.mounts
        if destination in found
    }
    readonly = {}
    for place, own, below, pointer in step.attributes:
        if place in found:
            if place == "/" or place in step.places:
                wanted[found[place][0]] = own, below, pointer
            else:
                readonly[found[place][0]] = pointer
    made = []
    for mount in _uppermost(pid):
        owner, path = _owner(mount.point, wanted), _owner(mount.point, readonly)
        own, below, pointer = wanted.get(owner, ((), (), ""))
        names = set(own if owner == mount.point else below)
        if path:
            names.add("ro")
            pointer = readonly[path]
        if names:
            made.append(Demand(mount, frozenset(names), pointer))
    return made


def verify(pid: int, step: Any, refuse: Refuse) -> None:  # noqa: ANN401 - RestoreProcesses
    """Refuse what process *pid* sees if it is not what the config shows.

    Raises:
        StepError: It is not.
    """
    found = _found(pid, step)
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _verify_sources(root, step, found, refuse)
        for place, _, _, because in step.attributes:
            covered = place in found or place in step.places
            if not covered and keys.resolved(root, place) is not None:
                raise refuse("a path can be written to", because, place)
        for place, context, because in step.contexts:
            has = _context(root, place)
            if has != shown_label("selinux", context):
                raise refuse("a mount has another SELinux context", because, has)
    finally:
        os.close(root)
    for mount, attributes, pointer in demands(pid, step):
        lacking = attributes - mount.options
        if lacking:
            raise refuse(f"a mount is not {', '.join(sorted(lacking))}", pointer, mount.point)
    if step.bounding is not None and _MOUNTS not in step.bounding:
        for mount in _strange(pid, found):
            raise refuse(f"there is a mount of type {mount.type} more", "/mounts", mount.point)


def _verify_sources(root: int, step: Any, found: dict[str, tuple[str, Mount]], refuse: Refuse) -> None:  # noqa: ANN401 - RestoreProcesses
    for destination, source, because in step.mounts:
        if destination in step.places:
            if destination not in found:
                raise refuse("a mount of the config is not there", because, destination)
            if not _shows(root, destination, source):
                raise refuse("a mount shows something else", because, destination)
        elif source == _NULL and not _is_masked(root, destination, found):
            raise refuse("a path is not masked", because, destination)


def _context(root: int, place: str) -> str:
    try:
        fd = resolve.open_in_root(root, place)
        try:
            return os.fsdecode(os.getxattr(f"/proc/self/fd/{fd}", "security.selinux")).rstrip("\0")
        finally:
            os.close(fd)
    except OSError:
        return ""


def _found(pid: int, step: Any) -> dict[str, tuple[str, Mount]]:  # noqa: ANN401 - RestoreProcesses
    """Return the mounts that the config has, by the path that it names."""
    wanted = [destination for destination, _, _ in step.mounts]
    return keys.locate(pid, {"/", *wanted, *step.places, *(place for place, _, _, _ in step.attributes)})


def _uppermost(pid: int) -> Iterable[Mount]:
    """Return the mounts that are not covered by another one at the same place."""
    return {mount.point: mount for mount in read_mounts(pid)}.values()


def _owner(point: str, places: Iterable[str]) -> str:
    """Return the longest of *places* that *point* is or lies below; the root owns only itself."""
    owners = [one for one in places if point == one or (one != "/" and point.startswith(f"{one}/"))]
    return max(owners, key=len, default="")


def _strange(pid: int, found: dict[str, tuple[str, Mount]]) -> Iterator[Mount]:
    """Yield mounts that show something of the host, and come neither from the config nor with its mounts."""
    known = [point for point, _ in found.values()]
    for mount in read_mounts(pid):
        if mount.type in _OWN_CONTENT or _owner(mount.point, known):
            continue
        if not (mount.type == "devtmpfs" and mount.root == "/null"):
            yield mount


def _is_masked(root: int, path: str, found: dict[str, tuple[str, Mount]]) -> bool:
    try:
        fd = resolve.open_in_root(root, path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    try:
        info = os.fstat(fd)
    finally:
        os.close(fd)
    if not stat.S_ISDIR(info.st_mode):
        return stat.S_ISCHR(info.st_mode) and info.st_rdev == _NULL_DEVICE
    if path not in found:
        return False
    mount = found[path][1]
    return mount.type == "tmpfs" and "ro" in mount.options


def _shows(root: int, destination: str, source: str) -> bool:
    try:
        fd = resolve.open_in_root(root, destination)
        try:
            inside, outside = os.fstat(fd), os.stat(source)
        finally:
            os.close(fd)
    except OSError:
        return False
    return (inside.st_dev, inside.st_ino) == (outside.st_dev, outside.st_ino)
