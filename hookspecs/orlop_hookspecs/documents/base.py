"""How a document class is made: the decorator, the field and the base class that all of them share.

The classes are frozen attrs classes with keyword-only constructors, see :mod:`orlop_hookspecs.frozen`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform, overload

from orlop_hookspecs.documents.names import json_name
from orlop_hookspecs.frozen import MISSING, Frozen, collect
from orlop_hookspecs.frozen import field as frozen_field

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orlop_hookspecs.documents.kinds import Kind

T = TypeVar("T")
C = TypeVar("C", bound="Document")

KIND = "kind"
"""Key in an attribute's metadata under which its kind stands; without it the attribute is not a property."""


@overload
def field(kind: Kind[T]) -> T: ...
@overload
def field(kind: Kind[T], *, default: None) -> T | None: ...
def field(kind: Kind[Any], *, default: Any = MISSING) -> Any:
    """Declare a property of *kind*: required by the schema, unless its default is ``None`` (absent)."""
    return frozen_field(default=default, metadata={KIND: kind})


def note(*, default: T) -> T:
    """Declare an attribute that belongs to the object but is not a property of the document."""
    return frozen_field(default=default)  # type: ignore[no-any-return]


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field, note))
def document(cls: type[C]) -> type[C]:
    """Make *cls* a document class."""
    return collect(cls, keyword_only=True)


class Document(Frozen):
    """The base of all document classes: immutable values that compare by class and content.

    An attribute is ``None`` when the document does not set the property. Arrays are tuples; objects with free
    keys are mappings, which nobody changes.
    """

    def properties(self) -> Iterator[tuple[str, Any]]:
        """Yield the name in the specification and the value of each property that is set."""
        content = self.__dict__
        for name in self.field_metadata():
            value = content[name]
            if value is not None:
                yield json_name(name), value

    @classmethod
    def kinds(cls) -> Iterator[tuple[str, Kind[Any]]]:
        """Yield the name of each field that is a property of the document, and its kind."""
        for name, metadata in cls.field_metadata().items():
            if KIND in metadata:
                yield name, metadata[KIND]
