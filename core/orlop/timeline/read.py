"""Read a timeline: the complete events of a file in the Chrome trace format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from orlop.documents.reader import parse, read_file
from orlop_hookspecs.errors import DocumentError, UsageError, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

EVENT_LIMIT = 20_000
"""Events that are read; nobody can look at more."""

_COMPLETE = "X"
_ROUNDING = 0.01  # begin and duration are rounded each for itself
_LATEST = 1e15
"""Microseconds: thirty years."""


class Span(NamedTuple):
    """Something that lasted."""

    begin: float
    """Microseconds since some moment."""
    duration: float
    """Microseconds."""
    process: int
    thread: int
    category: str
    name: str
    details: tuple[str, ...]
    """What else is known of it, each as ``name: text``."""

    def as_data(self, depth: int) -> dict[str, Any]:
        """Return the span as JSON data."""
        return {
            "name": self.name,
            "category": self.category,
            "begin": self.begin,
            "duration": self.duration,
            "process": self.process,
            "thread": self.thread,
            "depth": depth,
            "details": list(self.details),
        }


def read_trace(path: str) -> list[Span]:
    """Return the spans in the file *path*, those that contain others first.

    Raises:
        UsageError: The file cannot be read.
        DocumentError: It is no trace, or has nothing that lasts.
    """
    try:
        text = read_file(path)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise UsageError(f"cannot read the trace: {why}", path=path, errno=error.errno) from None
    events = parse(text, path=path).get("traceEvents")
    if not isinstance(events, list):
        raise DocumentError("expected an array of events", pointer="/traceEvents", path=path)
    if len(events) > EVENT_LIMIT:
        raise DocumentError(
            f"more than {EVENT_LIMIT} events", pointer="/traceEvents", value=len(events), path=path
        )
    spans = list(_spans(events, path))
    if not spans:
        message = "there is nothing that lasts: no event has the phase X"
        raise DocumentError(message, pointer="/traceEvents", path=path)
    return sorted(spans, key=lambda one: (one.process, one.thread, one.begin, -one.duration))


def _spans(events: Sequence[Any], path: str) -> Iterator[Span]:
    for index, event in enumerate(events):
        if not isinstance(event, dict):
            raise DocumentError("expected an object", pointer=f"/traceEvents/{index}", value=event, path=path)
        if event.get("ph") != _COMPLETE:
            continue
        for name in ("ts", "dur"):
            value = event.get(name)
            if (
                isinstance(value, bool)
                or not isinstance(value, (int, float))
                or not -_LATEST < value < _LATEST
            ):
                raise DocumentError(
                    "expected a number of microseconds",
                    pointer=f"/traceEvents/{index}/{name}",
                    value=value,
                    path=path,
                )
        details = event.get("args")
        yield Span(
            float(event["ts"]),
            max(float(event["dur"]), 0.0),
            _number(event.get("pid")),
            _number(event.get("tid")),
            printable(str(event.get("cat", "")), 40),
            printable(str(event.get("name", "")), 300),
            tuple(f"{key}: {value}" for key, value in details.items()) if isinstance(details, dict) else (),
        )


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def depths(spans: Sequence[Span]) -> list[int]:
    """Return how many other spans contain each of *spans*, which are sorted as :func:`read_trace` does."""
    found: list[int] = []
    lane: tuple[int, int] | None = None
    ends: list[float] = []
    for span in spans:
        if (span.process, span.thread) != lane:
            lane, ends = (span.process, span.thread), []
        while ends and ends[-1] <= span.begin + _ROUNDING:
            ends.pop()
        found.append(len(ends))
        ends.append(span.begin + span.duration)
    return found


def as_text(spans: Sequence[Span]) -> str:
    """Return *spans* as lines for people: how long, and below what."""
    lines = []
    for span, depth in zip(spans, depths(spans), strict=True):
        lines.append(f"{span.duration / 1000:10.3f} ms  {'  ' * depth}{span.name} [{span.category}]")
    return "\n".join(lines)
