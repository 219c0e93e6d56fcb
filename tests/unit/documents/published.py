"""The schemas and vectors of the runtime-spec, which lie beside this repository on some machines."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

OCI = Path(__file__).resolve().parents[4] / "shared" / "oci"
DOCUMENTS = ("config", "state", "features")

needs_oci = pytest.mark.skipif(
    not (OCI / "config-schema.json").is_file(),
    reason="the runtime-spec's schemas and vectors are not in ../shared/oci",
)


@functools.cache
def schemas() -> dict[str, Any]:
    """The published schemas by file name."""
    return {path.name: json.loads(path.read_bytes()) for path in sorted(OCI.glob("*.json"))}


@functools.cache
def validator(document: str) -> Draft4Validator:
    """A validator with the published schema of *document*."""
    resources = (
        (f"https://schemas.invalid/{name}", Resource.from_contents(body, default_specification=DRAFT4))
        for name, body in schemas().items()
    )
    registry: Registry[Any] = Registry().with_resources(resources)
    return Draft4Validator({"$ref": f"https://schemas.invalid/{document}-schema.json"}, registry=registry)


def vectors() -> list[tuple[str, bool, Path]]:
    """Every vector: which document it is, whether it is good, and its file."""
    return [
        (document, verdict == "good", path)
        for document in DOCUMENTS
        for verdict in ("good", "bad")
        for path in sorted((OCI / "test" / document / verdict).glob("*.json"))
    ]
