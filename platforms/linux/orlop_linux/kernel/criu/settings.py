"""The file with further options for CRIU: the administrator's, or the one that ConfigureCriu names.

CRIU would pass over a file that it cannot read. Here it is an error, and the file is opened once: what was
looked at is what CRIU reads.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import StepError
from orlop_linux.live.process import reason

if TYPE_CHECKING:
    from typing import Any

    from orlop_hookspecs.plan import PlannedStep

FILES = ("/etc/criu/orlop.conf", "/etc/criu/runc.conf")
"""The administrator's files; the first one that there is counts."""

_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def open_settings(planned: PlannedStep | None) -> int:
    """Return a descriptor of the file that counts; -1 when there is none.

    Args:
        planned: ConfigureCriu, if the config says something about it.

    Raises:
        StepError: The file cannot be read, or is not root's alone.
    """
    if planned is None:
        for path in FILES:
            try:
                return _open(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise StepError(
                    f"cannot use the file with options for criu: {reason(error)}",
                    path=path,
                    errno=error.errno,
                ) from error
        return -1
    step: Any = planned.step
    if not step.path:
        return -1
    try:
        return _open(step.path)
    except OSError as error:
        raise StepError(
            f"cannot use the file with options for criu: {reason(error)}",
            pointer=step.because,
            plugin=planned.plugin,
            path=step.path,
            errno=error.errno,
            hint="it has to be a regular file of root's that nobody else can write",
        ) from error


def _open(path: str) -> int:
    """Return a descriptor of the regular file at *path*, if it is root's and nobody else can write it."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    info = os.fstat(fd)
    if stat.S_ISREG(info.st_mode) and info.st_uid == 0 and not info.st_mode & _OTHERS:
        return fd
    os.close(fd)
    raise PermissionError(1, os.strerror(1))
