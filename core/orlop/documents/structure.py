"""Compile kinds into functions that turn JSON data into document objects, strictly.

Each function takes a value and returns the decoded one, or raises :class:`Mismatch` with every fault below
it. Functions are made once per kind and class, when first needed. They are what the cattrs converter of
:mod:`orlop.documents.codec` registers; the command line calls them without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.documents.faults import FAULT_LIMIT, Fault, Mismatch
from orlop_hookspecs.documents import kinds
from orlop_hookspecs.documents.names import json_name
from orlop_hookspecs.frozen import FrozenMap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from orlop_hookspecs.documents.base import Document

    Decode = Callable[[Any], Any]

_MISSING = "required property is missing"


def _refuse(kind: kinds.Kind[Any], value: object) -> Mismatch:
    return Mismatch([Fault(f"expected {kind.expected}", value)])


def text_fault(value: str) -> str:
    """Return what keeps *value* from being a string that the kernel can take; empty when nothing does."""
    if "\0" in value:
        return "expected a string without NUL"
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return "expected a string without lone surrogates"
    return ""


def _string(kind: kinds.Text) -> Decode:
    def decode(value: object) -> object:
        if type(value) is not str:
            raise _refuse(kind, value)
        if "\0" in value or not value.isascii():
            fault = text_fault(value)
            if fault:
                raise Mismatch([Fault(fault, value)])
        return value

    return decode


def _text(kind: kinds.Text) -> Decode:
    decode = _string(kind)
    if not kind.pattern:
        return decode
    matches: Any = _capitals_after(kind.pattern)

    def decode_pattern(value: object) -> object:
        nonlocal matches
        if matches is None:
            import re  # on first use, because few documents set any of these properties

            matches = re.compile(kind.pattern, re.ASCII).fullmatch
        if not matches(decode(value)):
            raise _refuse(kind, value)
        return value

    return decode_pattern


def _capitals_after(pattern: str) -> Callable[[str], bool] | None:
    """Return what matches a *pattern* of a word and capitals behind it; ``None`` for any other pattern.

    The limits of nearly every container are named so, and module re takes longer than the whole config.
    """
    word, _, rest = pattern.partition("[")
    if rest != "A-Z]+" or not word.replace("_", "").isalnum():
        return None

    def matches(value: str) -> bool:
        behind = value[len(word) :]
        return value.startswith(word) and behind.isascii() and behind.isalpha() and behind.isupper()

    return matches


def _choice(kind: kinds.Choice) -> Decode:
    values = frozenset(kind.values)

    def decode(value: object) -> object:
        if type(value) is not str or value not in values:
            raise _refuse(kind, value)
        return value

    return decode


def _boolean(kind: kinds.Boolean) -> Decode:
    def decode(value: object) -> object:
        if value is True or value is False:
            return value
        raise _refuse(kind, value)

    return decode


def _integer(kind: kinds.Integer) -> Decode:
    minimum = kind.minimum
    maximum = kind.maximum

    def decode(value: object) -> object:
        # The exact type: a boolean is an int in Python and 1.0 equals 1, but neither is an integer in a
        # document.
        if type(value) is not int or not minimum <= value <= maximum:
            raise _refuse(kind, value)
        return value

    return decode


def _list(kind: kinds.ListOf[Any]) -> Decode:
    item = decoder(kind.item)
    minimum = kind.minimum

    def decode(value: object) -> object:
        if not isinstance(value, (list, tuple)) or len(value) < minimum:
            raise _refuse(kind, value)
        try:
            return tuple(map(item, value))
        except Mismatch:
            raise Mismatch(_faults_of_items(item, enumerate(value))) from None

    return decode


def _faults_of_items(item: Decode, items: Iterable[tuple[Any, Any]]) -> list[Fault]:
    """Decode once more, slowly, to find every fault instead of the first."""
    faults: list[Fault] = []
    for key, value in items:
        try:
            item(value)
        except Mismatch as mismatch:
            mismatch.under(key, faults)
            if len(faults) >= FAULT_LIMIT:
                break
    return faults[:FAULT_LIMIT]


def _map(kind: kinds.MapOf[Any]) -> Decode:
    item = decoder(kind.item)

    def decode_item(entry: tuple[object, object]) -> object:
        key, value = entry
        if type(key) is not str or not key:
            raise Mismatch([Fault("expected keys that are not empty", key)])
        fault = text_fault(key)
        if fault:
            raise Mismatch([Fault(fault, key)])
        return item(value)

    def decode(value: object) -> object:
        if not isinstance(value, dict):
            raise _refuse(kind, value)
        try:
            return FrozenMap(zip(value, map(decode_item, value.items()), strict=True))
        except Mismatch:
            entries = ((key, (key, item)) for key, item in value.items())
            raise Mismatch(_faults_of_items(decode_item, entries)) from None

    return decode


def _one_or_many(kind: kinds.OneOrMany) -> Decode:
    one = decoder(kind.item)
    many = decoder(kinds.ListOf(kind.item))

    def decode(value: object) -> object:
        if isinstance(value, (list, tuple)):
            return many(value)
        if not isinstance(value, dict):
            raise _refuse(kind, value)
        return one(value)

    return decode


def _any_object(kind: kinds.AnyObject) -> Decode:
    def decode(value: object) -> object:
        if not isinstance(value, dict):
            raise _refuse(kind, value)
        faults = _json_faults(value)
        if faults:
            raise Mismatch(faults)
        return value

    return decode


def _json_faults(data: object) -> list[Fault]:
    """Return what keeps *data* from being written as JSON and read again, in its order."""
    faults: list[Fault] = []
    pending: list[tuple[tuple[str | int, ...], object]] = [((), data)]
    while pending and len(faults) < FAULT_LIMIT:
        path, value = pending.pop()
        message = _json_fault(value)
        if message:
            faults.append(Fault(message, value, path))
        elif isinstance(value, dict):
            pending.extend(((*path, key), item) for key, item in reversed(value.items()))
        elif isinstance(value, list):
            pending.extend(((*path, index), value[index]) for index in reversed(range(len(value))))
    return faults


def _json_fault(value: object) -> str:
    if isinstance(value, str):
        return text_fault(value)
    if isinstance(value, float):
        return "" if value - value == 0 else "expected a number that JSON knows"
    if isinstance(value, dict):
        sound = all(type(key) is str and not text_fault(key) for key in value)
        return "" if sound else "expected keys that are strings without NUL or lone surrogates"
    return "" if value is None or isinstance(value, (bool, int, list)) else "expected JSON data"


def _reference(kind: kinds.Ref) -> Decode:
    target: Decode | None = None

    def decode(value: object) -> object:
        nonlocal target
        if target is None:
            target = document_decoder(kind.resolve())
        return target(value)

    return decode


_MAKERS: dict[type[kinds.Kind[Any]], Callable[[Any], Decode]] = {
    kinds.AnyObject: _any_object,
    kinds.Boolean: _boolean,
    kinds.Choice: _choice,
    kinds.Integer: _integer,
    kinds.ListOf: _list,
    kinds.MapOf: _map,
    kinds.OneOrMany: _one_or_many,
    kinds.Ref: _reference,
    kinds.Text: _text,
}
_decoders: dict[kinds.Kind[Any], Decode] = {}
_document_decoders: dict[type[Document], Decode] = {}
_properties: dict[type[Document], dict[str, tuple[str, kinds.Kind[Any]]]] = {}


def decoder(kind: kinds.Kind[Any]) -> Decode:
    """Return the function that decodes values of *kind*."""
    decode = _decoders.get(kind)
    if decode is None:
        decode = _decoders[kind] = _MAKERS[type(kind)](kind)
    return decode


def properties_of(cls: type[Document]) -> Mapping[str, tuple[str, kinds.Kind[Any]]]:
    """Return the properties of the document class *cls* by name: the field that holds each, and its kind."""
    known = _properties.get(cls)
    if known is None:
        known = _properties[cls] = {json_name(name): (name, kind) for name, kind in cls.kinds()}
    return known


def document_decoder(cls: type[Document]) -> Decode:
    """Return the function that decodes objects of the document class *cls*.

    Unknown properties are ignored (config.md, Extensibility). A property that is ``null`` counts as absent:
    programs whose language has no other word for it write it so.
    """
    decode = _document_decoders.get(cls)
    if decode is None:
        decode = _document_decoders[cls] = _make_document_decoder(cls)
    return decode


def _make_document_decoder(cls: type[Document]) -> Decode:
    properties = properties_of(cls)
    table = {key: (name, decoder(kind)) for key, (name, kind) in properties.items()}
    needed = cls.required_fields()
    required = tuple((key, name) for key, (name, _) in properties.items() if name in needed)

    def decode(value: object) -> object:
        if not isinstance(value, dict):
            raise Mismatch([Fault("expected an object", value)])
        arguments: dict[str, Any] = {}
        faults: list[Fault] | None = None
        for key, item in value.items():
            entry = table.get(key)
            if entry is None or item is None:
                continue
            name, decode_item = entry
            try:
                arguments[name] = decode_item(item)
            except Mismatch as mismatch:
                faults = mismatch.under(key, faults)
        for key, name in required:
            if name not in arguments and value.get(key) is None:
                faults = Mismatch([Fault(_MISSING)]).under(key, faults)
        if faults is not None:
            raise Mismatch(faults[:FAULT_LIMIT])
        return cls(**arguments)

    return decode
