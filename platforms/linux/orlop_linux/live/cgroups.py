"""A container's cgroups after they were made: where they are and who is in them (cgroups(7)).

``Record.kernel["cgroups"]`` lists them, one mapping for each hierarchy::

    {"mount": "/sys/fs/cgroup/memory", "path": "/pods/web", "version": 1, "controllers": ["memory"]}

``path`` is relative to the mount point. What is read back is input: it is checked in :func:`parse_group`,
opened component by component without following links, and used only if what was opened is a cgroup.
"""

from __future__ import annotations

import errno
import os

from orlop_hookspecs.errors import PlatformError, StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from orlop_hookspecs.record import Record

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
WRITE = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC


PARENT_MARKS = ("trusted.orlop.parent", "user.orlop.parent")
"""Extended attributes of a parent that was made for containers; an unprivileged caller may set the second."""


class Group:
    """One cgroup: its hierarchy's mount point, its path below that, and the controllers that count there."""

    __slots__ = ("controllers", "mount", "path", "version")

    def __init__(self, mount: str, path: str, version: int, controllers: Sequence[str] = ()) -> None:
        """Keep the parts; nothing is opened."""
        self.mount = mount
        self.path = path
        self.version = version
        self.controllers = tuple(controllers)

    @property
    def directory(self) -> str:
        """The absolute path, for messages."""
        return self.mount + self.path

    def to_data(self) -> dict[str, Any]:
        """Return the cgroup as it is kept in a record."""
        return {
            "mount": self.mount,
            "path": self.path,
            "version": self.version,
            "controllers": list(self.controllers),
        }

    def open(self) -> int:
        """Return a descriptor of the directory.

        Raises:
            FileNotFoundError: It is gone.
            StoreError: It is no cgroup.
        """
        fd = open_below(self.mount, self.path)
        try:
            os.stat("cgroup.procs", dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            os.close(fd)
            # The files of a cgroup go when it is removed, also for those who have it open.
            if not exists_below(self.mount, self.path):
                raise
            raise StoreError(
                "the stored state names a directory that is no cgroup", path=self.directory
            ) from None
        return fd


def split_path(path: str) -> list[str]:
    """Return the components of an absolute cgroup path.

    Raises:
        ValueError: The path is the root, has empty, ``.`` or ``..`` components, a line end or a NUL.
    """
    parts = path.split("/")
    if (
        len(parts) < 2
        or parts[0]
        or any(part in {"", ".", ".."} for part in parts[1:])
        or "\0" in path
        or "\n" in path
    ):
        msg = "not the path of a cgroup below the root"
        raise ValueError(msg)
    return parts[1:]


def parse_group(data: Any) -> Group:  # noqa: ANN401 - what a record or a journal holds
    """Return the cgroup that *data* describes.

    Raises:
        StoreError: *data* is malformed, or names the root of a hierarchy.
    """
    if isinstance(data, dict):
        mount, path = data.get("mount"), data.get("path")
        version, controllers = data.get("version"), data.get("controllers", [])
        if (
            isinstance(mount, str)
            and isinstance(path, str)
            and (version == 1 or version == 2)  # noqa: PLR1714 - the value may be unhashable
            and isinstance(controllers, list)
            and all(isinstance(name, str) for name in controllers)
        ):
            try:
                split_path(path)
                split_path(mount)
            except ValueError:
                pass
            else:
                return Group(mount, path, version, controllers)
    raise StoreError("the stored state is not usable: cgroup is malformed", value=data)


def groups_of(record: Record) -> list[Group]:
    """Return the container's own cgroups; empty when it lives in its creator's."""
    stored = record.kernel.get("cgroups", [])
    if not isinstance(stored, list):
        raise StoreError("the stored state is not usable: cgroups are malformed", container=record.id)
    return [parse_group(one) for one in stored]


def open_below(mount: str, path: str) -> int:
    """Open the directory *path* below *mount* without following a link in *path*.

    Raises:
        FileNotFoundError: It is gone, or its hierarchy is.
        PlatformError: No cgroup is mounted here at all, so that nobody can tell.
    """
    try:
        fd = os.open(mount, DIRECTORY)
        for part in split_path(path):
            try:
                below = os.open(part, DIRECTORY, dir_fd=fd)
            finally:
                os.close(fd)
            fd = below
    except FileNotFoundError:
        _verify_mounted()
        raise
    return fd


def _verify_mounted() -> None:
    """Refuse to take what is not shown for gone."""
    from orlop_linux.kernel.cgroups.hierarchies import find_hierarchies

    if not find_hierarchies():
        raise PlatformError(
            "no cgroup hierarchy is mounted",
            path="/sys/fs/cgroup",
            errno=errno.ENOENT,
            hint="mount one, or run where it is visible",
        )


def exists_below(mount: str, path: str) -> bool:
    """Tell whether there is a directory *path* below *mount*."""
    try:
        os.close(open_below(mount, path))
    except FileNotFoundError:
        return False
    return True


def read_file(directory: int, name: str, limit: int = 1 << 20) -> str:
    """Return what the control file *name* says, at most *limit* bytes of it."""
    fd = os.open(name, READ, dir_fd=directory)
    try:
        parts = []
        while limit > 0 and (part := os.read(fd, min(limit, 65536))):
            parts.append(part)
            limit -= len(part)
    finally:
        os.close(fd)
    return b"".join(parts).decode("ascii", "replace")


def write_file(directory: int, name: str, text: str) -> None:
    """Write *text* to the control file *name* with one write(2), as cgroupfs demands."""
    fd = os.open(name, WRITE, dir_fd=directory)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def children(directory: int) -> list[str]:
    """Return the names of the cgroups directly below."""
    try:
        with os.scandir(directory) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def walk(top: int) -> Iterator[int]:
    """Yield a descriptor of *top*, then of every cgroup below, parents first; valid until the next one.

    Containers that own their cgroup may nest as deep as they like: neither recursion nor one descriptor for
    each level.
    """
    here = os.dup(top)
    try:
        yield here
        levels = [children(here)]
        while levels:
            if levels[-1]:
                try:
                    below = os.open(levels[-1].pop(), DIRECTORY, dir_fd=here)
                except FileNotFoundError:
                    continue
                os.close(here)
                here = below
                yield here
                levels.append(children(here))
            else:
                levels.pop()
                if levels:
                    above = os.open("..", DIRECTORY, dir_fd=here)
                    os.close(here)
                    here = above
    finally:
        os.close(here)


def members(top: int) -> set[int]:
    """Return the pids of all processes in a cgroup and below it, as the caller sees them."""
    found: set[int] = set()
    for directory in walk(top):
        try:
            text = read_file(directory, "cgroup.procs", 1 << 26)
        except OSError as error:
            # ENOENT, ENODEV: removed meanwhile. EOPNOTSUPP: a threaded cgroup, whose processes its domain
            # lists.
            if error.errno in {errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP}:
                continue
            raise
        found.update(map(int, text.split()))
    found.discard(0)  # a process outside the caller's pid namespace
    return found


def all_members(groups: Iterable[Group]) -> set[int]:
    """Return the pids of all processes in any of the cgroups."""
    found: set[int] = set()
    for group in groups:
        try:
            fd = group.open()
        except FileNotFoundError:
            continue
        try:
            found |= members(fd)
        finally:
            os.close(fd)
    return found
