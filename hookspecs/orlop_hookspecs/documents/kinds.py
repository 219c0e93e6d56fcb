"""Kinds: what a property may hold, declared once on the field and used by the codec and the schema generator.

A kind is data. It knows its limits and can name them in an error; it decodes nothing by itself.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")


class Kind(Generic[T]):
    """The base of all kinds; ``T`` is the Python type of a decoded value."""

    __slots__ = ()

    @property
    def expected(self) -> str:
        """What a value must be, as a noun phrase for errors."""
        return "a value"


class Boolean(Kind[bool]):
    """``true`` or ``false``."""

    __slots__ = ()

    @property
    def expected(self) -> str:
        """What a value must be."""
        return "true or false"


class Text(Kind[str]):
    """A string without NUL that UTF-8 can carry.

    Args:
        pattern: Regular expression (what Python and ECMA 262 share) that the whole string must match.
        shape: What the pattern stands for, as a noun phrase for errors.
    """

    __slots__ = ("pattern", "shape")

    def __init__(self, pattern: str = "", shape: str = "a string") -> None:
        """Keep the limits."""
        self.pattern = pattern
        self.shape = shape

    @property
    def expected(self) -> str:
        """What a value must be."""
        return self.shape


class Choice(Kind[str]):
    """One string of a fixed list."""

    __slots__ = ("values",)

    def __init__(self, values: tuple[str, ...]) -> None:
        """Keep the *values* in the order of the specification."""
        self.values = values

    @property
    def expected(self) -> str:
        """What a value must be."""
        return "one of " + ", ".join(self.values)


class Integer(Kind[int]):
    """An integer between *minimum* and *maximum*, both included."""

    __slots__ = ("maximum", "minimum")

    def __init__(self, minimum: int, maximum: int) -> None:
        """Keep the limits."""
        self.minimum = minimum
        self.maximum = maximum

    @property
    def expected(self) -> str:
        """What a value must be."""
        return f"an integer from {self.minimum} to {self.maximum}"


class ListOf(Kind[tuple[T, ...]]):
    """An array whose items are all of one kind; at least *minimum* of them."""

    __slots__ = ("item", "minimum")

    def __init__(self, item: Kind[T], minimum: int = 0) -> None:
        """Keep the kind of the items."""
        self.item = item
        self.minimum = minimum

    @property
    def expected(self) -> str:
        """What a value must be."""
        return "an array that is not empty" if self.minimum else "an array"


if TYPE_CHECKING:
    _MappingKind = Kind[Mapping[str, T]]
else:
    _MappingKind = Kind


class MapOf(_MappingKind[T]):
    """An object whose keys are free, but never empty, and whose values are all of one kind."""

    __slots__ = ("item",)

    def __init__(self, item: Kind[T]) -> None:
        """Keep the kind of the values."""
        self.item = item

    @property
    def expected(self) -> str:
        """What a value must be."""
        return "an object"


class OneOrMany(Kind[Any]):
    """One object of a kind, or an array of them: for what the prose and the schema describe differently."""

    __slots__ = ("item",)

    def __init__(self, item: Kind[Any]) -> None:
        """Keep the kind of the objects."""
        self.item = item

    @property
    def expected(self) -> str:
        """What a value must be."""
        return f"{self.item.expected} or an array of them"


class AnyObject(Kind[Any]):
    """A JSON object that the specification leaves to others."""

    __slots__ = ()

    @property
    def expected(self) -> str:
        """What a value must be."""
        return "an object"


class Ref(Kind[Any]):
    """An object of the document class *name* of the sibling module *module*, imported when first needed.

    A config without a ``windows`` section never imports the classes of that section.
    """

    __slots__ = ("_found", "module", "name")

    def __init__(self, module: str, name: str) -> None:
        """Keep the place of the class."""
        self.module = module
        self.name = name
        self._found: type[Any] | None = None

    def resolve(self) -> type[Any]:
        """Return the class, importing its module if nobody has."""
        found = self._found
        if found is None:
            full = f"{__package__}.{self.module}"
            # Also when the module is there: another thread may be in the middle of it, and this waits.
            __import__(full)
            found = self._found = getattr(sys.modules[full], self.name)
        return found

    @property
    def expected(self) -> str:
        """What a value must be."""
        return "an object"


BOOL = Boolean()
STRING = Text()
STRINGS = ListOf(STRING)
STRING_MAP = MapOf(STRING)
INT32 = Integer(-(1 << 31), (1 << 31) - 1)
INT64 = Integer(-(1 << 63), (1 << 63) - 1)
UINT8 = Integer(0, (1 << 8) - 1)
UINT16 = Integer(0, (1 << 16) - 1)
UINT32 = Integer(0, (1 << 32) - 1)
UINT64 = Integer(0, (1 << 64) - 1)
FILE_MODE = Integer(0, 0o777)
