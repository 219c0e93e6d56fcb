"""Configs checked against features documents of other runtimes."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from tests.unit.features.test_validate import MINIMAL, peer
from tests.unit.features.usage import BASE, FLAGS, LISTS, at, base, bind, mapped, tmpfs

import orlop
from orlop.documents.codec import decode_config, decode_features, encode
from orlop_hookspecs.errors import DocumentError

Document = dict[str, Any]


def ours() -> Document:
    with orlop.Runtime.compose(platform="fake") as runtime:
        return encode(runtime.features())


def without(document: Document, path: str, value: Any = None) -> Document:
    """Return *document* with null at *path*, or with another value."""
    changed = copy.deepcopy(document)
    *parents, name = path.split(".")
    place = changed
    for parent in parents:
        place = place[parent]
    place[name] = value
    return changed


def outcomes(config: Document, document: Document) -> dict[str, tuple[str, str]]:
    """Return outcome and weight of everything that is not simply applied, by pointer."""
    verdict = orlop.check_features(config, document)
    return {one.pointer: (one.outcome, one.weight) for one in verdict.properties if one.outcome != "applied"}


REFUSED, LOST, MISSED = ("refused", "error"), ("ignored", "error"), ("ignored", "warning")
SILENT = ("unknown", "note")


@pytest.mark.parametrize("path", LISTS)
def test_whoever_lists_a_value_applies_it_and_whoever_does_not_loses_it(path: str) -> None:
    """For every list of the document and every value that we advertise."""
    document = ours()
    for value in at(document, path):
        for config in LISTS[path](value):
            assert outcomes(config, document) == {}, (path, value)
            if path == "linux.seccomp.knownFlags":
                continue  # what is supported decides, where it is said
            shorter = without(document, path, [one for one in at(document, path) if one != value])
            assert not orlop.check_features(config, shorter).honoured, (path, value)
            silent = orlop.check_features(config, without(document, path))
            assert path == "linux.seccomp.supportedFlags" or silent.unknown, (path, value)


@pytest.mark.parametrize("path", FLAGS)
def test_whoever_says_no_loses_the_property_and_whoever_says_nothing_leaves_it_open(path: str) -> None:
    document = ours()
    for config, _, _ in FLAGS[path]:
        assert outcomes(config, document) == {}, path
        if path.startswith("linux.cgroup.") and path != "linux.cgroup.rdma":
            continue  # one version of cgroups is enough, and who manages them is no property of a config
        if "enableCMT" in str(config) or "enableMBM" in str(config):
            continue  # the document has words for what came after them only
        refuses = orlop.check_features(config, without(document, path, value=False))
        assert (refuses.accepted, refuses.honoured, bool(refuses.ignored)) == (True, False, True), path
        assert orlop.check_features(config, without(document, path)).unknown, path


def test_without_cgroups_limits_are_lost() -> None:
    document = without(without(ours(), "linux.cgroup.v1", value=False), "linux.cgroup.v2", value=False)
    config = base(linux={"resources": {"pids": {"limit": 5}, "memory": {"limit": 1 << 30}}})
    assert set(outcomes(config, document).values()) == {LOST}


OLD = MINIMAL | {"ociVersionMax": "1.1.0"}


@pytest.mark.parametrize(
    ("config", "document", "pointer", "expected"),
    [
        (base(linux={"netDevices": {"eth0": {}}}), OLD, "/linux/netDevices", MISSED),
        (base(linux={"memoryPolicy": {"mode": "MPOL_DEFAULT"}}), OLD, "/linux/memoryPolicy", MISSED),
        (base(process={"execCPUAffinity": {"initial": "0"}}), OLD, "/process/execCPUAffinity", MISSED),
        (mapped(), MINIMAL | {"ociVersionMax": "1.0.2"}, "/mounts/0/uidMappings", LOST),
        (mapped(), OLD, "/mounts/0/uidMappings", SILENT),
        (base(domainname="x"), MINIMAL | {"ociVersionMax": "1.0.2"}, "/domainname", MISSED),
        (base(windows={"layerFolders": ["x"]}), MINIMAL, "/windows", SILENT),
        (base(ociVersion="1.2.0"), OLD, "/ociVersion", ("unknown", "warning")),
        (base(strange={"a": 1}), MINIMAL, "/strange", MISSED),
        (bind("rro"), MINIMAL | {"mountOptions": ["bind"]}, "/mounts/0/options/0", LOST),
        (bind("size=5"), MINIMAL | {"mountOptions": ["bind"]}, "/mounts/0/options/0", MISSED),
        (tmpfs("rro"), MINIMAL | {"mountOptions": ["ro"]}, "/mounts/0/options/0", REFUSED),
        (bind("rro"), MINIMAL, "/mounts/0/options/0", SILENT),
        (base(hooks={"prestart": [{"path": "/x"}]}), MINIMAL | {"hooks": []}, "/hooks/prestart", LOST),
        (base(annotations={"a/b": "c"}), MINIMAL, "/annotations/a~1b", SILENT),
        ({"ociVersion": "1.3.0", "process": 5}, MINIMAL, "/process", REFUSED),
        (base(ociVersion="2.0.0"), MINIMAL, "/ociVersion", REFUSED),
    ],
)
def test_single_properties(
    config: Document, document: Document, pointer: str, expected: tuple[str, str]
) -> None:
    assert outcomes(config, document)[pointer] == expected


def test_an_option_of_a_file_system_is_for_that_to_decide() -> None:
    verdict = orlop.check_features(tmpfs("size=5"), MINIMAL | {"mountOptions": []})
    (one,) = [one for one in verdict.applied if one.pointer == "/mounts/0/options/0"]
    assert (one.weight, one.message) == ("note", "the option is passed to the file system, which decides")


def test_annotations_that_the_runtime_acts_on() -> None:
    document = MINIMAL | {"potentiallyUnsafeConfigAnnotations": ["org.example.", "exact"]}
    names = ("org.example.a", "org.example", "exact", "exact.not")
    verdict = orlop.check_features(base(annotations=dict.fromkeys(names, "x")), document)
    acts = {one.pointer for one in verdict.applied if one.weight == "note"}
    assert acts == {"/annotations/org.example.a", "/annotations/exact"}


def test_a_section_that_is_lost_is_told_of_once() -> None:
    config = base(
        linux={"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"]}}
    )
    lost = MINIMAL | {"linux": {"seccomp": {"enabled": False}}}
    found = {one: told for one, told in outcomes(config, lost).items() if "seccomp" in one}
    assert found == {"/linux/seccomp": LOST}
    verdict = orlop.check_features(config, lost)
    assert verdict.ignored[0].feature == "linux.seccomp.enabled"
    assert verdict.as_text().startswith(
        "accepted, and not all of it is applied\n  error   ignored  /linux/seccomp: "
    )


def test_what_runc_and_crun_make_of_a_config() -> None:
    config = base(
        mounts=bind("bind", "idmap")["mounts"],
        process={"scheduler": {"policy": "SCHED_BATCH"}, "capabilities": {"bounding": ["CAP_DREAM"]}},
        linux={
            "namespaces": [{"type": "mount"}, {"type": "time"}],
            "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0"},
            "resources": {"rdma": {"mlx5_0": {"hcaHandles": 3}}},
        },
    )
    assert outcomes(config, peer("runc-1.1.5")) == {
        "/ociVersion": ("unknown", "warning"),
        "/linux/namespaces/1/type": REFUSED,
        "/mounts/0/options/1": LOST,
        "/process/scheduler": MISSED,
        "/process/capabilities/bounding/0": MISSED,
        "/linux/memoryPolicy": MISSED,
        "/linux/resources/rdma": SILENT,
    }
    # Its version tells nothing, and neither does that of runc 1.1.15.
    assert outcomes(config, peer("crun-1.21"))["/process/scheduler"] == SILENT
    assert outcomes(config, peer("runc-1.1.15"))["/process/scheduler"] == SILENT
    assert "/mounts/0/options/1" not in outcomes(config, peer("crun-1.21"))


def test_all_forms_of_config_and_document_are_the_same() -> None:
    document, config = peer("crun-1.21"), base(process={"ioPriority": {"class": "IOPRIO_CLASS_IDLE"}})
    expected = orlop.check_features(config, document)
    assert orlop.check_features(json.dumps(config).encode(), json.dumps(document).encode()) == expected
    assert orlop.check_features(decode_config(config), decode_features(document)) == expected


@pytest.mark.parametrize(
    "document", [{}, {"ociVersionMin": "1.0.0"}, {"ociVersionMin": 1, "ociVersionMax": "x"}]
)
def test_what_is_no_features_document_is_refused(document: Document) -> None:
    with pytest.raises(DocumentError, match="this is no features document"):
        orlop.check_features(BASE, document)


def test_a_document_of_another_shape_says_nothing() -> None:
    odd = MINIMAL | {"linux": [], "hooks": "all", "mountOptions": {"ro": True}}
    verdict = orlop.check_features(bind("ro") | {"hooks": {"prestart": [{"path": "/x"}]}}, odd)
    assert {one.pointer for one in verdict.unknown} >= {"/mounts/0/options/0", "/hooks/prestart"}


def test_every_property_of_a_config_is_judged_once() -> None:
    config = mapped() | {"annotations": {"a": "b"}}
    pointers = [one.pointer for one in orlop.check_features(config, ours()).properties]
    assert len(pointers) == len(set(pointers))
    for one in orlop.check_features(config, ours()).properties:
        assert one.feature or one.message, one.pointer
