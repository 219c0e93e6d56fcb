"""How a kernel's refusal becomes an error that names property, step, file and reason."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import PlatformError, StepError, shorten
from orlop_linux.live.process import reason

if TYPE_CHECKING:
    from orlop_hookspecs.steps.base import Step

_HINTS = {
    errno.EINVAL: "the kernel does not take this value here",
    errno.ENOENT: "the running kernel does not offer it",
    errno.ENODEV: "there is no such device",
    errno.EOPNOTSUPP: "the running kernel does not support it",
    errno.EROFS: "the file system is mounted read-only",
    errno.ERANGE: "the value is out of range",
    errno.ENOSPC: "the kernel has no room for it, or it exceeds what the parent has",
}
_UNNAMED = {524: "operation not supported"}  # ENOTSUPP, which the kernel should not but does return


def refuse(  # noqa: PLR0913 - an error is its parts
    step: Step, plugin: str, message: str, *, hint: str = "", number: int = errno.EINVAL, path: str = ""
) -> StepError:
    """Return the error for a step that cannot be executed as asked."""
    return StepError(
        message,
        pointer=step.because,
        plugin=plugin,
        step=shorten_step(step),
        hint=hint,
        errno=number,
        path=path,
    )


def refuse_os(  # noqa: PLR0913 - an error is its parts
    step: Step, plugin: str, act: str, error: OSError, *, path: str = "", hint: str = ""
) -> StepError:
    """Return the error for a step that the kernel refused with *error* while it should *act*."""
    number = error.errno or errno.EIO
    why = _UNNAMED.get(number) or reason(error)
    return refuse(
        step, plugin, f"{act}: {why}", hint=hint or _HINTS.get(number, ""), number=number, path=path
    )


def lacking(message: str, *, hint: str = "", pointer: str = "") -> PlatformError:
    """Return the error for a host that lacks what is needed."""
    return PlatformError(message, hint=hint, pointer=pointer, errno=errno.EOPNOTSUPP)


def shorten_step(step: Step) -> str:
    """Return the step's description, short enough for one line."""
    return shorten(step.describe(), 200).strip("'\"")
