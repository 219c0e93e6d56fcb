"""The container child's failures as errors for people: the engine formats what the child may only count."""

from __future__ import annotations

import os

from orlop_hookspecs.errors import HookError, OrlopError, StepError, printable
from orlop_linux.init import failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from orlop_hookspecs.plan import PlannedStep

_PHASES = {
    failure.PHASE_SPAWN: "clone",
    failure.PHASE_CONTAINER: "container",
    failure.PHASE_CONFINED: "confined",
    failure.PHASE_EXEC: "exec",
}
_ENOENT = 2
_DESCRIBE_LIMIT = 120


class Outline:
    """What an error says about one step: small enough to be kept with the container until its start."""

    __slots__ = ("because", "describe", "name", "plugin", "subject")

    def __init__(self, name: str, describe: str, plugin: str, because: str, subject: str) -> None:
        """Keep the parts."""
        self.name = name
        self.describe = describe
        self.plugin = plugin
        self.because = because
        self.subject = subject

    @classmethod
    def of(cls, planned: PlannedStep) -> Outline:
        """Return the outline of a planned step."""
        step: Any = planned.step
        name = type(step).__name__
        args = getattr(step, "args", ())
        subject = step.path if name == "RunHook" else args[0] if args else ""
        if name == "RunHook":
            subject = f"{step.kind} hook {step.index} ({step.path})"
        return cls(name, printable(step.describe(), _DESCRIBE_LIMIT), planned.plugin, step.because, subject)

    def to_data(self) -> list[str]:
        """Return the outline as JSON-ready data."""
        return [self.name, self.describe, self.plugin, self.because, self.subject]

    @classmethod
    def from_data(cls, data: Any) -> Outline:  # noqa: ANN401 - it was stored, so it is verified here
        """Return the outline that :meth:`to_data` gave; anything else gives an empty one."""
        if (
            isinstance(data, list)
            and len(data) == len(cls.__slots__)
            and all(isinstance(d, str) for d in data)
        ):
            return cls(*data)
        return cls("", "", "", "", "")


def _executable(one: Outline, number: int, detail: int) -> str:
    name = one.subject
    if detail == failure.DETAIL_NOT_IN_PATH:
        return f'exec: "{name}": executable file not found in $PATH'
    if detail == failure.DETAIL_DIRECTORY:
        return f'exec: "{name}": is a directory'
    if detail == failure.DETAIL_CWD:
        return "the working directory is not inside the root file system of the container"
    if detail == failure.DETAIL_CHDIR:
        return f"cannot make or enter the working directory: {os.strerror(number).lower()}"
    if number == _ENOENT and one.name == "Execute":
        return f'exec: "{name}": it or its interpreter does not exist: no such file or directory'
    if number == _ENOENT:
        return f'exec: "{name}": stat {name}: no such file or directory'
    return f'exec: "{name}": {os.strerror(number).lower()}'


def _hook(one: Outline, number: int, detail: int, output: bytes) -> str:
    if detail == failure.DETAIL_HOOK_EXIT:
        why = f"exit status {number}"
    elif detail == failure.DETAIL_HOOK_SIGNAL:
        why = f"ended by signal {number}"
    elif detail == failure.DETAIL_HOOK_TIMEOUT:
        why = "timeout"
    else:
        why = os.strerror(number).lower()
    text = output.decode("utf-8", "replace").strip()
    return f"{one.subject} failed: {why}" + (f", output: {text}" if text else "")


def error_of(payload: bytes, outlines: dict[str, Sequence[Outline]], container: str) -> OrlopError:
    """Return the error that the child's *payload* stands for.

    Args:
        payload: What the child sent; anything may stand in it.
        outlines: The steps of each phase.
        container: Identifier for the error.
    """
    unpacked = failure.unpack_failure(payload)
    if unpacked is None:
        return StepError("the container process sent an answer that makes no sense", container=container)
    phase, index, number, detail, output = unpacked
    name = _PHASES.get(phase, "")
    steps = outlines.get(name, ())
    one = steps[index] if 0 <= index < len(steps) else Outline("", "", "", "", "")
    if one.name == "RunHook":
        error: OrlopError = HookError(_hook(one, number, detail, output), errno=number)
    elif one.name in ("Execute", "CheckExecutable"):
        error = StepError(_executable(one, number, detail), errno=number)
    elif detail == failure.DETAIL_UNKNOWN_STEP:
        error = StepError("the container child does not know this step", step=one.describe, errno=number)
    else:
        what = one.describe or "the birth of the container process"
        error = StepError(f"{what}: {os.strerror(number).lower()}", errno=number)
    error.container, error.plugin, error.pointer = container, one.plugin, one.because
    return error
