"""Adjustment, coverage, validation, planning, features: the pure part of the engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
from tests.unit.core.conftest import Compose
from tests.unit.core.stub import Basics, StubPlatform, adjuster, config, info

from orlop import Runtime
from orlop.documents.codec import decode_config
from orlop.engine.adjust import apply, owner_of
from orlop.engine.coverage import Coverage, join, segments
from orlop.engine.features import merge
from orlop.engine.plan import make_plan
from orlop.engine.prepare import RefusedConfigError
from orlop_hookspecs.documents import Config
from orlop_hookspecs.errors import CompositionError, PluginError
from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Adjustment, Handle, Problem
from orlop_hookspecs.hooks.identity import PluginInfo
from orlop_hookspecs.plan import PHASES
from orlop_hookspecs.steps import Execute, LoadSeccomp, NewNamespace, RunHook, SetHostname, SetUmask, Step
from orlop_hookspecs.steps.base import STEP_TYPES, step

# -- adjustment --------------------------------------------------------------------------------------------


def test_adjustments_change_a_copy_and_record_their_owners() -> None:
    data = config(process={"cwd": "/", "args": ["sh"], "env": ["A=1"]})
    changed, owners = apply(
        data,
        [
            ("one", Adjustment(set={"/hostname": "new", "/linux/resources/pids/limit": 5})),
            ("two", Adjustment(append={"/process/env": ["B=2"], "/mounts": [{"destination": "/x"}]})),
        ],
    )
    assert changed["hostname"] == "new"
    assert changed["linux"]["resources"] == {"pids": {"limit": 5}}
    assert changed["process"]["env"] == ["A=1", "B=2"]
    assert changed["mounts"] == [{"destination": "/x"}]
    assert owners == {
        "/hostname": "one",
        "/linux/resources/pids/limit": "one",
        "/process/env/1": "two",
        "/mounts/0": "two",
    }
    assert data["hostname"] == "stub"
    assert data["process"]["env"] == ["A=1"]
    assert "mounts" not in data
    assert owner_of(owners, "/mounts/0/destination") == "two"
    assert owner_of(owners, "/linux/resources") == "one"
    assert owner_of(owners, "/mount") == ""


@pytest.mark.parametrize(
    ("first", "second", "pointer"),
    [
        (Adjustment(set={"/hostname": "a"}), Adjustment(set={"/hostname": "b"}), "/hostname"),
        (Adjustment(set={"/hostname": "a"}), Adjustment(set={"/hostname": "a"}), "/hostname"),
        (
            Adjustment(set={"/linux/resources": {}}),
            Adjustment(set={"/linux/resources/cpu": {}}),
            "/linux/resources/cpu",
        ),
        (
            Adjustment(set={"/process/env/0": "A"}),
            Adjustment(append={"/process/env": ["B=1"]}),
            "/process/env",
        ),
        (
            Adjustment(append={"/process/env": ["B=1"]}),
            Adjustment(set={"/process": {"cwd": "/"}}),
            "/process/env",
        ),
        (
            Adjustment(append={"/mounts": [{"destination": "/dev/x"}]}),
            Adjustment(append={"/mounts": [{"destination": "/dev//./x/"}]}),
            "/mounts",
        ),
        (
            Adjustment(append={"/mounts": [{"destination": "/a/../x"}]}),
            Adjustment(append={"/mounts": [{"destination": "x"}]}),
            "/mounts",
        ),
        (
            Adjustment(append={"/linux/devices": [{"path": "/dev/x", "type": "c"}]}),
            Adjustment(append={"/linux/devices": [{"path": "/dev/x", "type": "b"}]}),
            "/linux/devices",
        ),
        (
            Adjustment(append={"/process/env": ["A=1"]}),
            Adjustment(append={"/process/env": ["A=1"]}),
            "/process/env",
        ),
    ],
)
def test_two_owners_of_one_thing_are_an_error_that_names_both(
    compose: Compose, first: Adjustment, second: Adjustment, pointer: str
) -> None:
    runtime = compose(adjuster("alpha", first), adjuster("beta", second))
    with pytest.raises(CompositionError) as caught:
        runtime.explain(config(process={"cwd": "/", "args": ["sh"], "env": ["Z=0"]}))
    assert caught.value.pointer == pointer
    assert "alpha and beta" in str(caught.value)


def test_neighbours_and_prefixes_of_names_do_not_overlap(compose: Compose) -> None:
    runtime = compose(
        adjuster("alpha", Adjustment(set={"/process/cwd": "/a"})),
        adjuster("beta", Adjustment(set={"/process/cw": 1, "/hostname": "h"})),
    )
    assert runtime.explain(config()).prepared.config.process.cwd == "/a"  # type: ignore[union-attr]


def test_a_plugin_may_not_append_what_the_config_has(compose: Compose) -> None:
    runtime = compose(adjuster("alpha", Adjustment(append={"/process/env": ["PATH=/evil"]})))
    with pytest.raises(CompositionError, match=r"appends element PATH, which config\.json has already"):
        runtime.explain(config(process={"cwd": "/", "args": ["sh"], "env": ["PATH=/bin"]}))


def test_mounts_may_be_stacked_on_those_of_the_config(compose: Compose) -> None:
    runtime = compose(
        adjuster("alpha", Adjustment(append={"/mounts": [{"destination": "/x", "type": "tmpfs"}]}))
    )
    prepared = runtime.explain(config(mounts=[{"destination": "/x"}])).prepared
    assert len(prepared.config.mounts or ()) == 2
    assert prepared.owners == {"/mounts/1": "alpha"}


@pytest.mark.parametrize(
    ("adjustment", "message"),
    [
        (Adjustment(set={"hostname": "x"}), "needs a JSON pointer"),
        (Adjustment(set={"": {}}), "needs a JSON pointer"),
        (Adjustment(set={"/hostname/x": 1}), "leads through a value"),
        (Adjustment(set={"/mounts/7": {}}), "names no element"),
        (Adjustment(set={"/mounts/x/y": {}}), "names no element"),
        (Adjustment(append={"/hostname": ["x"]}), "expected an array"),
        (Adjustment(append={"/mounts": "x"}), "expected a sequence"),
        (Adjustment(set=["/hostname"]), "are mappings"),  # type: ignore[arg-type]
        (Adjustment(set={"/hostname": 7}), "cannot be read"),
        (Adjustment(set={"/ociVersion": "7.0.0"}), "cannot be read"),
    ],
)
def test_adjustments_that_make_no_sense_are_the_fault_of_their_plugin(
    compose: Compose, adjustment: Adjustment, message: str
) -> None:
    with pytest.raises(PluginError, match=message) as caught:
        compose(adjuster("alpha", adjustment)).explain(config(mounts=[]))
    assert caught.value.plugin == "alpha"


def test_what_a_plugin_adds_is_covered_and_validated_like_the_config(compose: Compose) -> None:
    runtime = compose(adjuster("alpha", Adjustment(set={"/linux/cgroupsPath": "a/../b"})))
    with pytest.raises(RefusedConfigError, match="leaves its hierarchy"):
        runtime.explain(config())
    runtime = compose(adjuster("alpha", Adjustment(set={"/linux/rootfsPropagation": "slave"})))
    with pytest.raises(RefusedConfigError, match="no active plugin handles") as caught:
        runtime.explain(config())
    assert caught.value.plugin == "alpha"


# -- coverage ----------------------------------------------------------------------------------------------


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
    assert caught.value.hint == "plugin extra would handle it; it is inactive: blocked"


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


# -- validation and the verdict ----------------------------------------------------------------------------


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
    assert "/unknown: unknown to the specification" in text


def test_the_verdict_on_an_unreadable_config_lists_its_faults(runtime: Runtime) -> None:
    verdict = runtime.check({"ociVersion": "1.3.0", "hostname": 1, "process": {"cwd": 2}})
    assert [one.pointer for one in verdict.refused] == ["/hostname", "/process/cwd"]
    assert not runtime.check(b"{").accepted
    assert runtime.check(config()).accepted


# -- the plan ----------------------------------------------------------------------------------------------


def test_steps_are_ordered_by_phase_slot_plugin_and_answer() -> None:
    def namespace(name: str) -> Step:
        return NewNamespace(because="", type=name)

    execute = Execute(because="", args=("sh",))
    early = LoadSeccomp(because="", default_action="SCMP_ACT_ALLOW", early=True)
    late = LoadSeccomp(because="", default_action="SCMP_ACT_ALLOW")
    umask = SetUmask(because="", umask=18)
    plan, hooks = make_plan(
        [("a", [execute, late, namespace("pid")]), ("b", [early, namespace("uts"), namespace("ipc"), umask])]
    )
    assert [(p.plugin, p.step) for p in plan] == [
        ("a", namespace("pid")),
        ("b", namespace("uts")),
        ("b", namespace("ipc")),
        ("b", umask),
        ("b", early),
        ("a", late),
        ("a", execute),
    ]
    assert hooks == {}
    assert plan.steps("host") == ()


@hypothesis.given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([(p, s) for p in PHASES for s in PHASES[p]])))
)
def test_no_arrangement_of_answers_changes_the_order_of_phases_and_slots(
    places: list[tuple[str, tuple[str, str]]],
) -> None:
    steps: list[tuple[str, list[Step]]] = [
        (plugin, [_At(because="", place="/".join(place))]) for plugin, place in places
    ]
    plan, _ = make_plan(steps)
    order = [(phase, slot) for phase in PHASES for slot in PHASES[phase]]
    found = [order.index((planned.phase, planned.slot)) for planned in plan]
    assert found == sorted(found)
    assert len(found) == len(places)


def test_steps_in_unknown_places_and_of_unknown_classes_are_refused() -> None:
    with pytest.raises(PluginError, match="unknown phase 'nowhere', slot 'x'") as caught:
        make_plan([("odd", [_At(because="", place="nowhere/x")])])
    assert caught.value.plugin == "odd"
    with pytest.raises(PluginError, match="unknown phase 'host', slot 'hooks'"):
        make_plan([("odd", [_At(because="", place="host/hooks")])])

    class Homemade(SetHostname):
        pass

    with pytest.raises(PluginError, match="Homemade is no step of the contract"):
        make_plan([("odd", [Homemade(because="", name="x")])])


def test_poststart_and_poststop_hooks_stand_outside_the_phases() -> None:
    plan, hooks = make_plan(
        [
            (
                "hooks",
                [RunHook(because="/hooks/poststop/0", kind="poststop", index=0, path="/x", args=("x", "y"))],
            )
        ]
    )
    assert list(plan) == []
    assert hooks["poststop"][0]["path"] == "/x"
    with pytest.raises(PluginError, match="unknown phase"):
        make_plan([("hooks", [RunHook(because="", kind="never", index=0, path="/x")])])


def test_the_explanation_shows_owner_undo_and_reason(runtime: Runtime) -> None:
    explanation = runtime.explain(config(hooks={"poststop": [{"path": "/bin/after"}]}))
    data = explanation.as_data()
    assert [phase["phase"] for phase in data["phases"]] == [
        "host",
        "clone",
        "host-with-pid",
        "confined",
        "exec",
    ]
    (step,) = data["phases"][0]["steps"]
    assert step["plugin"] == "groups"
    assert step["because"] == "/linux/cgroupsPath"
    assert "remove" in step["undo"]
    text = str(explanation)
    assert "host: before there is a container process" in text
    assert "run /bin/after (/hooks/poststop/0)" in text
    assert text.index("CreateCgroup") < text.index("NewNamespace") < text.index("Execute")


def test_planning_leaves_no_trace(runtime: Runtime, root: str) -> None:
    import os

    runtime.explain(config())
    runtime.check(config())
    runtime.features()
    assert not os.path.exists(root)


# -- features ----------------------------------------------------------------------------------------------


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


def _make_at() -> Any:
    """Make a step whose place is its argument."""

    @step
    class _At(Step):
        because: str
        place: str

        @property
        def phase(self) -> str:
            return self.place.partition("/")[0]

        @property
        def slot(self) -> str:
            return self.place.partition("/")[2]

    return _At


_At = _make_at()


STEP_TYPES.pop("_At")


@pytest.fixture(autouse=True, scope="module")
def _known_step() -> Iterator[None]:
    STEP_TYPES["_At"] = _At
    yield
    del STEP_TYPES["_At"]
