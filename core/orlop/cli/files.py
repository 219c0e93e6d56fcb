"""The pid file: written where a caller says, as a whole or not at all."""

from __future__ import annotations

import errno
import os
import stat

from orlop_hookspecs.errors import UsageError

_MODE = 0o666
_ATTEMPTS = 16


class PidFile:
    """A place for a process id that was looked at before anything was made.

    Engines read the whole file as one number: it has no newline, and it appears by rename(2) only. Whatever
    is at the path already must be a regular file: a rename onto ``/dev/null`` or a planted link would succeed
    just as well.

    Raises:
        UsageError: The directory does not exist, or something other than a regular file is in the way.
    """

    def __init__(self, path: str) -> None:
        """Open the directory of *path*, relative to the current directory."""
        self._path = path
        directory, _, self._name = path.rpartition("/")
        if self._name in {"", ".", ".."} or "\0" in path:
            raise UsageError("the pid file has no name", path=path)
        try:
            self._directory = os.open(
                directory or ("/" if path[:1] == "/" else "."), os.O_RDONLY | os.O_DIRECTORY
            )
        except (OSError, ValueError) as error:
            raise self._refuse(error) from error
        try:
            mode = os.stat(self._name, dir_fd=self._directory, follow_symlinks=False).st_mode
        except OSError as error:
            if error.errno != errno.ENOENT:
                os.close(self._directory)
                raise self._refuse(error) from error
        else:
            if not stat.S_ISREG(mode):
                os.close(self._directory)
                raise UsageError(
                    "something that is not a regular file is where the pid file would go", path=path
                )

    def write(self, pid: int) -> None:
        """Write *pid*; after an error nothing is left behind.

        Raises:
            UsageError: The file cannot be written.
        """
        try:
            temporary, descriptor = self._temporary()
        except OSError as error:
            raise self._refuse(error) from error
        try:
            try:
                os.write(descriptor, b"%d" % pid)
            finally:
                os.close(descriptor)
            os.rename(temporary, self._name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except OSError as error:
            os.unlink(temporary, dir_fd=self._directory)
            raise self._refuse(error) from error

    def close(self) -> None:
        """Close the directory."""
        os.close(self._directory)

    def _temporary(self) -> tuple[str, int]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        for _ in range(_ATTEMPTS):
            name = f".orlop-{os.urandom(8).hex()}"
            try:
                return name, os.open(name, flags, _MODE, dir_fd=self._directory)
            except FileExistsError:
                continue
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    def _refuse(self, error: OSError | ValueError) -> UsageError:
        why = os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else str(error)
        number = error.errno if isinstance(error, OSError) else None
        return UsageError(f"cannot write the pid file: {why}", path=self._path, errno=number)
