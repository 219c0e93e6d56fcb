"""Planning and explaining: every step in its place, whoever asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
from tests.unit.core.stub import config

from orlop import Runtime
from orlop.engine.plan import make_plan
from orlop_hookspecs.errors import PluginError
from orlop_hookspecs.plan import PHASES
from orlop_hookspecs.steps import Execute, LoadSeccomp, NewNamespace, RunHook, SetHostname, SetUmask, Step
from orlop_hookspecs.steps.base import STEP_TYPES, step


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
