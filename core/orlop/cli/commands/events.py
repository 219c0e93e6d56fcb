"""``orlop events``: what the kernel accounts for a container, once or again and again."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

from orlop.cli.output import to_json, write
from orlop.lifecycle.site import find
from orlop.lifecycle.stats import stats
from orlop_hookspecs.errors import ContainerNotFoundError, StateError, UsageError

if TYPE_CHECKING:
    from orlop.cli.context import Context

_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "\u00b5s": 1e-6,
    "\u03bcs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_DIGITS = frozenset("0123456789.")


def run(context: Context) -> int:
    """Print one line of statistics per interval until the container stops; with ``--stats`` one line."""
    seconds = duration(context.line.text("interval"))
    site = context.site()
    record, _ = find(site, context.id)
    if context.line.on("stats"):
        _show(context.id, stats(site, context.id))
        return 0
    try:
        process = os.pidfd_open(record.pid) if record.pid else -1
    except OSError:
        process = -1
    # Asked after the process has been opened: what was opened is then known to be the container's.
    _, kernel = find(site, context.id)
    if process < 0 or kernel.status(record) == "stopped":
        raise StateError(f"container with id {context.id} is not running", container=context.id)
    poll = select.poll()
    poll.register(process, select.POLLIN)
    while not poll.poll(seconds * 1000):
        try:
            _show(context.id, stats(site, context.id))
        except (StateError, ContainerNotFoundError):
            break
    os.close(process)
    return 0


def duration(text: str) -> float:
    """Return the seconds that *text* says, as Go writes durations: ``5s``, ``500ms``, ``1m30s``.

    Raises:
        UsageError: It says none, or not more than zero.
    """
    total = 0.0
    rest = text
    while rest:
        number = rest[: next((i for i, c in enumerate(rest) if c not in _DIGITS), len(rest))]
        rest = rest[len(number) :]
        unit = rest[: next((i for i, c in enumerate(rest) if c in _DIGITS), len(rest))]
        rest = rest[len(unit) :]
        try:
            total += float(number) * _UNITS[unit]
        except (ValueError, KeyError):
            raise UsageError("--interval: expected a duration such as 5s or 500ms", value=text) from None
    if not 0 < total < float(1 << 31) / 1000:
        raise UsageError("--interval: it must be greater than zero, and at most 24 days", value=text)
    return total


def _show(container: str, data: object) -> None:
    write(to_json({"type": "stats", "id": container, "data": data}) + "\n")
