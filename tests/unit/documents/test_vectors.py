"""The vectors of the runtime-spec, judged by the codec, by our schemas and by the published ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator
from tests.unit.documents import published

from orlop.documents.codec import decode, decode_config, encode
from orlop.documents.properties import unknown_properties
from orlop.documents.schema import schema
from orlop_hookspecs.documents import Config, Document, Features, State
from orlop_hookspecs.errors import DocumentError

pytestmark = published.needs_oci

CLASSES: dict[str, type[Document]] = {"config": Config, "state": State, "features": Features}
EACH = pytest.mark.parametrize(
    ("document", "good", "path"),
    [pytest.param(*vector, id=f"{vector[0]}-{vector[2].stem}") for vector in published.vectors()],
)
GOOD_CONFIGS = [path for document, good, path in published.vectors() if document == "config" and good]


def test_there_are_vectors_of_each_kind() -> None:
    found = {(document, good) for document, good, _ in published.vectors()}
    assert found == {(document, good) for document in published.DOCUMENTS for good in (True, False)}


@EACH
def test_the_codec_judges_rightly(document: str, good: bool, path: Path) -> None:
    text = path.read_bytes()
    if good:
        assert encode(decode(text, CLASSES[document])) == _known(json.loads(text), CLASSES[document])
    else:
        with pytest.raises(DocumentError):
            decode(text, CLASSES[document])


@pytest.mark.parametrize("path", GOOD_CONFIGS, ids=lambda path: path.stem)
def test_only_the_version_rule_refuses_configs_from_before_1_0(path: Path) -> None:
    data = json.loads(path.read_bytes())
    if data["ociVersion"].startswith("1."):
        assert decode_config(path.read_bytes()) == decode(data, Config)
    else:
        with pytest.raises(DocumentError, match="unsupported version"):
            decode_config(path.read_bytes())


@EACH
def test_our_schemas_judge_as_the_published_ones(document: str, good: bool, path: Path) -> None:
    if path.stem == "invalid-json":
        with pytest.raises(json.JSONDecodeError):
            json.loads(path.read_bytes())
        return
    data = json.loads(path.read_bytes())
    assert published.validator(document).is_valid(data) is good
    assert Draft4Validator(schema(document)).is_valid(data) is good
    known = not unknown_properties(data, CLASSES[document])
    assert Draft4Validator(schema(document, strict=True)).is_valid(data) is (good and known)


def _known(data: dict[str, Any], cls: type[Document]) -> dict[str, Any]:
    """Return *data* without its unknown properties."""
    for pointer in unknown_properties(data, cls):
        *parents, name = pointer.split("/")[1:]
        target: Any = data
        for part in parents:
            target = target[int(part) if isinstance(target, list) else part]
        del target[name]
    return data
