"""The strict validator: each rule, and what it finds in the documents of other runtimes."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import orlop
from orlop.documents.codec import encode
from orlop_hookspecs.documents import vocabulary
from orlop_linux.plugins.mount_options import KNOWN

PEERS = Path(__file__).parent / "peers"
"""What Debian's runc 1.1.5 and 1.1.15 and crun 1.21 print."""

MINIMAL = {"ociVersionMin": "1.0.0", "ociVersionMax": "1.3.0"}


def peer(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((PEERS / f"{name}.json").read_bytes())
    return found


def found(document: Any, *, rule: str = "") -> set[tuple[str, str, str]]:
    """Return severity, rule and place of what is remarked, without notes unless a rule is named."""
    source = document if isinstance(document, (bytes, dict)) else dict(document)
    report = orlop.validate_features(source)
    return {
        (one.severity, one.rule, one.pointer)
        for one in report.remarks
        if (one.rule == rule if rule else one.severity != "note")
    }


def test_our_own_document_has_no_fault() -> None:
    with orlop.Runtime.compose(platform="fake") as runtime:
        report = orlop.validate_features(encode(runtime.features()))
    assert (report.valid, report.remarks, report.runtime) == (True, (), "orlop 0.1.0")


def test_a_document_that_says_nothing_is_valid_and_silent() -> None:
    report = orlop.validate_features(MINIMAL)
    assert (report.valid, report.runtime) == (True, "")
    (silence,) = report.remarks
    assert silence.rule == "silence"
    assert "linux.cgroup.rdma" in silence.message


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"ociVersionMin": None}, ("error", "required", "/ociVersionMin")),
        ({"ociVersionMax": 1}, ("error", "type", "/ociVersionMax")),
        ({"ociVersionMax": "v1.3"}, ("error", "version-format", "/ociVersionMax")),
        ({"ociVersionMin": "1.3.0", "ociVersionMax": "1.2.0"}, ("error", "version-order", "/ociVersionMax")),
        ({"ociVersionMax": "1.3.0-dev"}, ("warning", "version-release", "/ociVersionMax")),
        ({"ociVersionMax": "1.3.0+dev"}, ("warning", "version-release", "/ociVersionMax")),
        ({"ociVersionMax": "1.0.2", "hooks": []}, ("error", "version-gate", "/ociVersionMax")),
        (
            {"ociVersionMax": "1.2.0", "linux": {"netDevices": {}}},
            ("error", "version-gate", "/linux/netDevices"),
        ),
        (
            {"ociVersionMax": "1.2.0", "linux": {"intelRdt": {"schemata": True}}},
            ("error", "version-gate", "/linux/intelRdt/schemata"),
        ),
        ({"hook": []}, ("error", "unknown-property", "/hook")),
        ({"linux": {"seccomp": {"action": []}}}, ("error", "unknown-property", "/linux/seccomp/action")),
        ({"hooks": "prestart"}, ("error", "type", "/hooks")),
        ({"hooks": [7]}, ("error", "type", "/hooks/0")),
        ({"hooks": ["prestart", "prestart"]}, ("warning", "duplicate", "/hooks/1")),
        ({"hooks": ["preStart"]}, ("warning", "unknown-value", "/hooks/0")),
        ({"linux": []}, ("error", "type", "/linux")),
        ({"linux": {"namespaces": ["dream"]}}, ("warning", "unknown-value", "/linux/namespaces/0")),
        ({"linux": {"capabilities": ["chown"]}}, ("warning", "unknown-value", "/linux/capabilities/0")),
        ({"linux": {"cgroup": {"v2": "yes"}}}, ("error", "type", "/linux/cgroup/v2")),
        ({"annotations": {"": "x"}}, ("error", "annotation-key", "/annotations/")),
        ({"annotations": {"org.example.a": 1}}, ("error", "type", "/annotations/org.example.a")),
        ({"mountOptions": ["size=5"]}, ("warning", "filesystem-option", "/mountOptions/0")),
        (
            {"linux": {"seccomp": {"knownFlags": [], "supportedFlags": ["SECCOMP_FILTER_FLAG_LOG"]}}},
            ("error", "contradiction", "/linux/seccomp/supportedFlags"),
        ),
        (
            {"linux": {"seccomp": {"enabled": False, "actions": ["SCMP_ACT_LOG"]}}},
            ("warning", "contradiction", "/linux/seccomp/actions"),
        ),
        (
            {"mountOptions": ["idmap"], "linux": {"mountExtensions": {"idmap": {"enabled": False}}}},
            ("warning", "contradiction", "/mountOptions"),
        ),
        (
            {"mountOptions": [], "linux": {"mountExtensions": {"idmap": {"enabled": True}}}},
            ("warning", "gap", "/mountOptions"),
        ),
    ],
)
def test_each_rule(change: dict[str, Any], expected: tuple[str, str, str]) -> None:
    assert expected in found(MINIMAL | change)


def test_null_means_unknown_and_is_no_fault() -> None:
    assert found(MINIMAL | {"hooks": None, "linux": {"seccomp": None, "cgroup": {"v1": None}}}) == set()


def test_an_empty_list_is_an_answer() -> None:
    (silence,) = orlop.validate_features(MINIMAL | {"hooks": []}).remarks
    assert "hooks" not in silence.message.split(": ")[1].split(", ")


def test_a_misspelt_property_is_told_what_it_could_be() -> None:
    remark = orlop.validate_features(MINIMAL | {"mountOption": []}).remarks[0]
    assert (remark.hint, remark.severity) == ("did you mean mountOptions?", "error")


def test_a_newer_document_may_have_what_we_do_not_know() -> None:
    document = MINIMAL | {"ociVersionMax": "1.4.0", "linux": {"dreams": {"enabled": True}}}
    assert found(document) == set()
    assert found(document, rule="unknown-property") == {("note", "unknown-property", "/linux/dreams")}


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b'{"a": 1, "a": 2}', b"\xef\xbb\xbf{}", b'{"a": NaN}'])
def test_what_is_no_json_object_is_a_fault_of_the_document(text: bytes) -> None:
    report = orlop.validate_features(text)
    assert not report.valid
    assert {one.rule for one in report.remarks} == {"json"}


def test_a_hostile_document_is_answered_in_one_printable_line_per_remark() -> None:
    document = MINIMAL | {"\x1b[2J\n": 1, "hooks": ["\x1b]0;x\x07"] * 3}
    text = orlop.validate_features(document).as_text()
    assert all(line.isprintable() for line in text.splitlines())
    assert orlop.validate_features(MINIMAL | {f"p{i}": i for i in range(5000)}).as_text().count("\n") == 500


@pytest.mark.parametrize("name", ["runc-1.1.5", "runc-1.1.15", "crun-1.21"])
def test_the_documents_of_peers_are_read_by_everybody_else_of_ours(name: str) -> None:
    assert found(peer(name)) == found(json.dumps(peer(name)).encode())


def test_what_runc_gets_wrong() -> None:
    """Version 1.1 of runc is older than version 1.1.0 of the specification, whose document it prints."""
    assert orlop.validate_features(peer("runc-1.1.5")).runtime.startswith("runc 1.1.5")
    understated = {
        ("warning", "understated", "/linux/intelRdt"),
        ("warning", "understated", "/linux/cgroup/rdma"),
        ("warning", "understated", "/potentiallyUnsafeConfigAnnotations"),
    }
    assert found(peer("runc-1.1.5")) == understated | {
        ("error", "version-gate", "/ociVersionMax"),
        ("warning", "version-release", "/ociVersionMax"),
    }
    assert found(peer("runc-1.1.15")) == understated | {("warning", "constant", "/ociVersionMax")}
    assert ("note", "constant", "/annotations/org.opencontainers.runc.checkpoint.enabled") in found(
        peer("runc-1.1.15"), rule="constant"
    )


def test_what_crun_gets_wrong() -> None:
    assert orlop.validate_features(peer("crun-1.21")).runtime == "crun 1.21"
    assert found(peer("crun-1.21")) == {
        ("error", "version-gate", "/linux/mountExtensions"),
        ("error", "version-gate", "/potentiallyUnsafeConfigAnnotations"),
        ("warning", "version-release", "/ociVersionMax"),
        ("warning", "constant", "/ociVersionMax"),
        ("warning", "gap", "/mountOptions"),
        ("warning", "understated", "/linux/namespaces"),
    }
    texts = [one.message for one in orlop.validate_features(peer("crun-1.21")).remarks]
    assert any("lazytime" in text for text in texts)
    (silence,) = [text for text in texts if text.startswith("callers cannot know")]
    assert "linux.seccomp.archs" in silence


def test_a_repaired_document_of_a_peer_is_valid() -> None:
    repaired = copy.deepcopy(peer("crun-1.21")) | {"ociVersionMax": "1.2.0"}
    assert orlop.validate_features(repaired).valid


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
PATHS = [
    "hooks",
    "linux",
    "annotations",
    "mountOptions",
    "linux.seccomp",
    "linux.cgroup",
    "linux.mountExtensions",
]


@given(path=st.sampled_from(PATHS), value=JSON)
def test_no_document_stops_the_validator(path: str, value: Any) -> None:
    document: dict[str, Any] = copy.deepcopy(peer("runc-1.1.15"))
    *parents, name = path.split(".")
    place = document
    for parent in parents:
        place = place[parent]
    place[name] = value
    report = orlop.validate_features(document)
    assert report.as_text().count("\n") == len(report.remarks)
    json.dumps(report.as_data())


def test_the_words_of_the_specification_are_those_that_we_plan() -> None:
    assert set(vocabulary.MOUNT_OPTIONS) == KNOWN
    assert len(vocabulary.MOUNT_OPTIONS) == len(KNOWN)
