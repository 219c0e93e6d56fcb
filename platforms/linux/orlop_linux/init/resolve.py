"""The only module that resolves paths below the container's root.

The image decides what a path leads to, and another process may change it at any moment. So the kernel
resolves with the root as its prison (openat2(2), RESOLVE_IN_ROOT), or we do, one component at a time, with a
descriptor of each directory and no symbolic link ever followed by the kernel. Callers get descriptors, never
paths.
"""

from __future__ import annotations

import errno
import os
import stat

from orlop_linux.init import syscalls

LINKS_MAX = 40
"""Symbolic links in one resolution, as path_resolution(7)."""
PATH_MAX = 4096
"""Bytes of a path with its final NUL, as limits.h."""

PROC_SUPER_MAGIC = 0x9FA0

_IN_ROOT = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
# Another process that renames all the time makes openat2(2) give up each time; our own walk does not mind.
_ATTEMPTS = 32
_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def encode_text(text: str) -> bytes:
    """Return *text* as the kernel takes it; it need not be a path.

    Raises:
        OSError: EINVAL: it holds a NUL or half a surrogate pair.
    """
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeError:
        raise OSError(errno.EINVAL, "") from None
    if b"\0" in raw:
        raise OSError(errno.EINVAL, "")
    return raw


def encode(path: str) -> bytes:
    """Return *path* as the kernel takes it.

    Raises:
        OSError: EINVAL: it holds a NUL or half a surrogate pair; ENOENT: it is empty; ENAMETOOLONG.
    """
    raw = encode_text(path)
    if not raw:
        raise OSError(errno.ENOENT, "")
    if len(raw) >= PATH_MAX:
        raise OSError(errno.ENAMETOOLONG, "")
    return raw


def open_in_root(root_fd: int, path: str, flags: int = os.O_PATH) -> int:
    """Return a descriptor of *path*, resolved with *root_fd* as the root.

    Flags without O_PATH are only for what cannot block; add O_NONBLOCK and O_NOFOLLOW where in doubt.

    Raises:
        OSError: As path_resolution(7); ELOOP also for magic links (proc(5)).
    """
    raw = encode(path)
    fd = _openat2(root_fd, raw, flags, _IN_ROOT)
    return walk(root_fd, raw, flags) if fd is None else fd


def _openat2(root_fd: int, raw: bytes, flags: int, how: int) -> int | None:
    """Return what openat2(2) opened; ``None`` when it is not there or cannot make up its mind."""
    for _ in range(_ATTEMPTS):
        try:
            return syscalls.openat2(root_fd, raw, flags, how)
        except OSError as error:
            if error.errno in (errno.ENOSYS, errno.EPERM):
                return None  # no such call, or a filter forbids it
            if error.errno not in (errno.EAGAIN, errno.EINTR):
                raise
    return None


def _components(raw: bytes) -> list[bytes]:
    """Return the components of *raw*, last first; a final slash asks for a directory, as ``.`` does."""
    parts = [part for part in raw.split(b"/") if part]
    if raw.endswith(b"/"):
        parts.append(b".")
    parts.reverse()
    return parts


class _Walk:
    """A resolution in progress: where it is, how it got there, and what is left."""

    __slots__ = ("here", "links", "names", "pending", "root_fd")

    def __init__(self, root_fd: int, raw: bytes, links: int) -> None:
        self.root_fd = root_fd
        self.here = os.dup(root_fd)
        self.names: list[bytes] = []
        """Real names from the root to ``here``."""
        self.pending = _components(raw)
        self.links = links

    def close(self) -> None:
        os.close(self.here)

    def move(self, fd: int) -> None:
        os.close(self.here)
        self.here = fd

    def up(self) -> None:
        """Go to the parent by walking down from the root again.

        The ``..`` of a directory that somebody moves meanwhile could be outside of the root.
        """
        if self.names:
            self.names.pop()
        self.move(os.dup(self.root_fd))
        for name in self.names:
            self.move(os.open(name, _STEP | os.O_DIRECTORY, dir_fd=self.here))

    def follow(self, link: int) -> None:
        """Put what the symbolic link *link* says in front of what is left."""
        self.links -= 1
        if self.links < 0:
            raise OSError(errno.ELOOP, "")
        target = os.readlink(b"", dir_fd=link)
        if not target:
            raise OSError(errno.ENOENT, "")
        # The links of processes to their files and directories say "/..." or "kind:[number]".
        if (target[:1] == b"/" or b":" in target) and syscalls.statfs_type(link) == PROC_SUPER_MAGIC:
            raise OSError(errno.ELOOP, "")
        if target[:1] == b"/":
            self.names.clear()
            self.move(os.dup(self.root_fd))
        self.pending += _components(target)

    def require_directory(self) -> None:
        if not stat.S_ISDIR(os.fstat(self.here).st_mode):
            raise OSError(errno.ENOTDIR, "")

    def make(self, name: bytes, kind: int, mode: int) -> None:
        """Make the missing *name* here, a directory unless it is the last one."""
        if b".." in self.pending:
            raise OSError(errno.ENOENT, "")
        try:
            if self.pending or kind == stat.S_IFDIR:
                os.mkdir(name, mode, dir_fd=self.here)
            else:
                os.mknod(name, kind | mode, dir_fd=self.here)
        except FileExistsError:
            pass  # somebody was faster; what it is shows when it is opened

    def step(self, name: bytes, kind: int, mode: int) -> None:
        """Resolve one component; make it if it is missing and *kind* says as what."""
        if name == b"..":
            self.require_directory()
            self.up()
            return
        if name == b".":
            self.require_directory()
            return
        try:
            fd = os.open(name, _STEP, dir_fd=self.here)
        except FileNotFoundError:
            if not kind:
                raise
            self.make(name, kind, 0o755 if self.pending else mode)
            fd = os.open(name, _STEP, dir_fd=self.here)
        if stat.S_ISLNK(os.fstat(fd).st_mode):
            try:
                self.follow(fd)
            finally:
                os.close(fd)
        else:
            self.move(fd)
            self.names.append(name)


def walk(  # noqa: PLR0913 - what openat2(2) takes, and what to make
    root_fd: int,
    raw: bytes,
    flags: int = os.O_PATH,
    *,
    kind: int = 0,
    mode: int = 0o755,
    links: int = LINKS_MAX,
) -> int:
    """Resolve *raw* inside *root_fd* without openat2(2).

    Args:
        root_fd: The root.
        raw: What to resolve.
        flags: How to open it; without O_PATH the last component is opened again through its directory.
        kind: S_IFDIR or S_IFREG: make what is missing, the last component as that. Where a symbolic link
            leads to nothing, its target is made, unless it goes up through what is not there.
        mode: Permission bits of the last component if it is made.
        links: Symbolic links that may be followed; one more is ELOOP.

    Raises:
        OSError: As path_resolution(7).
    """
    state = _Walk(root_fd, raw, links)
    try:
        while state.pending:
            state.step(state.pending.pop(), kind, mode)
        if flags & os.O_DIRECTORY:
            state.require_directory()
        if flags & os.O_PATH:
            fd, state.here = state.here, -1
            return fd
        return _reopen(state, flags)
    finally:
        if state.here >= 0:
            state.close()


def _reopen(state: _Walk, flags: int) -> int:
    """Return ``state.here`` opened with *flags*, verified to be the same file."""
    seen = os.fstat(state.here)
    if stat.S_ISDIR(seen.st_mode):
        return os.open(b".", flags | os.O_CLOEXEC, dir_fd=state.here)
    if not state.names:
        raise OSError(errno.ENOTDIR, "")
    last = state.names[-1]
    state.up()
    fd = os.open(last, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=state.here)
    now = os.fstat(fd)
    if (now.st_dev, now.st_ino) != (seen.st_dev, seen.st_ino):
        os.close(fd)
        raise OSError(errno.EAGAIN, "")
    return fd


def make_directory(root_fd: int, path: str, mode: int = 0o755) -> int:
    """Return an O_PATH descriptor of the directory *path*; what is missing is made inside the root.

    Raises:
        OSError: ENOTDIR: it is something else; ENOENT: a dangling link leads up through what is not there.
    """
    try:
        return open_in_root(root_fd, path, os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        return walk(root_fd, encode(path), os.O_PATH | os.O_DIRECTORY, kind=stat.S_IFDIR, mode=mode)


def make_file(root_fd: int, path: str, mode: int = 0o644) -> int:
    """Return an O_PATH descriptor of *path*; if it is missing, an empty file is made there.

    Whatever is there already is not opened in a way that could block or have an effect.
    """
    try:
        return open_in_root(root_fd, path, os.O_PATH)
    except FileNotFoundError:
        return walk(root_fd, encode(path), os.O_PATH, kind=stat.S_IFREG, mode=mode)


def split_parent(root_fd: int, path: str) -> tuple[int, str]:
    """Return a descriptor of the directory that holds *path*, made if missing, and the last name, unresolved.

    Raises:
        OSError: EINVAL: the last component is no name; as :func:`make_directory`.
    """
    head, _, name = path.rstrip("/").rpartition("/")
    if name in ("", ".", ".."):
        raise OSError(errno.EINVAL, "")
    encode(name)
    return make_directory(root_fd, head or "/"), name


def real_directory(root_fd: int, path: str) -> int:
    """Return a descriptor of the directory *path*, of which no component may be a symbolic link.

    For procfs and sysfs: whoever redirects them redirects what is written to them. It is made if it is
    missing.

    Raises:
        OSError: ELOOP: a component is a symbolic link; ENOTDIR.
    """
    raw = encode(path)
    flags = os.O_PATH | os.O_DIRECTORY
    try:
        fd = _openat2(root_fd, raw, flags, _IN_ROOT | syscalls.RESOLVE_NO_SYMLINKS)
    except FileNotFoundError:
        fd = None
    if fd is None:
        fd = walk(root_fd, raw, flags, kind=stat.S_IFDIR, links=0)
    return fd
