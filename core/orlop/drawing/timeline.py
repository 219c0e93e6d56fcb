"""A timeline as a picture: spans below those that contain them, as wide as they last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.drawing.svg import Picture, fit
from orlop.timeline.read import depths

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orlop.timeline.read import Span

_WIDTH = 1200
_MARGIN = 20
_ROW = 20
_TICKS = 10
_LABEL = 70
_ROUND = (1, 2, 5)


def as_svg(spans: Sequence[Span], name: str) -> str:
    """Return *spans*, which are sorted by their begin, as SVG."""
    begin = min(span.begin for span in spans)
    total = max(max(span.begin + span.duration for span in spans) - begin, 1.0)
    scale = (_WIDTH - 2 * _MARGIN) / total
    picture = Picture(_WIDTH, f"timeline of {name}")
    picture.text(_MARGIN, 26, f"{name}: {_milliseconds(total)}", bold=True)
    top = picture.legend(38, dict.fromkeys(span.category for span in spans)) + 16
    deep = depths(spans)
    rows = _rows(spans, deep)
    lowest = top + (max(rows) + 1) * _ROW
    for moment in _moments(total):
        x = _MARGIN + moment * scale
        picture.line(x, top - 6, x, lowest)
        if x < _WIDTH - _LABEL:
            picture.text(x + 2, top - 8, _milliseconds(moment), colour="#777")
    for span, row in zip(spans, rows, strict=True):
        _draw(picture, span, _MARGIN + (span.begin - begin) * scale, top + row * _ROW, span.duration * scale)
    return str(picture)


def _rows(spans: Sequence[Span], deep: Sequence[int]) -> list[float]:
    """Return in which row each span stands: threads below each other, with half a row between them."""
    rows: list[float] = []
    first, lane = 0.0, (spans[0].process, spans[0].thread)
    for span, depth in zip(spans, deep, strict=True):
        if (span.process, span.thread) != lane:
            lane, first = (span.process, span.thread), max(rows) + 1.5
        rows.append(first + depth)
    return rows


def _draw(picture: Picture, span: Span, x: float, y: float, width: float) -> None:
    hint = "; ".join([f"{span.name}: {_milliseconds(span.duration)}", *span.details])
    picture.box(x, y, width, _ROW - 2, fill=picture.colour(span.category), title=hint)
    label = fit(f"{span.name}  {_milliseconds(span.duration)}", width - 6) or fit(span.name, width - 6)
    if label:
        picture.text(x + 3, y + 13, label)


def _milliseconds(microseconds: float) -> str:
    return f"{microseconds / 1000:.3f} ms"


def _moments(total: float) -> Iterable[float]:
    """Yield round moments, at most eleven of them."""
    steps = (digit * 10.0**power for power in range(16) for digit in _ROUND)
    step = next(step for step in steps if total / step <= _TICKS)
    return (index * step for index in range(int(total / step) + 1))
