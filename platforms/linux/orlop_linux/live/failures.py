"""The container child's failures as errors for people: the engine formats what the child may only count."""

from __future__ import annotations

import os

from orlop_hookspecs.errors import OrlopError, StepError, printable
from orlop_linux.init import failure
from orlop_linux.live.hookerrors import cannot_run, exited, hook_error, killed, out_of_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from orlop_hookspecs.errors import HookError
    from orlop_hookspecs.plan import PlannedStep

_PHASES = {
    failure.PHASE_SPAWN: "clone",
    failure.PHASE_CONTAINER: "container",
    failure.PHASE_CONFINED: "confined",
    failure.PHASE_EXEC: "exec",
}
_ENOENT, _EINVAL = 2, 22
_LABELS = {"SetApparmorProfile": "profile", "SetSelinuxLabel": "label", "NewKeyring": "label"}
_WORD_LIMIT = 120
_LAST_NUMBER = 4095  # errno(3): the kernel knows no larger one; exit statuses and signals are smaller


class Outline:
    """What an error says about one step: small enough to be kept with the container until its start."""

    __slots__ = ("because", "name", "plugin", "subject", "words")

    def __init__(self, name: str, words: str, plugin: str, because: str, subject: str) -> None:
        """Keep the parts."""
        self.name = name
        self.words = words
        self.plugin = plugin
        self.because = because
        self.subject = subject

    @classmethod
    def of(cls, planned: PlannedStep) -> Outline:
        """Return the outline of a planned step."""
        step: Any = planned.step
        name = type(step).__name__
        args = getattr(step, "args", ())
        subject = args[0] if args else ""
        if name == "RunHook":
            subject = f"{step.kind} {step.index} {step.timeout} {step.path}"
        elif name in _LABELS:
            subject = printable(getattr(step, _LABELS[name]), _WORD_LIMIT)
        return cls(name, printable(step.words(), _WORD_LIMIT), planned.plugin, step.because, subject)

    def to_data(self) -> list[str]:
        """Return the outline as JSON-ready data."""
        return [self.name, self.words, self.plugin, self.because, self.subject]

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
    if detail == failure.DETAIL_CWD:
        return "the working directory is not inside the root file system of the container"
    why = os.strerror(number).lower()
    if detail == failure.DETAIL_CHDIR:
        return f"cannot make or enter the working directory: {why}"
    if detail == failure.DETAIL_NOT_IN_PATH:
        why = "executable file not found in $PATH"
    elif detail == failure.DETAIL_DIRECTORY:
        # The second half, all that execve(2) would say, is what engines look for.
        why = "is a directory: permission denied"
    elif number == _ENOENT and one.name == "CheckExecutable":
        why = f"stat {one.subject}: {why}"
    elif number == _ENOENT:
        why = f"the program or its interpreter is missing: {why}"
    return f'exec: "{one.subject}": {why}'


def _label(one: Outline, number: int, detail: int) -> str:
    if one.name != "SetApparmorProfile":
        return f'cannot set the SELinux label "{one.subject}": {os.strerror(number).lower()}'
    if number == _ENOENT or detail == failure.DETAIL_PROFILE:
        return f'AppArmor has no profile "{one.subject}" loaded'
    return f'cannot set the AppArmor profile "{one.subject}": {os.strerror(number).lower()}'


def _hook(one: Outline, number: int, detail: int, output: bytes) -> HookError:
    kind, index, timeout, path = (one.subject.split(" ", 3) + [""] * 3)[:4]
    hook = {"kind": kind, "index": index, "path": path, "because": one.because}
    if detail == failure.DETAIL_HOOK_EXIT:
        why = exited(number)
    elif detail == failure.DETAIL_HOOK_SIGNAL:
        why = killed(number)
    elif detail == failure.DETAIL_HOOK_TIMEOUT:
        why = out_of_time(timeout)
    else:
        return hook_error(hook, cannot_run(os.strerror(number).lower()), number=number)
    return hook_error(hook, why, output=output)


def error_of(payload: bytes, outlines: Mapping[str, Sequence[Outline]], container: str) -> OrlopError:
    """Return the error that the child's *payload* stands for.

    Args:
        payload: What the child sent; anything may stand in it.
        outlines: The steps of each phase.
        container: Identifier for the error.
    """
    unpacked = failure.unpack_failure(payload)
    if unpacked is None or not 0 <= unpacked[2] <= _LAST_NUMBER:
        return StepError("the container process sent an answer that makes no sense", container=container)
    phase, index, number, detail, output = unpacked
    name = _PHASES.get(phase, "")
    steps = outlines.get(name, ())
    one = steps[index] if 0 <= index < len(steps) else Outline("", "", "", "", "")
    if one.name == "RunHook":
        error: OrlopError = _hook(one, number, detail, output)
    elif one.name in ("Execute", "CheckExecutable"):
        error = StepError(_executable(one, number, detail), errno=number)
    elif detail == failure.DETAIL_UNKNOWN_STEP:
        error = StepError(f"the container child cannot {one.words}: it knows no such step", errno=number)
    elif one.name in _LABELS and one.subject:
        error = StepError(_label(one, number, detail), errno=number)
    elif detail == failure.DETAIL_AFFINITY and number == _EINVAL:
        error = StepError(f"cannot {one.words}: the host or the cpuset lacks one of the CPUs", errno=number)
    elif detail == failure.DETAIL_NODES:
        error = StepError(f"cannot {one.words}: this host or the cpuset lacks one of the nodes", errno=number)
    else:
        what = one.words or "make the container process"
        error = StepError(f"cannot {what}: {os.strerror(number).lower()}", errno=number)
    error.container, error.plugin, error.pointer = container, one.plugin, one.because
    return error
