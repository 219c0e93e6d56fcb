"""JSON for what the engine tells the zygote and its children, without :mod:`json`.

That package costs more to import than all the rest that the zygote imports. Its C parts are used directly
where the interpreter has them. What is read comes from the engine, which wrote it in the same way.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def _refuse(value: object) -> object:
    message = f"no JSON for {value!r}"
    raise TypeError(message)


class _Context:
    """What ``_json.make_scanner`` asks of a decoder."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_refuse)
    memo: dict[str, str] = {}  # noqa: RUF012 - the scanner clears it after each use


def _with_c() -> tuple[Callable[[str], Any], Callable[[Any], str]]:
    import _json

    scan = _json.make_scanner(_Context())  # type: ignore[arg-type]
    flags = (False, False, False)  # keys as they come, none skipped, no number that is not finite
    encode = _json.make_encoder(None, _refuse, _json.encode_basestring_ascii, None, ":", ",", *flags)

    def load(text: str) -> Any:  # noqa: ANN401 - JSON holds anything
        value, end = None, -1
        try:
            value, end = scan(text, 0)
        except (StopIteration, SystemError):
            pass  # up to Python 3.12 the scanner looks for its exception in a module that is not there
        if end != len(text):
            message = "not JSON"
            raise ValueError(message)
        return value

    def dump(value: Any) -> str:  # noqa: ANN401 - JSON holds anything
        return "".join(encode(value, 0))

    load(dump({"": [None, 1, True]}))
    return load, dump


def _with_package() -> tuple[Callable[[str], Any], Callable[[Any], str]]:
    import json

    encoder = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=_refuse)
    return json.loads, encoder.encode


try:
    _load, _dump = _with_c()
except (ImportError, AttributeError, TypeError, ValueError):  # another interpreter, or a later one
    _load, _dump = _with_package()


def loads(source: bytes | str) -> Any:  # noqa: ANN401 - JSON holds anything
    """Return the value that *source* holds.

    Raises:
        ValueError: It is not one JSON value in UTF-8.
    """
    return _load(source if isinstance(source, str) else source.decode())


def dumps(value: Any) -> str:  # noqa: ANN401 - JSON holds anything
    """Return *value* as one line of ASCII JSON, without spaces."""
    return _dump(value)
