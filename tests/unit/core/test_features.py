"""The features document: merged from the plugins, with provenance, equal to what is accepted."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.core.stub import Basics, StubPlatform, config, info

from orlop import Runtime
from orlop.engine.features import merge
from orlop_hookspecs.errors import CompositionError
from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Handle
from orlop_hookspecs.hooks.identity import PluginInfo


def test_features_come_from_the_handles_and_fragments_with_provenance(runtime: Runtime) -> None:
    features = runtime.features()
    assert features.oci_version_min == "1.0.0"
    assert features.oci_version_max == "1.3.0"
    assert features.linux is not None
    assert features.linux.namespaces == ("mount", "pid")
    assert features.linux.seccomp is None
    provenance = runtime.features_provenance()
    assert provenance["linux.namespaces"] == {"mount": ["basics"], "pid": ["basics"]}
    assert provenance["linux.cgroup.v1"] == ["groups"]
    assert provenance["hooks"] == {"prestart": ["hooks"], "poststop": ["hooks"]}
    assert provenance["ociVersionMin"] == ["orlop"]


def test_lists_are_united_and_maps_merged() -> None:
    merged = merge(
        [("a", [Handle("x", values=frozenset({"pid", "uts"}), feature="linux.namespaces")])],
        [
            ("b", {"linux.namespaces": ["pid", "ipc"], "annotations": {"io.x.y": "1"}}),
            ("c", {"annotations": {"io.x.z": "2"}, "linux.cgroup.v1": True}),
            ("d", {"linux": {"cgroup": {"v1": True, "v2": False}}}),
        ],
    )
    assert merged.data["linux"]["namespaces"] == ["pid", "uts", "ipc"]
    assert merged.data["annotations"] == {"io.x.y": "1", "io.x.z": "2"}
    assert merged.provenance["linux.namespaces"]["pid"] == ["a", "b"]
    assert merged.provenance["linux.cgroup.v1"] == ["c", "d"]


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        ({"linux.cgroup.v1": True}, {"linux.cgroup.v1": False}, "plugin b contradicts a"),
        ({"linux.cgroup.v1": True}, {"linux.cgroup": ["x"]}, "plugin b contradicts a"),
        ({"linux.namespaces": ["pid"]}, {"linux.namespaces": True}, "plugin b contradicts a"),
        ({"linux.namespaces": ["pid"]}, {"linux.namespaces.x": True}, "plugin b contradicts a"),
        ({}, {"linux.cgroup.v3": True}, r"linux\.cgroup\.v3 is unknown to the specification"),
        ({}, {"linux.cgroup.v1": "yes"}, r"feature linux\.cgroup\.v1"),
        ({}, {"linux.namespaces": ["pidd"]}, r"feature linux\.namespaces"),
        ({}, {"hooks": [1]}, "no list of strings"),
        ({}, {"hooks": None}, "no JSON data"),
        ({}, {"a..b": True}, "malformed path"),
        ({}, {"": True}, "malformed path"),
    ],
)
def test_contradictions_and_nonsense_are_refused(
    one: dict[str, Any], other: dict[str, Any], message: str
) -> None:
    with pytest.raises(CompositionError, match=message) as caught:
        merge([], [("a", one), ("b", other)])
    assert caught.value.plugin == "b"


def test_contradictions_are_told_at_once_or_when_the_features_are_asked_for() -> None:
    class Odd:
        @hookimpl
        def orlop_plugin(self) -> PluginInfo:
            return info("odd")

        @hookimpl
        def orlop_features(self) -> dict[str, Any]:
            return {"linux.cgroup.v9": True}

    with pytest.raises(CompositionError, match="unknown to the specification"):
        Runtime.compose(StubPlatform(), [Odd()])
    runtime = Runtime.compose(StubPlatform(), [Odd()], check_features=False)
    with pytest.raises(CompositionError, match="unknown to the specification"):
        runtime.features()


def test_a_feature_without_values_is_refused() -> None:
    with pytest.raises(CompositionError, match=r"names feature .*, but no values"):
        merge([("a", [Handle("x", feature="linux.namespaces")])], [])


def test_fewer_plugins_make_a_smaller_document() -> None:
    small = Runtime.compose(StubPlatform(), [Basics()]).features()
    assert small.linux is not None
    assert small.linux.cgroup is None
    assert small.hooks is None


def test_what_is_advertised_is_what_is_accepted(runtime: Runtime) -> None:
    from orlop_hookspecs.documents.vocabulary import NAMESPACE_TYPES

    linux = runtime.features().linux
    assert linux is not None
    for kind in NAMESPACE_TYPES:
        accepted = runtime.check(config(linux={"namespaces": [{"type": kind}]})).accepted
        assert accepted == (kind in (linux.namespaces or ()))
