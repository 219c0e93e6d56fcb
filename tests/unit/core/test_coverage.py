"""Coverage, validation and the verdict: what is refused, why, and who would handle it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
from tests.unit.core.conftest import Compose
from tests.unit.core.stub import config, info

from orlop import Runtime
from orlop.documents.codec import decode_config
from orlop.engine.coverage import Coverage, join, segments
from orlop.engine.prepare import RefusedConfigError
from orlop_hookspecs.documents import Config
from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Handle, Problem
from orlop_hookspecs.hooks.identity import PluginInfo


def test_paths_are_taken_apart_and_joined() -> None:
    for path, parts in (
        ("linux.resources.rdma", ["linux", "resources", "rdma"]),
        ("mounts[].options[]", ["mounts", "[]", "options", "[]"]),
        ("linux.sysctl{}", ["linux", "sysctl", "{}"]),
        ("linux.resources.rdma{}.hcaHandles", ["linux", "resources", "rdma", "{}", "hcaHandles"]),
        ("a[][]", ["a", "[]", "[]"]),
    ):
        assert segments(path) == parts
        assert join(parts) == path


def covered(handles: Sequence[Handle], **changes: Any) -> list[str]:
    """Return the pointers that are refused."""
    data = {"ociVersion": "1.3.0", **changes}
    return [finding.pointer for finding in Coverage([("p", handles)]).refusals(decode_config(data))]


def test_a_handle_covers_what_is_below_it() -> None:
    handles = [Handle("linux.resources")]
    assert covered(handles, linux={"resources": {"memory": {"limit": 1}, "cpu": {"shares": 2}}}) == []
    assert covered(handles, linux={"resources": {"pids": {"limit": 1}}, "cgroupsPath": "/x"}) == [
        "/linux/cgroupsPath"
    ]


def test_an_exact_handle_does_not() -> None:
    handles = [Handle("linux.resources", exact=True), Handle("linux.resources.cpu")]
    assert covered(handles, linux={"resources": {"cpu": {"shares": 2}}}) == []
    assert covered(handles, linux={"resources": {"memory": {"limit": 1}}}) == ["/linux/resources/memory"]


def test_a_refusal_names_the_highest_place_that_nobody_handles() -> None:
    assert covered(
        [], linux={"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}, "namespaces": [{"type": "pid"}]}
    ) == ["/linux"]
    assert covered(
        [Handle("linux.namespaces")],
        linux={"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}, "namespaces": [{"type": "pid"}]},
    ) == ["/linux/seccomp"]


@pytest.mark.parametrize(
    "nothing",
    [
        {"hostname": ""},
        {"mounts": []},
        {"linux": {}},
        {"linux": {"resources": {"memory": {}, "cpu": {}, "devices": []}, "sysctl": {}, "maskedPaths": []}},
        {"linux": {"cgroupsPath": "", "mountLabel": ""}},
        {"hooks": {"prestart": [], "poststop": []}},
        {"annotations": {}},
        {"process": None},
        {"linux": {"intelRdt": None}},
        {"linux": {"resources": {"memory": {"disableOOMKiller": False, "checkBeforeUpdate": False}}}},
        {"solaris": {}},
    ],
)
def test_what_asks_for_nothing_needs_nobody(nothing: dict[str, Any]) -> None:
    assert covered([], **nothing) == []


@pytest.mark.parametrize(
    ("something", "pointer"),
    [
        ({"linux": {"intelRdt": {}}}, "/linux"),
        ({"process": {"cwd": "/", "capabilities": {}}}, "/process"),
        ({"windows": {"layerFolders": ["x"], "hyperv": {}}}, "/windows"),
        ({"linux": {"netDevices": {"eth0": {}}}}, "/linux"),
        ({"annotations": {"a": ""}}, "/annotations"),
        ({"linux": {"resources": {"memory": {"useHierarchy": False}}}}, "/linux"),
        ({"linux": {"resources": {"devices": [{"allow": False}]}}}, "/linux"),
        ({"linux": {"resources": {"memory": {"swappiness": 0}}}}, "/linux"),
        ({"linux": {"maskedPaths": [""]}}, "/linux"),
        ({"root": {"path": "/r", "readonly": True}}, "/root"),
    ],
)
def test_what_asks_for_something_although_it_looks_empty(something: dict[str, Any], pointer: str) -> None:
    assert covered([], **something) == [pointer]


def test_empty_requests_below_handled_places() -> None:
    handles = [Handle("linux.namespaces"), Handle("process.cwd")]
    assert covered(handles, linux={"intelRdt": {}}) == ["/linux/intelRdt"]
    assert covered(handles, process={"cwd": "/", "capabilities": {"bounding": []}}) == [
        "/process/capabilities"
    ]
    handles = [Handle("linux.intelRdt", exact=True), Handle("process.capabilities", exact=True)]
    assert covered(handles, linux={"intelRdt": {}}) == []
    assert covered(
        [*handles, Handle("process.cwd")], process={"cwd": "/", "capabilities": {"bounding": []}}
    ) == ["/process/capabilities/bounding"]


def test_values_are_decided_by_those_who_list_them() -> None:
    handles = [Handle("linux.namespaces"), Handle("linux.namespaces[].type", values=frozenset({"pid"}))]
    found = Coverage([("p", handles), ("q", [Handle("linux.namespaces[].type", values=frozenset({"ipc"}))])])
    data = decode_config(
        {"ociVersion": "1.3.0", "linux": {"namespaces": [{"type": t} for t in ("pid", "ipc", "uts")]}}
    )
    (refused,) = found.refusals(data)
    assert refused.pointer == "/linux/namespaces/2/type"
    assert refused.value == "uts"
    assert refused.message == "value is not supported by plugin p and q; accepted: pid, ipc"
    applied = {finding.pointer: finding.plugins for finding in found.findings(data)}
    assert applied["/linux/namespaces/0/type"] == ("p",)
    assert applied["/linux/namespaces/1/type"] == ("q",)


def test_keys_of_maps_are_escaped_in_pointers() -> None:
    (refused,) = Coverage([("p", [Handle("linux.sysctl{}", values=frozenset({"1"}))])]).refusals(
        decode_config({"ociVersion": "1.3.0", "linux": {"sysctl": {"net/a~b": "2"}}})
    )
    assert refused.pointer == "/linux/sysctl/net~1a~0b"


def test_the_error_names_the_plugin_that_would_handle_it(compose: Compose) -> None:
    class Extra:
        @hookimpl
        def orlop_plugin(self) -> PluginInfo:
            return info("extra")

        @hookimpl
        def orlop_handles(self) -> Sequence[Handle]:
            return [Handle("linux.sysctl")]

    wanted = config(linux={"sysctl": {"a.b": "1"}})
    assert compose(Extra()).check(wanted).accepted
    with pytest.raises(RefusedConfigError) as caught:
        compose(Extra(), block=["extra"]).explain(wanted)
    assert caught.value.pointer == "/linux/sysctl"
    assert caught.value.hint == (
        "plugin extra would handle it, but is inactive: left out (--plugins=-extra, or block); "
        "leave that away to use it"
    )


def test_all_refusals_are_collected(compose: Compose) -> None:
    with pytest.raises(RefusedConfigError) as caught:
        compose().explain(
            config(linux={"namespaces": [{"type": "uts"}, {"type": "ipc"}], "sysctl": {"a": "1"}})
        )
    assert [problem[0] for problem in caught.value.problems] == [
        "/linux/namespaces/0/type",
        "/linux/namespaces/1/type",
        "/linux/sysctl",
    ]
    assert "and 2 more: /linux/namespaces/1/type, /linux/sysctl" in str(caught.value)


def test_objections_of_all_plugins_are_collected(compose: Compose) -> None:
    class Picky:
        def __init__(self, name: str) -> None:
            self._name = name

        @hookimpl
        def orlop_plugin(self) -> PluginInfo:
            return info(self._name)

        @hookimpl
        def orlop_validate(self) -> Sequence[Problem]:
            return [Problem("/hostname", f"{self._name} dislikes it", "stub", hint="change it")]

    with pytest.raises(RefusedConfigError) as caught:
        compose(Picky("one"), Picky("two")).explain(config())
    assert [problem[3] for problem in caught.value.problems] == ["one", "two"]
    assert caught.value.plugin == "one"
    assert caught.value.hint == "change it"
    verdict = compose(Picky("one"), Picky("two")).check(config())
    assert not verdict.accepted
    assert [one.message for one in verdict.refused] == ["one dislikes it", "two dislikes it"]


def test_the_verdict_says_what_becomes_of_each_property(runtime: Runtime) -> None:
    verdict = runtime.check(config(linux={"namespaces": [{"type": "uts"}]}, unknown=1))
    assert not verdict.accepted
    outcomes = {one.pointer: (one.outcome, one.plugins) for one in verdict.properties}
    assert outcomes["/hostname"] == ("applied", ("basics",))
    assert outcomes["/ociVersion"] == ("applied", ("orlop",))
    assert outcomes["/linux/namespaces/0/type"][0] == "refused"
    assert outcomes["/unknown"] == ("ignored", ())
    assert verdict.as_data()["accepted"] is False
    text = verdict.as_text()
    assert text.startswith("refused\n")
    assert "\n  error   refused  /linux/namespaces/0/type" in text
    assert "\n  warning ignored  /unknown: unknown to the specification" in text
    assert "\n          applied  /hostname [basics]" in text
    severities = {one["pointer"]: one.get("severity") for one in verdict.as_data()["properties"]}
    assert (severities["/unknown"], severities["/hostname"]) == ("warning", None)


def test_the_verdict_on_an_unreadable_config_lists_its_faults(runtime: Runtime) -> None:
    verdict = runtime.check({"ociVersion": "1.3.0", "hostname": 1, "process": {"cwd": 2}})
    assert [one.pointer for one in verdict.refused] == ["/hostname", "/process/cwd"]
    assert not runtime.check(b"{").accepted
    assert runtime.check(config()).accepted


@hypothesis.given(st.data())
def test_coverage_never_lets_an_unhandled_property_pass(data: st.DataObject) -> None:
    """Whatever is handled, the two views of the check agree, and without handles nothing passes that asks."""
    paths = [
        "hostname",
        "domainname",
        "linux.sysctl",
        "linux.sysctl{}",
        "mounts",
        "mounts[].type",
        "annotations",
    ]
    chosen = data.draw(st.lists(st.sampled_from(paths), unique=True))
    exact = data.draw(st.booleans())
    coverage = Coverage([("p", [Handle(path, exact=exact) for path in chosen])])
    wanted: Config = decode_config(
        {
            "ociVersion": "1.3.0",
            "hostname": data.draw(st.sampled_from(["", "h"])),
            "domainname": "d",
            "linux": {"sysctl": data.draw(st.dictionaries(st.sampled_from("ab"), st.just("1")))},
            "mounts": data.draw(st.lists(st.just({"destination": "/x", "type": "tmpfs"}), max_size=2)),
        }
    )
    refused = {finding.pointer for finding in coverage.refusals(wanted)}
    assert refused == {finding.pointer for finding in coverage.findings(wanted) if finding.refused}
    assert ("/domainname" in refused) == ("domainname" not in chosen)
    assert ("/hostname" in refused) == ("hostname" not in chosen and wanted.hostname == "h")
