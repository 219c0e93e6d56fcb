"""The features document against the published schema, with its gaps filled, and against our own."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4
from tests.unit.documents.published import needs_oci, schemas
from tests.unit.features.usage import FLAGS, LISTS, SPOKEN, leaves

import orlop
from orlop.documents.codec import decode_features, encode
from orlop.documents.schema import schema

_NULL = {"type": "null"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    with orlop.Runtime.compose(platform="fake") as runtime:
        return encode(runtime.features())


def _with_null(properties: dict[str, Any]) -> None:
    """Let everything below *properties* be null, which features.md defines as unknown."""
    for name, described in properties.items():
        _with_null(described.get("properties", {}))
        properties[name] = {"anyOf": [described, _NULL]}


def _without_unknown(described: Any) -> None:
    """Forbid unknown properties wherever known ones are listed."""
    if isinstance(described, list):
        for one in described:
            _without_unknown(one)
    elif isinstance(described, dict):
        if isinstance(described.get("properties"), dict):
            described["additionalProperties"] = False
        for one in described.values():
            _without_unknown(one)


def published(*, strict: bool) -> Draft4Validator:
    """Return a validator with the published schema after its known gaps have been filled."""
    bodies = copy.deepcopy(schemas())
    linux = bodies["features-linux.json"]["linux"]["properties"]
    linux["intelRdt"]["properties"] |= {"schemata": {"type": "boolean"}, "monitoring": {"type": "boolean"}}
    strings = {"type": "array", "items": {"type": "string"}}
    linux["memoryPolicy"] = {"type": "object", "properties": {"modes": strings, "flags": strings}}
    _with_null(linux)
    top = bodies["features-schema.json"]
    _with_null(top["properties"])
    for name in top["required"]:
        top["properties"][name] = top["properties"][name]["anyOf"][0]
    if strict:
        _without_unknown(bodies["features-linux.json"])
        _without_unknown(top)
    resources = (
        (f"https://schemas.invalid/{name}", Resource.from_contents(body, default_specification=DRAFT4))
        for name, body in bodies.items()
    )
    registry: Registry[Any] = Registry().with_resources(resources)
    return Draft4Validator({"$ref": "https://schemas.invalid/features-schema.json"}, registry=registry)


def _faults(validator: Draft4Validator, data: dict[str, Any]) -> list[str]:
    return [f"{list(error.absolute_path)}: {error.message}" for error in validator.iter_errors(data)]


@needs_oci
@pytest.mark.parametrize("strict", [False, True])
def test_the_document_follows_the_published_schema(document: dict[str, Any], strict: bool) -> None:
    assert _faults(published(strict=strict), document) == []


@needs_oci
def test_the_strict_schema_finds_unknown_properties_everywhere(document: dict[str, Any]) -> None:
    validator = published(strict=True)
    for path in (
        "",
        "linux",
        "linux.cgroup",
        "linux.seccomp",
        "linux.intelRdt",
        "linux.mountExtensions.idmap",
    ):
        changed = copy.deepcopy(document)
        place = changed
        for name in path.split(".") if path else ():
            place = place[name]
        place["strange"] = True
        assert _faults(validator, changed), path


@needs_oci
def test_the_published_schema_and_ours_know_the_same_paths() -> None:
    def paths(described: Any, at: str = "") -> set[str]:
        described = described.get("anyOf", [described])[0]
        below = described.get("properties", {})
        found = {path for name, one in below.items() for path in paths(one, f"{at}.{name}".lstrip("."))}
        return found or {at}

    bodies = published(strict=False)
    resolved = bodies._resolver.lookup("https://schemas.invalid/features-schema.json").contents
    theirs = copy.deepcopy(resolved)
    linux = bodies._resolver.lookup("https://schemas.invalid/features-linux.json").contents["linux"]
    theirs["properties"]["linux"] = linux
    assert paths(theirs) == set(_possible_paths())


@pytest.mark.parametrize("strict", [False, True])
def test_the_document_follows_our_own_schema(document: dict[str, Any], strict: bool) -> None:
    assert _faults(Draft4Validator(schema("features", strict=strict)), document) == []


def test_our_own_schema_is_one_by_its_draft_and_refers_to_nothing_outside() -> None:
    described = schema("features", strict=True)
    Draft4Validator.check_schema(described)
    text = json.dumps(described)
    assert all(reference.startswith("#/definitions/") for reference in text.split('"$ref": "')[1:])


def test_our_own_strict_schema_refuses_what_the_document_cannot_have(document: dict[str, Any]) -> None:
    validator = Draft4Validator(schema("features", strict=True))
    for changed in (
        document | {"strange": 1},
        document | {"ociVersionMin": None},
        document | {"linux": document["linux"] | {"namespaces": ["dream"]}},
        document | {"linux": document["linux"] | {"cgroup": {"v3": True}}},
    ):
        assert _faults(validator, changed)
    assert _faults(validator, document | {"hooks": None, "linux": None}) == []


def _possible_paths() -> list[str]:
    """Return the path of everything that a features document can say, from our own schema."""
    whole = schema("features", strict=True)

    def walk(described: Any, path: str) -> list[str]:
        described = described.get("anyOf", [described])[0]
        if "$ref" in described:
            described = whole["definitions"][described["$ref"].rsplit("/", 1)[1]]
        if path in SPOKEN or "properties" not in described:
            return [path]
        return [
            found
            for name, one in described["properties"].items()
            for found in walk(one, f"{path}.{name}".lstrip("."))
        ]

    return walk(whole, "")


def test_these_tests_know_a_config_for_everything_that_a_document_can_say() -> None:
    assert {*LISTS, *FLAGS, *SPOKEN} == set(_possible_paths())


def test_the_document_says_something_about_every_path_that_it_has(document: dict[str, Any]) -> None:
    for path, value in leaves(document):
        if path in LISTS:
            assert value == list(dict.fromkeys(value)), path
            assert value, path
        elif path in FLAGS:
            assert isinstance(value, bool), path
        else:
            assert path in SPOKEN


def test_the_document_survives_being_read_and_written(document: dict[str, Any]) -> None:
    text = json.dumps(document).encode()
    assert json.dumps(encode(decode_features(text))).encode() == text


_AS_ANOTHER_HOST = """
import builtins, json, os, sys
sys.path[:0] = {path!r}
os.uname = lambda: os.uname_result(("Plan9", "n", "2.4", "v", "vax"))
os.geteuid = os.getuid = lambda: 1234
{more}
import orlop
from orlop.documents.codec import encode
print(json.dumps(encode(orlop.Runtime.compose(platform={platform!r}).features())))
"""
_NOTHING_IS_READ = """
import attrs, cattrs, pluggy, importlib.metadata
def hook(event, arguments):
    if event == "open" and str(arguments[0]).startswith(("/proc", "/sys", "/dev", "/run", "/etc")):
        raise RuntimeError(f"the host was asked: {arguments[0]}")
    if event in ("subprocess.Popen", "os.posix_spawn", "os.fork", "socket.connect", "ctypes.dlopen"):
        raise RuntimeError(f"the host was asked: {event}")
sys.addaudithook(hook)
"""


@pytest.mark.parametrize("platform", ["linux", "fake"])
@pytest.mark.parametrize("environment", [{}, {"HOME": "/nowhere", "XDG_RUNTIME_DIR": "/x", "LANG": "tr_TR"}])
def test_the_document_does_not_depend_on_the_host(
    document: dict[str, Any], platform: str, environment: dict[str, str]
) -> None:
    if platform == "linux" and not Path("/proc/self").is_dir():
        pytest.skip("the Linux platform is only on Linux")
    script = _AS_ANOTHER_HOST.format(path=sys.path, platform=platform, more=_NOTHING_IS_READ)
    found = subprocess.run(
        [sys.executable, "-I", "-c", script],
        env=os.environ | environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout == json.dumps(document) + "\n"
