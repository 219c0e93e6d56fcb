"""How a document class is made: the decorator, the field and the base class that all of them share.

The classes are frozen, slotted attrs classes with keyword-only constructors. Equality, hash and ``repr`` are
inherited instead of generated per class: what every cold ``create`` imports must be cheap to define.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform, overload

import attrs

from orlop_hookspecs.documents.names import json_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import ClassVar, Self

    from orlop_hookspecs.documents.kinds import Kind

T = TypeVar("T")
C = TypeVar("C", bound="Document")

KIND = "kind"
"""Key in an attribute's metadata under which its kind stands; without it the attribute is not a property."""


@overload
def field(kind: Kind[T]) -> T: ...
@overload
def field(kind: Kind[T], *, default: None) -> T | None: ...
def field(kind: Kind[Any], *, default: Any = attrs.NOTHING) -> Any:
    """Declare a property of *kind*: required by the schema, unless its default is ``None`` (absent)."""
    return attrs.field(default=default, metadata={KIND: kind})


def note(*, default: T) -> T:
    """Declare an attribute that belongs to the object but is not a property of the document."""
    return attrs.field(default=default)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field, note))
def document(cls: type[C]) -> type[C]:
    """Make *cls* a document class."""
    return attrs.define(
        cls,
        frozen=True,
        slots=True,
        weakref_slot=False,
        kw_only=True,
        eq=False,
        order=False,
        repr=False,
        getstate_setstate=False,
    )


class Document:
    """The base of all document classes: immutable values that compare by class and content.

    An attribute is ``None`` when the document does not set the property. Arrays are tuples; objects with free
    keys are mappings, which nobody changes.
    """

    __slots__ = ()

    if TYPE_CHECKING:
        __attrs_attrs__: ClassVar[tuple[attrs.Attribute[Any], ...]]

    def properties(self) -> Iterator[tuple[str, Any]]:
        """Yield the name in the specification and the value of each property that is set."""
        for attribute in self.__attrs_attrs__:
            value = getattr(self, attribute.name)
            if value is not None and KIND in attribute.metadata:
                yield json_name(attribute.name), value

    def evolve(self, **changes: object) -> Self:
        """Return a copy with the attributes in *changes* replaced."""
        return attrs.evolve(self, **changes)  # type: ignore[misc]

    def __eq__(self, other: object) -> bool:
        """Tell whether *other* is of the same class with equal attributes."""
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, a.name) == getattr(other, a.name) for a in self.__attrs_attrs__)

    def __hash__(self) -> int:
        """Return the hash of the content; a ``TypeError`` if a mapping is part of it."""
        return hash((type(self), *(getattr(self, a.name) for a in self.__attrs_attrs__)))

    def __repr__(self) -> str:
        """Return the constructor call that makes an equal object, without what is not set."""
        shown = (
            f"{a.name}={getattr(self, a.name)!r}"
            for a in self.__attrs_attrs__
            if a.default is attrs.NOTHING or getattr(self, a.name) != a.default
        )
        return f"{type(self).__name__}({', '.join(shown)})"

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes, for copy and pickle."""
        return {a.name: getattr(self, a.name) for a in self.__attrs_attrs__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over the attributes of a copy or pickle."""
        for name, value in state.items():
            object.__setattr__(self, name, value)
