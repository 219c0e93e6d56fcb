"""What the fake kernel raises: refusals in Linux's words, the runtime's death, waiting without end."""

from __future__ import annotations

import errno
import os

_TEXTS = {
    errno.EPERM: "operation not permitted",
    errno.ENOENT: "no such file or directory",
    errno.ESRCH: "no such process",
    errno.EIO: "input/output error",
    errno.E2BIG: "argument list too long",
    errno.ENOEXEC: "exec format error",
    errno.EBADF: "bad file descriptor",
    errno.ECHILD: "no child processes",
    errno.EAGAIN: "resource temporarily unavailable",
    errno.ENOMEM: "cannot allocate memory",
    errno.EACCES: "permission denied",
    errno.EBUSY: "device or resource busy",
    errno.EEXIST: "file exists",
    errno.ENODEV: "no such device",
    errno.ENXIO: "no such device or address",
    errno.ENOTDIR: "not a directory",
    errno.EISDIR: "is a directory",
    errno.EINVAL: "invalid argument",
    errno.EMFILE: "too many open files",
    errno.EFBIG: "file too large",
    errno.ENOSPC: "no space left on device",
    errno.EROFS: "read-only file system",
    errno.ERANGE: "numerical result out of range",
    errno.EOVERFLOW: "value too large for defined data type",
    errno.ENAMETOOLONG: "file name too long",
    errno.ENOSYS: "function not implemented",
    errno.ENOTEMPTY: "directory not empty",
    errno.ELOOP: "too many levels of symbolic links",
    errno.EOPNOTSUPP: "operation not supported",
    errno.ECONNREFUSED: "connection refused",
}
"""Linux's texts, so that messages are the same on every operating system."""

ENOTBLK = getattr(errno, "ENOTBLK", 15)
"""Block device required; not every operating system has it."""


class RuntimeCrash(BaseException):
    """The runtime was killed here; a ``BaseException``, so that nobody handles it by accident."""


class DeadlockError(RuntimeError):
    """Something waits for what cannot happen any more; on a real kernel the caller would hang here."""


def text_of(number: int) -> str:
    """Return Linux's text for error *number*, in lower case."""
    if number == ENOTBLK:
        return "block device required"
    return _TEXTS.get(number) or os.strerror(number).lower()


def refusal(number: int, path: str = "", message: str = "") -> OSError:
    """Return the error with which the kernel refuses; *message* replaces the number's usual text."""
    if path:
        return OSError(number, message or text_of(number), path)
    return OSError(number, message or text_of(number))
