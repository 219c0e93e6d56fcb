"""Compare two features documents: what a config could rely on with one runtime and not with the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop_hookspecs.errors import printable, shorten
from orlop_hookspecs.frozen import Frozen, frozen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

UNKNOWN = "unknown"
"""What stands for a property that is absent or null (features.md)."""

_FREE = frozenset(("annotations",))
_TITLES = ("FEATURE", "VALUE")
_SHOWN = 2
"""Values of a list that are shown where the other document has none to compare them with."""


@frozen
class Difference(Frozen):
    """One thing that the two documents say differently."""

    path: str
    """Dotted path of the property."""
    value: str
    """The word of a list, or the key of an annotation; empty for a property that is no list."""
    one: Any
    """What the first document says, as JSON data: ``None`` for nothing; of a word, whether it is listed."""
    other: Any
    """What the second document says."""

    def as_data(self) -> dict[str, Any]:
        """Return the difference as JSON data."""
        data: dict[str, Any] = {"path": self.path}
        if self.value:
            data["value"] = self.value
        return data | {"one": self.one, "other": self.other}


@frozen
class Comparison(Frozen):
    """Everything that two documents say differently."""

    names: tuple[str, str]
    """What the two documents are called."""
    differences: tuple[Difference, ...]

    @property
    def equal(self) -> bool:
        """Whether both say the same."""
        return not self.differences

    def as_data(self) -> dict[str, Any]:
        """Return the comparison as JSON data."""
        return {
            "equal": self.equal,
            "one": self.names[0],
            "other": self.names[1],
            "differences": [one.as_data() for one in self.differences],
        }

    def rows(self) -> tuple[Sequence[str], list[Sequence[str]]]:
        """Return the titles and the rows of a table."""
        rows = [(d.path, d.value, _say(d.one), _say(d.other)) for d in self.differences]
        return (*_TITLES, *(name.upper() for name in self.names)), [
            tuple(map(printable, row)) for row in rows
        ]


def diff_features(
    one: Mapping[str, Any], other: Mapping[str, Any], names: tuple[str, str] = ("one", "other")
) -> Comparison:
    """Return what the features documents *one* and *other* (JSON data) say differently.

    The order of a list means nothing, and neither does the difference between a property that is absent and
    one that is null: both leave the caller without an answer. An empty list is an answer.
    """
    return Comparison(names, tuple(_compare(one, other, "")))


def _compare(one: object, other: object, path: str) -> Iterator[Difference]:
    if isinstance(one, dict) or isinstance(other, dict):
        ours, theirs = _as_object(one), _as_object(other)
        if ours is None or theirs is None:
            yield Difference(path, "", one, other)
            return
        for name in dict.fromkeys((*ours, *theirs)):
            if path in _FREE:
                if ours.get(name) != theirs.get(name):
                    yield Difference(path, str(name), ours.get(name), theirs.get(name))
            else:
                yield from _compare(ours.get(name), theirs.get(name), f"{path}.{name}".lstrip("."))
    elif isinstance(one, list) and isinstance(other, list):
        ours_said, theirs_said = [_word(word) for word in one], [_word(word) for word in other]
        for word in dict.fromkeys((*ours_said, *theirs_said)):
            in_one, in_other = word in ours_said, word in theirs_said
            if in_one != in_other:
                yield Difference(path, word, in_one, in_other)
    elif type(one) is not type(other) or one != other:
        yield Difference(path, "", one, other)


def _as_object(value: object) -> Mapping[str, Any] | None:
    """Return *value* if it is an object, and an empty one for what is unknown."""
    if value is None:
        return {}
    return value if isinstance(value, dict) else None


def _word(value: object) -> str:
    return value if isinstance(value, str) else shorten(value)


def _say(value: object) -> str:
    """Return what a document says by *value*."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        if len(value) > _SHOWN:
            return f"{len(value)} values"
        return ", ".join(map(_word, value)) or "none"
    return _word(value)
