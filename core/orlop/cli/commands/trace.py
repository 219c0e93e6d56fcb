"""``orlop trace``: draw a timeline."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orlop.cli.output import to_json, write
from orlop.timeline.read import as_text, depths, read_trace

if TYPE_CHECKING:
    from orlop.cli.context import Context

_INDENT = "    "


def run(context: Context) -> int:
    """Print the timeline in a file as a picture, as text or as data."""
    path = context.line.arguments[0]
    spans = read_trace(path)
    layout = context.line.text("format")
    if layout == "json":
        data = [span.as_data(depth) for span, depth in zip(spans, depths(spans), strict=True)]
        write(to_json({"spans": data}, _INDENT) + "\n")
    elif layout == "text":
        write(as_text(spans) + "\n")
    else:
        from orlop.drawing.timeline import as_svg

        write(as_svg(spans, os.path.basename(path)))
    return 0
