"""Standard output and JSON, without sys.stdout and the json module.

A command writes its whole output at once and straight to descriptor 1: there is no buffer that could be
written twice or lost by ``os._exit``, and a reader that has gone away costs an error number instead of a
traceback.
"""

from __future__ import annotations

import os
from _json import encode_basestring_ascii as quote

from orlop_hookspecs.errors import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

_WIDTH = 12
_GAP = 3

STDOUT = 1
STDERR = 2
_NAMES = {STDOUT: "standard output", STDERR: "standard error"}


def write(text: str, descriptor: int = STDOUT) -> None:
    """Write *text* to *descriptor*, all of it.

    Raises:
        OSError: The descriptor does not take it (EPIPE, ENOSPC, ...).
    """
    data = memoryview(text.encode("utf-8", "surrogateescape"))
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError as error:
        error.filename = _NAMES.get(descriptor)
        raise


def to_json(value: Any, indent: str = "") -> str:  # noqa: ANN401 - any JSON data
    """Return *value* (dicts with string keys, lists, tuples, strings, numbers, booleans, None) as JSON.

    Args:
        value: The data.
        indent: What each level is indented by; nothing gives one line.

    Raises:
        TypeError: *value* holds something that JSON does not have.
    """
    return _json(value, indent, "\n" if indent else "")


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return columns under *titles*, at least 12 wide and 3 apart; control characters are escaped."""
    cells = [list(titles), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(_WIDTH, *(len(row[i]) + _GAP for row in cells)) for i in range(len(titles))]
    lines = ("".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _json(value: Any, indent: str, line: str) -> str:  # noqa: ANN401, PLR0911 - one return per JSON type
    if isinstance(value, str):
        return quote(value)
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return float.__repr__(value)
    inner = line + indent
    comma = "," + inner
    if isinstance(value, dict):
        colon = ": " if indent else ":"
        parts = [quote(name) + colon + _json(part, indent, inner) for name, part in value.items()]
        return f"{{{inner}{comma.join(parts)}{line}}}" if parts else "{}"
    if isinstance(value, (list, tuple)):
        parts = [_json(part, indent, inner) for part in value]
        return f"[{inner}{comma.join(parts)}{line}]" if parts else "[]"
    msg = f"{type(value).__name__} is not JSON"
    raise TypeError(msg)
