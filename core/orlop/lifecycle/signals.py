"""Signals by name and number, as people and engines write them."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]

from orlop_hookspecs.errors import UsageError

LAST = 64
"""Number of the last signal (signal(7))."""


def parse_signal(signal: str | int) -> int:
    """Return the number of *signal*: ``9``, ``KILL``, ``SIGKILL``, ``sigkill``, ``RTMIN+3``; 0 only probes.

    Raises:
        UsageError: There is no such signal.
    """
    number = int(signal) if isinstance(signal, int) else _by_name(signal)
    if number is None or not 0 <= number <= LAST:
        raise UsageError("unknown signal", value=signal)
    return number


def _by_name(text: str) -> int | None:
    if not text.isascii():  # upper() would turn a dotless i into the I of KILL
        return None
    if text.isdigit():
        return int(text) if len(text) <= len(str(LAST)) + 1 else None
    name = text.upper().removeprefix("SIG")
    base, sign, offset = name.partition("+" if "+" in name else "-")
    number = getattr(_signal, f"SIG{base}", None) if base.isalnum() else None
    if not isinstance(number, int) or base in {"_DFL", "_IGN", "_BLOCK", "_UNBLOCK", "_SETMASK"}:
        return None
    if not sign:
        return int(number)
    if base not in {"RTMIN", "RTMAX"} or not (offset.isascii() and offset.isdigit()):
        return None
    number = int(number) + int(offset) * (1 if sign == "+" else -1)
    return number if _signal.SIGRTMIN <= number <= _signal.SIGRTMAX else None
