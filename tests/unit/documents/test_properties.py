"""Every property of the specification is known, with the published limits.

``properties.txt`` is the reviewed list. Our classes are compared with it everywhere, the published schemas
where they are at hand; each difference between the two has a reason here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.documents import published

from orlop.documents.schema import ROOTS
from orlop.documents.structure import properties_of
from orlop_hookspecs.documents import kinds, vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterator

LIST = Path(__file__).with_name("properties.txt")

# Lines of ours that the published schemas do not have, by reason.
OURS_ONLY = {
    "in the prose of features-linux.md, but not in the schema": (
        "features linux.intelRdt.monitoring boolean",
        "features linux.intelRdt.schemata boolean",
        "features linux.memoryPolicy object",
        "features linux.memoryPolicy.flags array",
        f"features linux.memoryPolicy.flags[] string {'|'.join(vocabulary.MEMORY_POLICY_FLAGS)}",
        "features linux.memoryPolicy.modes array",
        f"features linux.memoryPolicy.modes[] string {'|'.join(vocabulary.MEMORY_POLICY_MODES)}",
    ),
    "an array by the prose of config-windows.md, an object by the schema": (
        "config windows.resources.cpu.affinity object or array",
    ),
    "the prose of config-linux.md leaves the names of the clocks free": (
        "config linux.timeOffsets.* object",
        "config linux.timeOffsets.*.nanosecs integer 0..4294967295",
        "config linux.timeOffsets.*.secs integer -9223372036854775808..9223372036854775807",
    ),
    "unbounded in the schema, but of 64 bits in the types of the specification": (
        "config process.oomScoreAdj integer -9223372036854775808..9223372036854775807",
        *(f"config hooks.{name}[].timeout integer 1..9223372036854775807" for name in vocabulary.HOOK_NAMES),
    ),
    "unbounded in the schema; the kernel's pids have 32 bits": ("state pid integer 0..2147483647",),
    "an additional status, as runtime.md allows": (
        "state !status string creating|created|running|paused|stopped",
    ),
    "the prose says uint32, and engines write the file type as well": (
        "config linux.devices[].fileMode integer 0..4294967295",
    ),
    "engines write the recursive words as well; which are accepted is a plugin's to say": (
        "config linux.rootfsPropagation string",
    ),
    "of versions 1.1.0 to 1.2.1 only, and still written": (
        "config linux.intelRdt.enableCMT boolean",
        "config linux.intelRdt.enableMBM boolean",
    ),
    "the same words, as a list instead of a pattern": ("config linux.devices[].!type string c|b|u|p",),
}
PUBLISHED_ONLY = {
    "config linux.devices[].!type string /^[cbup]$/",
    "config linux.devices[].fileMode integer 0..511",
    "config linux.rootfsPropagation string private|shared|slave|unbindable",
    "config linux.timeOffsets.boottime object",
    "config linux.timeOffsets.boottime.nanosecs integer 0..4294967295",
    "config linux.timeOffsets.boottime.secs integer -9223372036854775808..9223372036854775807",
    "config linux.timeOffsets.monotonic object",
    "config linux.timeOffsets.monotonic.nanosecs integer 0..4294967295",
    "config linux.timeOffsets.monotonic.secs integer -9223372036854775808..9223372036854775807",
    "config process.oomScoreAdj integer ..",
    "config windows.resources.cpu.affinity object",
    "state !status string creating|created|running|stopped",
    "state pid integer 0..",
    *(f"config hooks.{name}[].timeout integer 1.." for name in vocabulary.HOOK_NAMES),
}


def test_our_classes_are_the_reviewed_list() -> None:
    assert _ours() == LIST.read_text(encoding="utf-8").splitlines()


def test_each_difference_is_real() -> None:
    ours = set(_ours())
    for reason, lines in OURS_ONLY.items():
        assert ours.issuperset(lines), reason
    assert ours.isdisjoint(PUBLISHED_ONLY)


@published.needs_oci
def test_our_classes_are_the_published_schemas_but_for_the_differences() -> None:
    theirs = set(_published())
    ours = set(_ours())
    expected = {line for lines in OURS_ONLY.values() for line in lines}
    assert ours - theirs == expected
    assert theirs - ours == PUBLISHED_ONLY


@pytest.mark.parametrize("document", ROOTS)
def test_each_document_has_properties(document: str) -> None:
    assert any(line.startswith(document + " ") for line in _ours())


def _ours() -> list[str]:
    """One line per property: document, path (``!`` required, ``[]`` items, ``*`` keys), type and limits."""
    return sorted(
        {f"{name} {line}" for name, root in ROOTS.items() for line in _kind_lines(root, "") if line[0] != " "}
    )


def _kind_lines(kind: kinds.Kind[Any], path: str) -> Iterator[str]:
    yield f"{path} {_limits(kind)}"
    if isinstance(kind, kinds.ListOf):
        yield from _kind_lines(kind.item, f"{path}[]")
    elif isinstance(kind, kinds.MapOf):
        yield from _kind_lines(kind.item, f"{path}.*")
    elif isinstance(kind, (kinds.OneOrMany, kinds.Ref)):
        target = kind.item if isinstance(kind, kinds.OneOrMany) else kind
        assert isinstance(target, kinds.Ref)
        cls = target.resolve()
        needed = cls.required_fields()
        for name, (field, below) in properties_of(cls).items():
            required = "!" if field in needed else ""
            yield from _kind_lines(below, f"{path}.{required}{name}".lstrip("."))


def _limits(kind: kinds.Kind[Any]) -> str:
    match kind:
        case kinds.Boolean():
            return "boolean"
        case kinds.Integer(minimum=minimum, maximum=maximum):
            return f"integer {minimum}..{maximum}"
        case kinds.Choice(values=values):
            return f"string {'|'.join(values)}"
        case kinds.Text(pattern=pattern):
            return f"string /^{pattern}$/" if pattern else "string"
        case kinds.ListOf(minimum=minimum):
            return f"array {minimum}.." if minimum else "array"
    return "object or array" if isinstance(kind, kinds.OneOrMany) else "object"


def _published() -> list[str]:
    lines = (
        f"{document} {line}"
        for document in published.DOCUMENTS
        for line in _schema_lines(
            published.schemas()[f"{document}-schema.json"], f"{document}-schema.json", ""
        )
        if line[0] != " "
    )
    return sorted(set(lines))


def _schema_lines(schema: dict[str, Any], file: str, path: str) -> Iterator[str]:
    schema, file = _resolve(schema, file)
    match schema.get("type"):
        case "object":
            yield f"{path} object"
            for name, item in schema.get("properties", {}).items():
                required = "!" if name in schema.get("required", ()) else ""
                yield from _schema_lines(
                    item["schema"] if "file" in item else item,
                    item.get("file", file),
                    f"{path}.{required}{name}".lstrip("."),
                )
            for item in (*schema.get("patternProperties", {}).values(), schema.get("additionalProperties")):
                if isinstance(item, dict):
                    yield from _schema_lines(item, file, f"{path}.*")
        case "array":
            yield f"{path} array" + (f" {schema['minItems']}.." if "minItems" in schema else "")
            yield from _schema_lines(schema["items"], file, f"{path}[]")
        case "integer":
            yield f"{path} integer {schema.get('minimum', '')}..{schema.get('maximum', '')}"
        case "string" if "enum" in schema:
            yield f"{path} string {'|'.join(schema['enum'])}"
        case "string":
            yield f"{path} string /{schema['pattern']}/" if "pattern" in schema else f"{path} string"
        case kind:
            yield f"{path} {kind}"


def _resolve(schema: dict[str, Any], file: str) -> tuple[dict[str, Any], str]:
    """Follow references and merge unions; a property remembers the file that its references start from."""
    while "$ref" in schema:
        target, _, fragment = schema["$ref"].partition("#/")
        file = target or file
        schema = published.schemas()[file]
        for part in fragment.split("/"):
            schema = schema[part]
    for union in ("allOf", "anyOf"):
        if union in schema:
            merged: dict[str, Any] = {"type": "object", "properties": {}, "required": []}
            for part in schema[union]:
                resolved, home = _resolve(part, file)
                merged["required"] += resolved.get("required", [])
                for name, item in resolved.get("properties", {}).items():
                    merged["properties"][name] = item if "file" in item else {"schema": item, "file": home}
            return merged, file
    return schema, file
