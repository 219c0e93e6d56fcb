"""Property tests over all documents: nothing is lost, and codec and schemas give one verdict."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator
from tests.unit.documents import published
from tests.unit.documents.strategies import damaged, objects

from orlop.documents.codec import converter, decode, decode_features, encode, encode_json
from orlop.documents.schema import schema
from orlop_hookspecs import documents
from orlop_hookspecs.documents import Config, Document, Features, State
from orlop_hookspecs.errors import DocumentError

CLASSES = sorted(set(documents.__all__) - {"Document"})
ROOTS: dict[str, type[Document]] = {"config": Config, "state": State, "features": Features}
SLOW = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
CATTRS = converter()

# Where the codec and the published schemas differ on purpose.
ON_PURPOSE = {
    "affinity",  # an array by the prose, an object by the schema
    "timeOffsets",  # the prose leaves the clocks' names free, the schema the other clocks' values
    "oomScoreAdj",  # the schema sets no bounds where the language of the specification's types has 64 bits
    "timeout",  # as oomScoreAdj
    "pid",  # as oomScoreAdj, with the kernel's 32 bits
    "status",  # the prose lets runtimes add statuses
}


@pytest.mark.parametrize("name", CLASSES)
@settings(max_examples=8)
@given(choice=st.data())
def test_each_class_keeps_everything(name: str, choice: st.DataObject) -> None:
    cls: type[Document] = getattr(documents, name)
    data = choice.draw(objects(cls))
    document = decode(data, cls)
    assert encode(document) == data
    assert decode(encode_json(document).encode(), cls) == document
    assert json.loads(encode_json(document, indent=2)) == data
    assert CATTRS.structure(data, cls) == document
    assert CATTRS.unstructure(document) == data


@SLOW
@given(objects(Config))
def test_objects_behave_as_values(data: dict[str, Any]) -> None:
    before = copy.deepcopy(data)
    document = decode(data, Config)
    assert data == before
    pickled = pickle.loads(pickle.dumps(document))  # noqa: S301 - made one line above
    for twin in (decode(data, Config), copy.deepcopy(document), pickled):
        assert twin == document
        assert repr(twin) == repr(document)
    assert document.evolve(hostname="another-name") != document
    assert document.evolve() == document


@pytest.mark.parametrize("name", ROOTS)
@SLOW
@given(choice=st.data())
def test_schemas_accept_what_the_codec_accepts(name: str, choice: st.DataObject) -> None:
    data = choice.draw(objects(ROOTS[name]))
    for strict in (False, True):
        Draft4Validator(schema(name, strict=strict)).validate(data)


@pytest.mark.parametrize("name", ROOTS)
@SLOW
@given(choice=st.data())
def test_codec_and_schemas_agree_about_damage(name: str, choice: st.DataObject) -> None:
    data, place = choice.draw(damaged(ROOTS[name]))
    accepted = True
    try:
        decode(data, ROOTS[name])
    except DocumentError:
        accepted = False
    assert Draft4Validator(schema(name)).is_valid(data) is accepted
    if published.OCI.is_dir() and not ON_PURPOSE.intersection(_keys(data)) and place:
        assert published.validator(name).is_valid(data) is (accepted or _only_newer_features(data))


def _keys(data: object) -> set[str]:
    if isinstance(data, dict):
        return set(data).union(*map(_keys, data.values()))
    if isinstance(data, list):
        return set().union(*map(_keys, data))
    return set()


def _only_newer_features(data: dict[str, Any]) -> bool:
    """Tell whether the fault lies in a feature that the published schema does not describe."""
    stripped = copy.deepcopy(data)
    linux = stripped.get("linux")
    if isinstance(linux, dict):
        linux.pop("memoryPolicy", None)
        if isinstance(linux.get("intelRdt"), dict):
            linux["intelRdt"].pop("schemata", None)
            linux["intelRdt"].pop("monitoring", None)
    if stripped == data:
        return False
    try:
        decode_features(stripped)
    except DocumentError:
        return False
    return True
