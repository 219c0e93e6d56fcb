"""Read JSON text strictly: what one program reads, every other program must read as well.

Refused are: anything but UTF-8, a byte order mark, duplicate keys, numbers beyond what JSON can exchange
(NaN, Infinity, 1e999, integers of more than 40 digits), strings with NUL or lone surrogates, more than one
value, a top level that is no object, more than 16 MiB of text and more than 64 levels.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Any, NoReturn

from orlop.documents.faults import FAULT_LIMIT, Fault, InvalidDocumentError
from orlop.documents.structure import text_fault
from orlop_hookspecs.errors import DocumentError

if TYPE_CHECKING:
    from json import JSONDecoder

SIZE_LIMIT = 16 << 20
"""Bytes of text that are read."""

DEPTH_LIMIT = 64
"""Levels of arrays and objects, the outermost included."""

_DIGIT_LIMIT = 40
_WHITESPACE = " \t\n\r"
_BOM = b"\xef\xbb\xbf"
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b'[]{}"')
_INFINITY = float("inf")


class _SuspectError(Exception):
    """Raised while scanning: something is refused; a second, slower look will tell where it is."""


class _Pairs(list[tuple[str, Any]]):
    """An object whose pairs are all kept, duplicates included."""


class _Refused:
    """A number that is refused, with the reason."""

    def __init__(self, message: str, text: str) -> None:
        self.message = message
        self.text = text


def read_file(path: str, *, dir_fd: int | None = None) -> bytes:
    """Return the content of the regular file *path*, at most :data:`SIZE_LIMIT` bytes.

    Never blocks: a FIFO, device, socket or directory is refused.

    Raises:
        DocumentError: The file is no regular file, or too big.
        OSError: The file cannot be opened or read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY, dir_fd=dir_fd)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise DocumentError("expected a regular file", path=path) from None
        raise
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise DocumentError("expected a regular file", path=path)
        chunks: list[bytes] = []
        room = SIZE_LIMIT + 1
        while room > 0:
            chunk = os.read(fd, min(room, 1 << 20))
            if not chunk:
                break
            chunks.append(chunk)
            room -= len(chunk)
    finally:
        os.close(fd)
    if room <= 0:
        raise DocumentError(f"document has more than {SIZE_LIMIT} bytes", path=path)
    return b"".join(chunks)


def parse(text: bytes, *, path: str = "") -> dict[str, Any]:
    """Return the JSON object that *text* spells; *path* names the file in errors.

    Raises:
        DocumentError: The text is not strict JSON, or its top level is no object.
    """
    if len(text) > SIZE_LIMIT:
        raise DocumentError(f"document has more than {SIZE_LIMIT} bytes", path=path)
    if text.startswith(_BOM):
        raise DocumentError("expected UTF-8 without a byte order mark", path=path)
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        raise DocumentError(
            f"expected UTF-8, found another byte at offset {error.start}", path=path
        ) from None
    _check_depth(text, path)
    data: object
    try:
        data = _scan_quickly(decoded)
        if data is None:
            data = _scan(decoded, path, _strict())
    except _SuspectError:
        _diagnose(decoded, path)
    if not isinstance(data, dict):
        raise DocumentError("expected an object", value=data, path=path)
    # Only an escape can bring a NUL or a lone surrogate into a string: the bytes are UTF-8 and JSON allows no
    # raw NUL.
    if b"\\u0000" in text or b"\\ud" in text or b"\\uD" in text:
        _check_strings(decoded, path)
    return data


def _check_depth(text: bytes, path: str) -> None:
    """Refuse deep nesting before anything recursive sees the text."""
    # Pairs of backslashes first, so that what is left before a quote escapes it.
    bare = text.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NOT_BRACKETS)
    depth = 0
    for outside in bare.split(b'"')[::2]:
        for bracket in outside:
            if bracket in b"[{":
                depth += 1
                if depth > DEPTH_LIMIT:
                    raise DocumentError(f"document has more than {DEPTH_LIMIT} levels", path=path)
            else:
                depth -= 1


def _scan_quickly(text: str) -> dict[str, Any] | None:
    """Return the object that *text* holds; ``None`` where something is wrong, or another way is needed.

    The import of :mod:`json` takes longer than a config takes to be decoded, so its C half is asked first.

    Raises:
        _SuspectError: As :func:`_scan` with the strict decoder.
    """
    try:
        from _json import make_scanner

        value, end = make_scanner(_Strict())(text, len(text) - len(text.lstrip(_WHITESPACE)))  # type: ignore[arg-type]
    except (ImportError, AttributeError, TypeError, ValueError, StopIteration, SystemError):
        return None
    return value if type(value) is dict and not text[end:].strip(_WHITESPACE) else None


def _scan(text: str, path: str, decoder: JSONDecoder) -> object:
    from json import JSONDecodeError

    start = len(text) - len(text.lstrip(_WHITESPACE))
    data: object
    try:
        data, end = decoder.raw_decode(text, start)
    except JSONDecodeError as error:
        reason = error.msg[:1].lower() + error.msg[1:]
        where = f"line {error.lineno} column {error.colno}"
        raise DocumentError(f"not a JSON document: {reason}: {where}", path=path) from None
    rest = text[end:].lstrip(_WHITESPACE)
    if rest:
        offset = len(text) - len(rest)
        line = text.count("\n", 0, offset) + 1
        column = offset - text.rfind("\n", 0, offset)
        raise DocumentError(f"not a JSON document: extra data: line {line} column {column}", path=path)
    return data


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        raise _SuspectError
    return data


def _integer(text: str) -> int:
    if len(text) > _DIGIT_LIMIT:
        raise _SuspectError
    return int(text)


def _number(text: str) -> float:
    number = float(text)
    if number in (_INFINITY, -_INFINITY):
        raise _SuspectError
    return number


def _constant(_text: str) -> NoReturn:
    raise _SuspectError


def _keep_integer(text: str) -> int | _Refused:
    if len(text) > _DIGIT_LIMIT:
        return _Refused(f"expected an integer of at most {_DIGIT_LIMIT} digits", text)
    return int(text)


def _keep_number(text: str) -> float | _Refused:
    number = float(text)
    if number in (_INFINITY, -_INFINITY):
        return _Refused("expected a number that fits", text)
    return number


def _keep_constant(text: str) -> _Refused:
    return _Refused("expected a number that JSON knows", text)


class _Strict:
    """The strict decoder, as ``_json.make_scanner`` looks at one."""

    strict = True
    object_hook = None
    object_pairs_hook = staticmethod(_object)
    parse_int = staticmethod(_integer)
    parse_float = staticmethod(_number)
    parse_constant = staticmethod(_constant)
    memo: dict[str, str] = {}  # noqa: RUF012 - the scanner clears it after each use


def _strict() -> JSONDecoder:
    from json import JSONDecoder

    return JSONDecoder(
        object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_constant
    )


def _lenient() -> JSONDecoder:
    from json import JSONDecoder

    return JSONDecoder(
        object_pairs_hook=_Pairs,
        parse_int=_keep_integer,
        parse_float=_keep_number,
        parse_constant=_keep_constant,
    )


def _diagnose(text: str, path: str) -> NoReturn:
    """Scan *text* again, keeping what is refused, and raise with the place of each."""
    data = _scan(text, path, _lenient())
    raise InvalidDocumentError(_faults(data), path=path)


def _check_strings(text: str, path: str) -> None:
    """Raise if a key or a string of *text* holds what no kernel interface takes."""
    faults = _faults(_scan(text, path, _lenient()))
    if faults:
        raise InvalidDocumentError(faults, path=path)


def _faults(data: object) -> list[Fault]:
    """Return what is refused below *data*, in the order of the document."""
    faults: list[Fault] = []
    pending: list[tuple[tuple[str | int, ...], object]] = [((), data)]
    while pending and len(faults) < FAULT_LIMIT:
        place, value = pending.pop()
        if isinstance(value, _Refused):
            faults.append(Fault(value.message, value.text, place))
        elif isinstance(value, str):
            message = text_fault(value)
            if message:
                faults.append(Fault(message, value, place))
        elif isinstance(value, _Pairs):
            seen: set[str] = set()
            below: list[tuple[tuple[str | int, ...], object]] = []
            for key, item in value:
                message = text_fault(key) or ("duplicate key" if key in seen else "")
                if message:
                    faults.append(Fault(message, key, (*place, key)))
                seen.add(key)
                below.append(((*place, key), item))
            pending.extend(reversed(below))
        elif isinstance(value, list):
            pending.extend(((*place, index), value[index]) for index in reversed(range(len(value))))
    return faults[:FAULT_LIMIT]
