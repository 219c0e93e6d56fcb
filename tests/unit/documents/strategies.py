"""Hypothesis strategies made from what the document classes declare about themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from orlop.documents.structure import properties_of
from orlop_hookspecs.documents import Document, kinds

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
_FLOATS = st.floats(allow_nan=False, allow_infinity=False)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | _FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)

# Something wrong for most properties, right for some: the verdict must be the same whoever gives it.
JUNK = st.sampled_from(
    (
        True,
        False,
        0,
        1,
        -1,
        1.0,
        0.5,
        1 << 31,
        1 << 32,
        1 << 63,
        1 << 64,
        "",
        "x",
        "private",
        (),
        ("x",),
        (1,),
    )
) | st.sampled_from(({}, {"x": 1}, {"x": "y"}, {"path": "/x"}))


def data(kind: kinds.Kind[Any]) -> st.SearchStrategy[Any]:
    """JSON data that *kind* accepts."""
    return _MAKERS[type(kind)](kind)


def _integers(kind: kinds.Integer) -> st.SearchStrategy[int]:
    edges = (kind.minimum, kind.minimum + 1, kind.maximum - 1, kind.maximum)
    return st.sampled_from(edges) | st.integers(kind.minimum, kind.maximum)


def _texts(kind: kinds.Text) -> st.SearchStrategy[str]:
    if not kind.pattern:
        return TEXT
    return st.from_regex(kind.pattern, fullmatch=True, alphabet=st.characters(codec="ascii"))


_MAKERS: dict[type[kinds.Kind[Any]], Callable[[Any], st.SearchStrategy[Any]]] = {
    kinds.AnyObject: lambda _: st.dictionaries(KEYS, JSON_VALUES, max_size=2),
    kinds.Boolean: lambda _: st.booleans(),
    kinds.Choice: lambda kind: st.sampled_from(kind.values),
    kinds.Integer: _integers,
    kinds.ListOf: lambda kind: st.lists(data(kind.item), min_size=kind.minimum, max_size=kind.minimum + 2),
    kinds.MapOf: lambda kind: st.dictionaries(KEYS, data(kind.item), max_size=2),
    kinds.OneOrMany: lambda kind: data(kind.item) | st.lists(data(kind.item), max_size=2),
    kinds.Ref: lambda kind: objects(kind.resolve()),
    kinds.Text: _texts,
}


def objects(cls: type[Document]) -> st.SearchStrategy[dict[str, Any]]:
    """JSON objects that decode as *cls*."""
    if cls not in _objects:
        _objects[cls] = _make_objects(cls)
    return _objects[cls]


# Making a strategy costs more than drawing from it.
_objects: dict[type[Document], st.SearchStrategy[dict[str, Any]]] = {}


def _make_objects(cls: type[Document]) -> st.SearchStrategy[dict[str, Any]]:
    required: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    needed = cls.required_fields()
    for name, (field, kind) in properties_of(cls).items():
        group = required if field in needed else optional
        if name.startswith("ociVersion"):
            group[name] = st.sampled_from(("1.0.0", "1.0.2-dev", "1.3.0"))
        else:
            group[name] = data(kind)
    # A few properties at a time: all of them at once would be slow to make and hard to read.
    chosen = st.lists(st.sampled_from(sorted(optional)), unique=True, max_size=4) if optional else st.just([])
    return chosen.flatmap(
        lambda names: st.fixed_dictionaries({**required, **{name: optional[name] for name in names}})
    )


@st.composite
def damaged(draw: st.DrawFn, cls: type[Document]) -> tuple[dict[str, Any], tuple[str | int, ...]]:
    """A JSON object for *cls* with one value replaced or removed, and the place where that was done."""
    document = draw(objects(cls))
    place: list[str | int] = []
    parent: Any = document
    while True:
        keys: list[str | int] = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
        key = draw(st.sampled_from(keys))
        place.append(key)
        child = parent[key]
        if not isinstance(child, (dict, list)) or not child or draw(st.booleans()):
            break
        parent = child
    if isinstance(parent, dict) and draw(st.booleans()):
        del parent[key]
    else:
        junk = draw(JUNK)
        parent[key] = list(junk) if isinstance(junk, tuple) else junk
    return document, tuple(place)
