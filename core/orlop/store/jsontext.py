"""JSON for the engine's own files, without :mod:`json`, whose import costs more than a whole ``state``.

The C parts of the standard library's json package are used directly; where an interpreter lacks them, the
package itself. Documents of others are read by :mod:`orlop.documents`, which is strict; what is read here is
verified by its reader.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_FLAGS = (False, False, False)
"""Do not sort keys, do not skip odd keys, do not write NaN."""

_SPACE = " \t\r\n"


def _refuse_default(value: object) -> object:
    message = f"no JSON for {type(value).__name__}"
    raise TypeError(message)


def _refuse_constant(name: str) -> object:
    message = f"{name} is no JSON"
    raise ValueError(message)


class _Context:
    """What ``_json.make_scanner`` asks of a decoder."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_refuse_constant)
    memo: dict[str, str] = {}  # noqa: RUF012 - the scanner clears it after each use


def _with_c() -> tuple[Callable[[str], Any], Callable[[Any], str]]:
    import _json

    scan = _json.make_scanner(_Context())  # type: ignore[arg-type]
    encode = _json.make_encoder(None, _refuse_default, _json.encode_basestring_ascii, None, ":", ",", *_FLAGS)

    def load(text: str) -> Any:  # noqa: ANN401 - JSON holds anything
        start = len(text) - len(text.lstrip(_SPACE))
        try:
            value, end = scan(text, start)
        except (StopIteration, SystemError):
            # Where nobody has imported json.decoder, the scanner of Python up to 3.12 does not find its own
            # exception, and that is a SystemError.
            message = "not JSON"
            raise ValueError(message) from None
        if text[end:].strip(_SPACE):
            message = "more than one JSON value"
            raise ValueError(message)
        return value

    def dump(value: Any) -> str:  # noqa: ANN401 - JSON holds anything
        return "".join(encode(value, 0))

    dump({"": [None, 1, True]})
    load("{}")
    return load, dump


def _with_package() -> tuple[Callable[[str], Any], Callable[[Any], str]]:
    import json

    decoder = json.JSONDecoder(parse_constant=_refuse_constant)
    encoder = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=_refuse_default)
    return decoder.decode, encoder.encode


try:
    _load, _dump = _with_c()
except (ImportError, AttributeError, TypeError, ValueError):  # another interpreter, or a later one
    _load, _dump = _with_package()


def loads(source: bytes | str) -> Any:  # noqa: ANN401 - JSON holds anything
    """Return the value that *source* holds.

    Raises:
        ValueError: It is not one JSON value in UTF-8.
    """
    try:
        return _load(source if isinstance(source, str) else source.decode())
    except RecursionError:
        message = "JSON nested too deeply"
        raise ValueError(message) from None


def dumps(value: Any) -> str:  # noqa: ANN401 - JSON holds anything
    """Return *value* as one line of ASCII JSON, without spaces.

    Raises:
        TypeError: *value* holds something that JSON has no word for.
        ValueError: *value* holds a number that is not finite.
    """
    return _dump(value)
