"""Generate JSON schemas from the document classes, for those who validate before they run.

The schemas say what the codec accepts, in the draft that the specification's own schemas use. Two things are
left to the codec because no schema can say them: that strings hold neither NUL nor lone surrogates, and which
versions are accepted. In configs and states the codec also reads ``null`` as absent, which a conforming
document never needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.documents.structure import properties_of
from orlop_hookspecs.documents import kinds

if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop_hookspecs.documents import Document

_DRAFT = "http://json-schema.org/draft-04/schema#"
_NOT_EMPTY = "[\\s\\S]"

ROOTS = {
    "config": kinds.Ref("config", "Config"),
    "state": kinds.Ref("state", "State"),
    "features": kinds.Ref("features", "Features"),
}
"""The documents that have a schema, by the name that ``orlop schema`` takes."""


def schema(name: str, *, strict: bool = False) -> dict[str, Any]:
    """Return the JSON schema (draft 4) of the document *name*: ``config``, ``state`` or ``features``.

    Args:
        name: A key of :data:`ROOTS`.
        strict: Forbid unknown properties, which the specification lets pass.

    Raises:
        KeyError: There is no such document.
    """
    root = ROOTS[name].resolve()
    # features.md: every property but the two versions may be null, which means unknown.
    generator = _Generator(strict=strict, nullable=name == "features")
    body = generator.describe_class(root)
    body.pop("description")
    title = {"$schema": _DRAFT, "description": _summary(root)}
    return {**title, **body, "definitions": dict(sorted(generator.definitions.items()))}


def _summary(cls: type[Document]) -> str:
    return (cls.__doc__ or "").split("\n", 1)[0]


class _Generator:
    """One run over the classes of a document; ``definitions`` collects a schema for each class met."""

    def __init__(self, *, strict: bool, nullable: bool) -> None:
        self.strict = strict
        self.nullable = nullable
        self.definitions: dict[str, dict[str, Any]] = {}
        self._writers: dict[type[kinds.Kind[Any]], Callable[[Any], dict[str, Any]]] = {
            kinds.AnyObject: lambda _: {"type": "object"},
            kinds.Boolean: lambda _: {"type": "boolean"},
            kinds.Choice: lambda kind: {"type": "string", "enum": list(kind.values)},
            kinds.Integer: lambda kind: {"type": "integer", "minimum": kind.minimum, "maximum": kind.maximum},
            kinds.ListOf: self._list,
            kinds.MapOf: self._map,
            kinds.OneOrMany: self._one_or_many,
            kinds.Ref: self._reference,
            kinds.Text: self._text,
        }

    def describe(self, kind: kinds.Kind[Any]) -> dict[str, Any]:
        """Return the schema of values of *kind*."""
        return self._writers[type(kind)](kind)

    def describe_class(self, cls: type[Document]) -> dict[str, Any]:
        """Return the schema of objects of *cls*."""
        properties: dict[str, Any] = {}
        required: list[str] = []
        needed = cls.required_fields()
        for name, (field, kind) in properties_of(cls).items():
            described = self.describe(kind)
            if field in needed:
                required.append(name)
            elif self.nullable:
                described = {"anyOf": [described, {"type": "null"}]}
            properties[name] = described
        described = {"description": _summary(cls), "type": "object", "properties": properties}
        if required:
            described["required"] = required
        if self.strict:
            described["additionalProperties"] = False
        return described

    def _text(self, kind: kinds.Text) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^(?:{kind.pattern})$"} if kind.pattern else {"type": "string"}

    def _list(self, kind: kinds.ListOf[Any]) -> dict[str, Any]:
        described: dict[str, Any] = {"type": "array", "items": self.describe(kind.item)}
        if kind.minimum:
            described["minItems"] = kind.minimum
        return described

    def _map(self, kind: kinds.MapOf[Any]) -> dict[str, Any]:
        items = {_NOT_EMPTY: self.describe(kind.item)}
        return {"type": "object", "patternProperties": items, "additionalProperties": False}

    def _one_or_many(self, kind: kinds.OneOrMany) -> dict[str, Any]:
        one = self.describe(kind.item)
        return {"anyOf": [one, {"type": "array", "items": one}]}

    def _reference(self, kind: kinds.Ref) -> dict[str, Any]:
        if kind.name not in self.definitions:
            # The name first, so that a class that refers to itself ends the recursion.
            self.definitions[kind.name] = {}
            self.definitions[kind.name] = self.describe_class(kind.resolve())
        return {"$ref": f"#/definitions/{kind.name}"}
