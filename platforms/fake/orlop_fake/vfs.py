"""A small file system in memory: nodes, and the seeds that trees are grown from.

A seed is a dict: its values are directories (dicts), regular files (``str`` or ``bytes``), executables
(callables, see :mod:`orlop_fake.programs`) or nodes. Nothing here knows about mounts; resolution across them
is in :mod:`orlop_fake.mounts`.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Any, ClassVar

from orlop_fake.refusals import refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from orlop_fake.namespaces import Namespace

    Seed = Mapping[str, Any]

_NAME_MAX = 255
_READ_LIMIT = 1 << 20


class Node:
    """Anything that has a name in a directory."""

    __slots__ = ("gid", "mode", "parent", "uid")

    KIND: ClassVar[str] = "-"
    """The letter of ``ls -l``."""

    def __init__(self, mode: int = 0o644, uid: int = 0, gid: int = 0) -> None:
        """Make a node with permission bits *mode*."""
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.parent: Directory | None = None


class File(Node):
    """A regular file; one with a ``program`` is an executable."""

    __slots__ = ("data", "program")

    def __init__(
        self,
        data: bytes | str = b"",
        mode: int = 0o644,
        uid: int = 0,
        gid: int = 0,
        *,
        program: Any = None,  # noqa: ANN401 - see programs.py
    ) -> None:
        """Make a file of *data*."""
        super().__init__(mode, uid, gid)
        self.data: bytes = data.encode() if isinstance(data, str) else data
        self.program = program

    def read(self) -> bytes:
        """Return the content."""
        return self.data

    def write(self, data: bytes) -> None:
        """Replace the content."""
        self.data = data


class Computed(File):
    """A file of a virtual file system: its content is computed, and a write is an act."""

    __slots__ = ("_read", "_write")

    def __init__(
        self,
        read: Callable[[], str | bytes],
        write: Callable[[str], None] | None = None,
        mode: int | None = None,
    ) -> None:
        """Make a file from two functions; without *write* it is read-only."""
        super().__init__(mode=mode if mode is not None else (0o444 if write is None else 0o644))
        self._read = read
        self._write = write

    def read(self) -> bytes:
        """Return the content of this moment."""
        content = self._read()
        return content.encode() if isinstance(content, str) else content

    def write(self, data: bytes) -> None:
        """Do what a write means here."""
        if self._write is None:
            raise refusal(errno.EACCES)
        self._write(data.decode())


class Symlink(Node):
    """A symbolic link."""

    __slots__ = ("target",)
    KIND = "l"

    def __init__(self, target: str) -> None:
        """Make a link to *target*."""
        super().__init__(0o777)
        self.target = target


class Device(Node):
    """A device node, or a fifo (type ``p``)."""

    __slots__ = ("major", "minor", "type")

    def __init__(  # noqa: PLR0913, PLR0917 - the fields of a device in config.json, in its order
        self,
        type: str,  # noqa: A002 - the spec's name
        major: int = 0,
        minor: int = 0,
        mode: int = 0o666,
        uid: int = 0,
        gid: int = 0,
    ) -> None:
        """Make a node of *type* ``c``, ``b`` or ``p``."""
        super().__init__(mode, uid, gid)
        self.type = "c" if type == "u" else type
        self.major = major
        self.minor = minor


class Socket(Node):
    """A unix socket on which somebody may listen; what is sent to it is collected in ``received``."""

    __slots__ = ("received",)
    KIND = "s"

    def __init__(self, mode: int = 0o755) -> None:
        """Make a socket with a listener."""
        super().__init__(mode)
        self.received: list[Any] = []


class NamespaceFile(Node):
    """A file that stands for a namespace, as under ``/proc/PID/ns`` or bound elsewhere."""

    __slots__ = ("namespace",)

    def __init__(self, namespace: Namespace) -> None:
        """Make a file for *namespace*."""
        super().__init__(0o444)
        self.namespace = namespace


class Directory(Node):
    """A directory of names."""

    __slots__ = ("entries",)
    KIND = "d"

    def __init__(self, mode: int = 0o755, uid: int = 0, gid: int = 0) -> None:
        """Make an empty directory."""
        super().__init__(mode, uid, gid)
        self.entries: dict[str, Node] = {}

    def get(self, name: str) -> Node | None:
        """Return the node *name*, or ``None``."""
        return self.entries.get(name)

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return sorted(self.entries)

    def put(self, name: str, node: Node) -> None:
        """Give *node* a *name* here."""
        if len(name) > _NAME_MAX:
            raise refusal(errno.ENAMETOOLONG, name)
        self.entries[name] = node
        node.parent = self

    def make_directory(self, name: str, mode: int = 0o755) -> Directory:
        """Make and return a subdirectory."""
        made = Directory(mode)
        self.put(name, made)
        return made

    def drop(self, name: str) -> None:
        """Remove *name*."""
        self.entries.pop(name, None)


class Virtual(Directory):
    """A directory of a virtual file system, made of two functions.

    ``find`` must return the same node for the same thing each time: a mount point is a node, not a name.
    """

    __slots__ = ("_find", "_list", "_refuses")

    def __init__(
        self,
        find: Callable[[str], Node | None],
        names: Callable[[], Iterable[str]],
        *,
        refuses: int = errno.EPERM,
        mode: int = 0o555,
    ) -> None:
        """Make a directory; *refuses* is the errno of making a name in it."""
        super().__init__(mode)
        self._find = find
        self._list = names
        self._refuses = refuses

    def get(self, name: str) -> Node | None:
        """Return the node *name* of this moment, or ``None``."""
        node = self._find(name)
        if node is not None:
            node.parent = self
        return node

    def names(self) -> list[str]:
        """Return the names of this moment, sorted."""
        return sorted(self._list())

    def put(self, name: str, node: Node) -> None:
        """Refuse: the names of a virtual file system are the kernel's."""
        del node
        raise refusal(self._refuses, name)

    def make_directory(self, name: str, mode: int = 0o755) -> Directory:
        """Refuse, as :meth:`put`."""
        del mode
        raise refusal(self._refuses, name)

    def drop(self, name: str) -> None:
        """Refuse, as :meth:`put`."""
        raise refusal(errno.EPERM, name)


class DiskDirectory(Directory):
    """A read-only view of a directory on the real disk: looked up name by name, never written to.

    What is made here stays in memory. Symbolic links are seen as such, so that resolution stays inside the
    root. All belongs to root, whoever runs the test.
    """

    __slots__ = ("_dropped", "path")

    def __init__(self, path: str, mode: int = 0o755) -> None:
        """View the directory at *path*."""
        super().__init__(mode)
        self.path = path
        self._dropped: set[str] = set()

    def get(self, name: str) -> Node | None:
        """Return the node *name*: one made in memory, else what the disk has now."""
        node = self.entries.get(name)
        if node is not None or name in self._dropped or "\0" in name:
            return node
        path = f"{self.path}/{name}"
        try:
            status = os.lstat(path)
        except (OSError, ValueError):
            return None
        node = self._view(path, status)
        self.entries[name] = node
        node.parent = self
        return node

    @staticmethod
    def _view(path: str, status: os.stat_result) -> Node:
        mode = stat.S_IMODE(status.st_mode)
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFDIR:
            return DiskDirectory(path, mode)
        if kind == stat.S_IFLNK:
            return Symlink(os.readlink(path))
        if kind in (stat.S_IFCHR, stat.S_IFBLK):
            letter = "c" if kind == stat.S_IFCHR else "b"
            return Device(letter, os.major(status.st_rdev), os.minor(status.st_rdev), mode)
        if kind == stat.S_IFIFO:
            return Device("p", mode=mode)
        if kind == stat.S_IFSOCK:
            return Socket(mode)
        return DiskFile(path, mode)

    def names(self) -> list[str]:
        """Return the names of memory and disk, sorted."""
        try:
            on_disk = set(os.listdir(self.path))
        except OSError:
            on_disk = set()
        return sorted((on_disk - self._dropped) | set(self.entries))

    def put(self, name: str, node: Node) -> None:
        """Give *node* a *name*, in memory only."""
        super().put(name, node)
        self._dropped.discard(name)

    def drop(self, name: str) -> None:
        """Hide *name*; the disk keeps it."""
        self.entries.pop(name, None)
        self._dropped.add(name)


class DiskFile(File):
    """A regular file of the real disk; a write stays in memory."""

    __slots__ = ("_path",)

    def __init__(self, path: str, mode: int) -> None:
        """View the file at *path*."""
        super().__init__(b"", mode)
        self._path: str | None = path

    def read(self) -> bytes:
        """Return at most one mebibyte of the content."""
        if self._path is None:
            return self.data
        flags = (
            os.O_RDONLY
            | getattr(os, "O_NOFOLLOW", 0)
            | getattr(os, "O_NONBLOCK", 0)
            | getattr(os, "O_CLOEXEC", 0)
        )
        fd = os.open(self._path, flags)
        try:
            return os.read(fd, _READ_LIMIT)
        finally:
            os.close(fd)

    def write(self, data: bytes) -> None:
        """Replace the content, in memory only."""
        self._path = None
        self.data = data


def grow(seed: Seed, into: Directory | None = None) -> Directory:
    """Return a directory tree grown from *seed*, or grow it into an existing directory.

    Names may be paths (``"usr/bin/app"``): what is missing between is made.
    """
    root = Directory() if into is None else into
    for name, value in seed.items():
        parent = root
        *parts, last = [part for part in name.split("/") if part]
        for part in parts:
            below = parent.get(part)
            parent = below if isinstance(below, Directory) else parent.make_directory(part)
        known = parent.get(last)
        if isinstance(value, Node):
            parent.put(last, value)
        elif isinstance(value, str | bytes):
            parent.put(last, File(value))
        elif callable(value):
            parent.put(last, File(mode=0o755, program=value))
        elif isinstance(known, Directory):
            grow(value, known)
        else:
            parent.put(last, grow(value))
    return root
