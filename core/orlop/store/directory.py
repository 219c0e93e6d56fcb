"""A store on disk: one directory per container, private to its owner, locked while it is changed.

A slot is taken by mkdir(2), which only one caller can win, and held by flock(2) on the directory, which the
kernel releases however its holder ends. All files are opened relative to the directory's descriptor and never
through a link.
"""

from __future__ import annotations

import errno
import os
import stat
import time

from orlop.store.identifiers import check_identifier, is_identifier
from orlop.store.root import absolute, failed, open_root
from orlop_hookspecs.errors import ContainerExistsError, ContainerNotFoundError, StateError, StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

LOCK_TIMEOUT = 10.0
"""Seconds that an operation waits for another one on the same container."""

SIZE_LIMIT = 64 << 20
"""Bytes of the largest file that is read back from a slot."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FIRST_PAUSE = 0.0005
_LONGEST_PAUSE = 0.05


class DirectorySlot:
    """One container's directory; see :class:`orlop_hookspecs.kernel.Slot`."""

    __slots__ = ("_appending", "_descriptor", "_id", "_root", "path")

    def __init__(self, container: str, path: str, descriptor: int, root: int) -> None:
        """Take over the two descriptors."""
        self._id = container
        self.path = path
        self._descriptor = descriptor
        self._root = root
        self._appending: dict[str, int] = {}

    def read(self, name: str) -> bytes | None:
        """Return the content of *name*, or ``None`` when it does not exist.

        Raises:
            StoreError: It is no regular file, too large or unreadable.
        """
        try:
            descriptor = os.open(name, _READ, dir_fd=self._descriptor)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed("cannot read", name, error) from None
        try:
            content = _read_all(descriptor)
        except OSError as error:
            raise self._failed("cannot read", name, error) from None
        finally:
            os.close(descriptor)
        if content is None:
            raise StoreError(
                "the stored state is not usable: no regular file, or too large",
                path=f"{self.path}/{name}",
                container=self._id,
            )
        return content

    def write(self, name: str, data: bytes) -> None:
        """Replace *name* atomically.

        Raises:
            StoreError: The file system refused; the old content is still there.
        """
        temporary = f".{name}.new"
        here = self._descriptor
        try:
            try:
                descriptor = os.open(temporary, _NEW, 0o600, dir_fd=here)
            except FileExistsError:  # left by a runtime that was killed; the lock says that it is nobody's
                os.unlink(temporary, dir_fd=here)
                descriptor = os.open(temporary, _NEW, 0o600, dir_fd=here)
            try:
                _write_all(descriptor, data)
            finally:
                os.close(descriptor)
            os.rename(temporary, name, src_dir_fd=here, dst_dir_fd=here)
        except OSError as error:
            raise self._failed("cannot write", name, error) from None
        stale = self._appending.pop(name, None)
        if stale is not None:
            os.close(stale)

    def append(self, name: str, data: bytes) -> None:
        """Append *data* to *name* in one write(2).

        Raises:
            StoreError: The file system refused, or took only a part.
        """
        try:
            descriptor = self._appending.get(name)
            if descriptor is None:
                descriptor = os.open(name, _APPEND, 0o600, dir_fd=self._descriptor)
                self._appending[name] = descriptor
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            written = os.write(descriptor, data) if regular else 0
        except OSError as error:
            raise self._failed("cannot write", name, error) from None
        if written != len(data):
            number = errno.ENOSPC if regular else errno.EINVAL
            raise self._failed("cannot write", name, OSError(number, os.strerror(number)))

    def remove(self) -> None:
        """Remove the directory with all that is in it; links are removed, not followed. Idempotent.

        Raises:
            StoreError: Something in it cannot be removed.
        """
        try:
            # The journal goes first and the record last: whatever is left when a runtime is killed here is
            # deleted again.
            self._close_appending()
            _unlink_quietly("journal", self._descriptor)
            # Most creations that fail have left nothing else, and looking for more needs a descriptor.
            if not self._remove_empty():
                _empty(self._descriptor, keep="record.json")
                _unlink_quietly("record.json", self._descriptor)
                self._remove_empty(surely=True)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise self._failed("cannot remove", "", error) from None

    def _remove_empty(self, *, surely: bool = False) -> bool:
        """Remove the directory that is locked, no other of that name; return ``False`` if it is not empty."""
        there = os.stat(self._id, dir_fd=self._root, follow_symlinks=False)
        if not _same(there, os.fstat(self._descriptor)):
            return True
        try:
            os.rmdir(self._id, dir_fd=self._root)
        except OSError as error:
            if surely or error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
            return False
        return True

    def _close_appending(self) -> None:
        for descriptor in self._appending.values():
            os.close(descriptor)
        self._appending.clear()

    def close(self) -> None:
        """Release the lock and the descriptors. Idempotent."""
        if self._descriptor >= 0:
            self._close_appending()
            os.close(self._descriptor)
            os.close(self._root)
            self._descriptor = self._root = -1

    def __enter__(self) -> Self:
        """Return the slot."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release the lock."""
        self.close()

    def _failed(self, act: str, name: str, error: OSError) -> StoreError:
        made = failed(act, f"{self.path}/{name}" if name else self.path, error)
        made.container = self._id
        return made


class DirectoryStore:
    """All containers below one state root; see :class:`orlop_hookspecs.kernel.Store`."""

    __slots__ = ("root",)

    def __init__(self, root: str) -> None:
        """Name the root; nothing is touched or checked before the first operation."""
        self.root = absolute(root)
        if not self.root.strip("/"):  # POSIX lets a path begin with two slashes
            raise StoreError("the state root cannot be the root directory", path=root)

    def create(self, container: str) -> DirectorySlot:
        """Take *container* and return its locked slot.

        Raises:
            InvalidIdError: The identifier cannot name a container.
            ContainerExistsError: The identifier is taken.
            StoreError: The state root cannot be used.
        """
        check_identifier(container)
        root = open_root(self.root, create=True)
        assert root is not None  # noqa: S101 - it has been made
        path = f"{self.root}/{container}"
        made = False
        try:
            # A delete may see the directory before it is locked, and take it for a leftover.
            descriptor = None
            while descriptor is None:
                os.mkdir(container, 0o700, dir_fd=root)
                made = True
                descriptor = self._lock(root, container, gone=True)
                made = False
        except FileExistsError:
            os.close(root)
            raise ContainerExistsError(
                "container with given ID already exists", container=container, value=container
            ) from None
        except OSError as error:
            if made:
                _rmdir_quietly(container, root)
            os.close(root)
            raise failed("cannot make the container's directory", path, error) from None
        except BaseException:
            os.close(root)
            raise
        return DirectorySlot(container, path, descriptor, root)

    def open(self, container: str, *, wait: bool = True) -> DirectorySlot:
        """Return the slot of an existing container: locked, or with ``wait=False`` only to be read.

        Raises:
            InvalidIdError: The identifier cannot name a container.
            ContainerNotFoundError: There is no such container.
            StateError: Another operation has held the container for :data:`LOCK_TIMEOUT` seconds.
            StoreError: The state root or the container's directory cannot be used or trusted.
        """
        check_identifier(container)
        root = open_root(self.root, create=False)
        if root is None:
            raise _missing(container)
        path = f"{self.root}/{container}"
        try:
            descriptor = None
            while descriptor is None:
                if wait:
                    descriptor = self._lock(root, container)
                else:
                    descriptor = os.open(container, _DIRECTORY, dir_fd=root)
            owner = os.fstat(descriptor).st_uid
        except OSError as error:
            os.close(root)
            if error.errno in {errno.ENOENT, errno.ENAMETOOLONG}:
                raise _missing(container) from None
            raise failed("cannot open the container's directory", path, error) from None
        except BaseException:
            os.close(root)
            raise
        slot = DirectorySlot(container, path, descriptor, root)
        if owner != os.geteuid():
            slot.close()
            raise StoreError(
                "the container's directory belongs to another user", path=path, container=container
            )
        return slot

    def list(self) -> Sequence[str]:
        """Return all identifiers, sorted; none when the state root does not exist.

        Raises:
            StoreError: The state root cannot be used or trusted.
        """
        root = open_root(self.root, create=False)
        if root is None:
            return []
        try:
            with os.scandir(root) as entries:
                return sorted(
                    e.name for e in entries if is_identifier(e.name) and e.is_dir(follow_symlinks=False)
                )
        except OSError as error:
            raise failed("cannot list the state root", self.root, error) from None
        finally:
            os.close(root)

    def _lock(self, root: int, container: str, *, gone: bool = False) -> int | None:
        """Open and lock the container's directory; ``None`` when it was replaced or removed meanwhile.

        With *gone* true, it may have been removed even before it could be opened.
        """
        import fcntl  # what only reads does not pay for it

        try:
            descriptor = os.open(container, _DIRECTORY, dir_fd=root)
        except FileNotFoundError:
            if gone:
                return None
            raise
        try:
            pause = _FIRST_PAUSE
            deadline = 0.0
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    now = time.monotonic()
                    deadline = deadline or now + LOCK_TIMEOUT
                    if now >= deadline:
                        raise StateError(
                            "container is busy: another operation on it is still running", container=container
                        ) from None
                    time.sleep(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)
            try:
                there = os.stat(container, dir_fd=root, follow_symlinks=False)
            except FileNotFoundError:
                there = None
            if there is not None and _same(there, os.fstat(descriptor)):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None


def _missing(container: str) -> ContainerNotFoundError:
    return ContainerNotFoundError("container does not exist", container=container, value=container)


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_ino, one.st_dev) == (other.st_ino, other.st_dev)


def _read_all(descriptor: int) -> bytes | None:
    """Return the content of a regular file of a bearable size; ``None`` when it is something else."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size > SIZE_LIMIT:
        return None
    parts = []
    room = SIZE_LIMIT + 1
    while room > 0 and (part := os.read(descriptor, min(room, status.st_size + 1))):
        parts.append(part)
        room -= len(part)
    return b"".join(parts) if room > 0 else None


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _unlink_quietly(name: str, directory: int) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass


def _rmdir_quietly(name: str, directory: int) -> None:
    try:
        os.rmdir(name, dir_fd=directory)
    except OSError:
        pass


def _empty(directory: int, *, keep: str = "") -> None:
    """Remove everything in *directory* but *keep*, following no links."""
    for name in os.listdir(directory):
        if name == keep:
            continue
        try:
            os.unlink(name, dir_fd=directory)
        except FileNotFoundError:
            continue
        except (IsADirectoryError, PermissionError):  # EISDIR on Linux, EPERM by POSIX
            child = os.open(name, _DIRECTORY, dir_fd=directory)
            try:
                _empty(child)
            finally:
                os.close(child)
            os.rmdir(name, dir_fd=directory)
