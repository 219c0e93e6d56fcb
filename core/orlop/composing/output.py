"""Write the file of a composed runtime: all of it or nothing, and in no other file's place."""

from __future__ import annotations

import os
import stat

from orlop_hookspecs.errors import UsageError

_FLAGS = os.O_WRONLY | os.O_CLOEXEC
_NEW = _FLAGS | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_MODE = 0o755
_DESCRIPTORS = "/proc/self/fd"


def check(path: str, mark: bytes) -> None:
    """Refuse a *path* where something stands that would be lost.

    Replaced is only what was composed before (its first line has *mark* in it), or an empty file: not a
    manifest, not a device, and not a link, whose target would go on being what others run.

    Raises:
        UsageError: Something else is there.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError as error:
        if not os.path.isdir(os.path.dirname(path)):
            raise _failure(path, error) from None
        return
    except OSError as error:
        raise _failure(path, error) from None
    if stat.S_ISDIR(status.st_mode):
        raise UsageError("cannot write the runtime: is a directory", path=path)
    if stat.S_ISLNK(status.st_mode):
        raise UsageError(
            "cannot write the runtime: there is a symbolic link",
            path=path,
            hint="name the file that it points to, or remove it",
        )
    if not stat.S_ISREG(status.st_mode):
        raise UsageError("cannot write the runtime: there is something that is no file", path=path)
    if not status.st_size:
        return
    try:
        with open(path, "rb") as file:
            composed = mark in file.readline(256)
    except OSError as error:
        raise _failure(path, error) from None
    if not composed:
        raise UsageError(
            "cannot write the runtime: there is a file that was not composed",
            path=path,
            hint="remove it, or name another place with --output",
        )


def write(path: str, content: bytes) -> None:
    """Write the file, executable, replacing what was there only when all of it is on the disk.

    Until then it has no name, where the file system can do that: whoever is killed leaves nothing.

    Raises:
        UsageError: It cannot be written.
    """
    temporary = f"{path}.{os.urandom(6).hex()}.new"
    named = False
    try:
        try:
            descriptor = _unnamed(os.path.dirname(path))
            if descriptor is None:
                descriptor = os.open(temporary, _NEW, _MODE)
                named = True
            try:
                view = memoryview(content)
                while view:
                    view = view[os.write(descriptor, view) :]
                os.fsync(descriptor)
                if not named and not _link(descriptor, path):
                    named = _link(descriptor, temporary)
            finally:
                os.close(descriptor)
            if named:
                os.rename(temporary, path)
                named = False
        except OSError as error:
            raise _failure(path, error) from None
    finally:
        if named:
            try:
                os.unlink(temporary)
            except OSError:
                pass
    _settle(os.path.dirname(path))


def _unnamed(directory: str) -> int | None:
    """Return a descriptor of a new file in *directory* without a name (open(2), O_TMPFILE), if it can be."""
    kind = getattr(os, "O_TMPFILE", None)
    if kind is None or not os.path.isdir(_DESCRIPTORS):
        return None
    try:
        return os.open(directory, _FLAGS | kind, _MODE)
    except OSError:
        return None  # what is wrong for a file with a name as well, that one will tell


def _link(descriptor: int, path: str) -> bool:
    """Give the file of *descriptor* the name *path*; tell whether there was none of that name."""
    # With a directory's descriptor the call is linkat(2), and only that one can follow the link.
    directory = os.open(_DESCRIPTORS, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.link(str(descriptor), path, src_dir_fd=directory, follow_symlinks=True)
    except FileExistsError:
        return False
    finally:
        os.close(directory)
    return True


def _settle(directory: str) -> None:
    """Let no power cut take back the name; where that cannot be had, the file is whole anyway."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def _failure(path: str, error: OSError) -> UsageError:
    reason = (error.strerror or str(error)).lower()
    return UsageError(f"cannot write the runtime: {reason}", path=path, errno=error.errno)
