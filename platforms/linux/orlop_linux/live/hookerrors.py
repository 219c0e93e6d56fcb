"""The error of a hook that failed: the same words, whoever ran it."""

from __future__ import annotations

from orlop_hookspecs.errors import HookError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_SHOWN = 2000  # characters of the hook's output in the message, which is one line


def exited(status: int) -> str:
    """Return why a hook failed that exited with *status*."""
    return f"exit status {status}"


def killed(number: int) -> str:
    """Return why a hook failed that a signal ended."""
    return f"killed by signal {number}"


def out_of_time(timeout: object) -> str:
    """Return why a hook failed that had not ended after *timeout* seconds."""
    return f"it ran out of time after {timeout} s and was killed"


def cannot_run(why: str) -> str:
    """Return why a hook failed that the kernel would not execute."""
    return f"cannot run it: {why}"


def hook_error(
    hook: Mapping[str, Any], why: str, *, number: int | None = None, output: bytes = b"", hint: str = ""
) -> HookError:
    """Return the error of *hook*, the fields of a RunHook step.

    Args:
        hook: The hook.
        why: What went wrong, in the words of this module.
        number: The errno.
        output: The end of what it wrote; all of it is a note of the error.
        hint: What to do.
    """
    text = output.decode("utf-8", "replace").strip()
    shown = text if len(text) <= _SHOWN else "..." + text[-_SHOWN:]
    error = HookError(
        f"{hook.get('kind', '')} hook {hook.get('index', 0)}: {why}"
        + (f", output: {shown!a}" if shown else ""),
        act="run hook",
        pointer=str(hook.get("because", "")),
        value=hook.get("path"),
        errno=number,
        hint=hint,
    )
    if text:
        error.add_note(text)
    return error
