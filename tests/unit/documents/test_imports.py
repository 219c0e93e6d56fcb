"""What the documents cost: sections that no document sets are never imported, and names resolve lazily."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import attrs
import pytest

import orlop_hookspecs.documents as package
from orlop.documents.structure import properties_of
from orlop_hookspecs.documents import Document, kinds
from orlop_hookspecs.documents.base import KIND
from orlop_hookspecs.documents.names import IRREGULAR, json_name

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGE = Path(package.__file__).parent
PREFIX = "orlop_hookspecs.documents."
LEAN = {"base", "common", "config", "kinds", "names", "process", "vocabulary"}


def _imported_by(program: str) -> set[str]:
    """Run *program* in a fresh interpreter and return the modules that it imported."""
    program += "\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def _documents(modules: set[str]) -> set[str]:
    return {name.removeprefix(PREFIX) for name in modules if name.startswith(PREFIX)}


def test_the_package_itself_imports_nothing() -> None:
    modules = _imported_by("import orlop_hookspecs.documents as d; dir(d)")
    assert _documents(modules) == set()
    assert "attr" not in modules


@pytest.mark.parametrize(
    ("data", "more"),
    [
        ({"process": {"cwd": "/", "user": {"uid": 0}}}, set()),
        ({"process": {"cwd": "/", "scheduler": {"policy": "SCHED_RR"}}}, {"scheduling"}),
        ({"linux": {"namespaces": [{"type": "pid"}], "sysctl": {}}}, {"linux"}),
        ({"linux": {"resources": {"memory": {}}}}, {"linux", "linux_resources"}),
        ({"linux": {"resources": {"rdma": {"x": {}}}}}, {"linux", "linux_resources", "linux_controllers"}),
        ({"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}}}, {"linux", "seccomp"}),
        ({"linux": {"intelRdt": {}}}, {"linux", "linux_extras"}),
        ({"windows": {"layerFolders": ["x"]}}, {"windows"}),
        ({"vm": {"kernel": {"path": "/"}}, "zos": {}}, {"vm", "zos"}),
        ({"solaris": {}, "freebsd": {}}, {"solaris", "freebsd"}),
    ],
)
def test_a_config_imports_the_sections_that_it_sets(data: dict[str, Any], more: set[str]) -> None:
    text = json.dumps({"ociVersion": "1.0.0", **data})
    program = f"from orlop.documents.codec import decode_config\ndecode_config({text.encode()!r})"
    modules = _imported_by(program)
    assert _documents(modules) <= LEAN | more
    assert _documents(modules) >= more
    # Neither has a place on the way of a cold `create`.
    assert not modules & {"cattrs", "orlop_hookspecs.documents.features", "orlop_hookspecs.documents.state"}


def test_every_class_is_exported_from_its_module() -> None:
    defined = {
        node.name: path.stem
        for path in PACKAGE.glob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "Document" for base in node.bases)
    }
    defined["Document"] = "base"
    assert defined == package._HOMES
    assert set(package.__all__) == set(defined)
    assert set(dir(package)) == set(package.__all__)
    for name, module in defined.items():
        assert getattr(package, name).__module__ == PREFIX + module
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = package.Nothing


_ANNOTATIONS: dict[type[kinds.Kind[Any]], Callable[[Any], str]] = {
    kinds.AnyObject: lambda _: "Mapping[str, Any]",
    kinds.Boolean: lambda _: "bool",
    kinds.Choice: lambda _: "str",
    kinds.Integer: lambda _: "int",
    kinds.ListOf: lambda kind: f"tuple[{_annotation(kind.item)}, ...]",
    kinds.MapOf: lambda kind: f"Mapping[str, {_annotation(kind.item)}]",
    kinds.OneOrMany: lambda kind: f"{_annotation(kind.item)} | tuple[{_annotation(kind.item)}, ...]",
    kinds.Ref: lambda kind: kind.name,
    kinds.Text: lambda _: "str",
}


def _annotation(kind: kinds.Kind[Any]) -> str:
    """Return the annotation that values of *kind* have."""
    return _ANNOTATIONS[type(kind)](kind)


@pytest.mark.parametrize("name", sorted(set(package.__all__) - {"Document"}))
def test_annotations_and_kinds_say_the_same(name: str) -> None:
    cls: type[Document] = getattr(package, name)
    assert cls.__doc__
    view = {attribute.name: attribute for attribute in attrs.fields(cls)}
    for field, kind in properties_of(cls).values():
        attribute = view[field]
        assert attribute.metadata == {KIND: kind}
        # A string, because these modules postpone the evaluation of their annotations.
        annotation: Any = attribute.type
        expected = _annotation(kind)
        optional = field not in cls.required_fields()
        assert attribute.default is (None if optional else attrs.NOTHING)
        assert annotation == (f"{expected} | None" if optional else expected), attribute.name


def test_constructors_can_be_inspected() -> None:
    assert get_type_hints(package.Root)["readonly"] == bool | None
    assert [field.name for field in attrs.fields(package.Root)] == ["path", "readonly"]


def test_the_table_of_names_has_only_what_is_irregular_and_used() -> None:
    used = {a.name for name in package._HOMES for a in getattr(getattr(package, name), "__attrs_attrs__", ())}
    assert set(IRREGULAR) <= used
    for attribute, name in IRREGULAR.items():
        first, *rest = attribute.split("_")
        assert name != first + "".join(map(str.capitalize, rest)), attribute
    assert json_name("oci_version") == "ociVersion"
    assert json_name("class_") == "class"
    assert json_name("l3_cache_schema") == "l3CacheSchema"
    assert json_name("ip4_addr") == "ip4Addr"
    assert json_name("root") == "root"
