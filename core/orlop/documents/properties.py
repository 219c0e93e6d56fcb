"""Walk parsed data beside the classes that describe it: which properties are unknown, which are null."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.documents.faults import pointer
from orlop.documents.structure import properties_of
from orlop_hookspecs.documents import kinds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orlop_hookspecs.documents.base import Document

    Path = tuple[str | int, ...]


def unknown_properties(data: Mapping[str, Any], cls: type[Document]) -> tuple[str, ...]:
    """Return the JSON pointers of the properties in *data* that *cls* does not know, in its order.

    What stands below an unknown property is not listed.
    """
    return tuple(pointer(path) for path, _, known in _walk(data, cls, ()) if not known)


def null_properties(data: Mapping[str, Any], cls: type[Document]) -> tuple[str, ...]:
    """Return the JSON pointers of the known properties in *data* that are null, in the order of the data."""
    return tuple(pointer(path) for path, value, known in _walk(data, cls, ()) if known and value is None)


def _walk(data: Mapping[str, Any], cls: type[Document], path: Path) -> Iterator[tuple[Path, Any, bool]]:
    """Yield path and value of each property, and whether it is known.

    The recursion follows the classes, so its depth is theirs, whatever the data is.
    """
    known = properties_of(cls)
    for key, value in data.items():
        entry = known.get(key)
        place = (*path, key)
        yield place, value, entry is not None
        if entry is not None:
            yield from _below(entry[1], value, place)


def _below(kind: kinds.Kind[Any], value: object, path: Path) -> Iterator[tuple[Path, Any, bool]]:
    if isinstance(kind, kinds.Ref):
        if isinstance(value, dict):
            yield from _walk(value, kind.resolve(), path)
    elif isinstance(kind, (kinds.ListOf, kinds.OneOrMany)) and isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _below(kind.item, item, (*path, index))
    elif isinstance(kind, (kinds.MapOf, kinds.OneOrMany)) and isinstance(value, dict):
        if isinstance(kind, kinds.OneOrMany):
            yield from _below(kind.item, value, path)
        else:
            for key, item in value.items():
                yield from _below(kind.item, item, (*path, key))
