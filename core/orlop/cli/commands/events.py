"""``orlop events``: what the kernel accounts for a container, and when it lacked memory."""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING

from orlop.cli.accounting import engines_statistics
from orlop.cli.output import to_json, write
from orlop.lifecycle.site import find
from orlop.lifecycle.stats import stats
from orlop_hookspecs.errors import ContainerNotFoundError, StateError, UsageError

if TYPE_CHECKING:
    from typing import Any, Protocol

    from orlop.cli.context import Context

    class Shortages(Protocol):
        """What a platform may have that tells of kills for lack of memory."""

        descriptor: int
        events: int

        def news(self) -> int | None:
            """Return how often there was one since the last call; ``None``: nothing tells any more."""

        def close(self) -> None:
            """Ask no more."""


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
    """Print a line of statistics per interval, and one per kill, until the end; with ``--stats`` one line."""
    seconds = duration(context.line.text("interval"))
    site = context.site()
    record, _ = find(site, context.id)
    if context.line.on("stats"):
        _show(_statistics(context))
        return 0
    try:
        process = os.pidfd_open(record.pid) if record.pid else -1
    except OSError:
        process = -1
    # Asked after the process has been opened: what was opened is then known to be the container's.
    _, kernel = find(site, context.id)
    if process < 0 or kernel.status(record) == "stopped":
        raise StateError(f"container with id {context.id} is not running", container=context.id)
    oom = getattr(kernel, "shortages", None)
    shortages: Shortages | None = oom(record) if oom is not None else None
    try:
        _follow(context, process, shortages, seconds)
    finally:
        os.close(process)
        if shortages is not None:
            shortages.close()
    return 0


def _follow(context: Context, process: int, shortages: Shortages | None, seconds: float) -> None:
    """Print until the process behind the pidfd *process* has ended."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    if shortages is not None:
        poll.register(shortages.descriptor, shortages.events)
    due = time.monotonic() + seconds
    while True:
        ready = dict(poll.poll(max(0.0, due - time.monotonic()) * 1000))
        if shortages is not None and ready:
            news = shortages.news()
            if news is None:
                poll.unregister(shortages.descriptor)
                shortages = None
            for _ in range(news or 0):
                _show({"type": "oom", "id": context.id})
        if process in ready:
            return
        if time.monotonic() >= due:
            due += seconds
            try:
                _show(_statistics(context))
            except (StateError, ContainerNotFoundError):
                return


def _statistics(context: Context) -> dict[str, Any]:
    data = engines_statistics(stats(context.site(), context.id))
    return {"type": "stats", "id": context.id, "data": data}


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


def _show(line: dict[str, Any]) -> None:
    write(to_json(line) + "\n")
