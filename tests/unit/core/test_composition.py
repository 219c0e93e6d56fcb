"""Plugins that fit together or not: requirements, conflicts, platforms, order, and answers that are wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from tests.unit.core.stub import Basics, StubPlatform, adjuster, config, info, plugins

from orlop import Runtime
from orlop.plugins.compose import compose
from orlop.plugins.facade import Hooks
from orlop.plugins.faults import PluginFault, RefusedPluginsError
from orlop.plugins.specs import LIVE, SPECS
from orlop.plugins.verify import verify
from orlop_hookspecs.errors import CompositionError, ConfigError, PluginError
from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Adjustment
from orlop_hookspecs.hooks.identity import PluginInfo
from orlop_hookspecs.launch import PlanContext


def faults_of(*some: object, block: Sequence[str] = ()) -> list[str]:
    with pytest.raises(RefusedPluginsError) as caught:
        compose(StubPlatform(), list(some), block)
    return [str(fault) for fault in caught.value.faults]


def test_requirements_and_conflicts() -> None:
    assert faults_of(adjuster("a", None, requires=("b",))) == [
        "a: it requires plugin b, which is not in the composition (not installed)"
    ]
    assert faults_of(adjuster("a", None, conflicts=("b",)), adjuster("b", None)) == [
        "a: it conflicts with plugin b"
    ]
    assert compose(StubPlatform(), [adjuster("a", None, requires=("b",)), adjuster("b", None)]).names == [
        "a",
        "b",
    ]


def test_a_chosen_plugin_whose_requirement_is_blocked_is_refused() -> None:
    found = faults_of(adjuster("a", None, requires=("b",)), adjuster("b", None), block=["b"])
    assert found == [
        "a: it requires plugin b, which is not in the composition (left out (--plugins=-b, or block))"
    ]


def test_a_blocked_name_that_no_plugin_has_is_refused() -> None:
    found = faults_of(adjuster("alpha", None), block=["alpah", "alpha"])
    assert found == ["alpah: no plugin of this name is installed; did you mean alpha?"]


def test_a_blocked_plugin_that_was_not_chosen_anyway_is_fine() -> None:
    assert compose(StubPlatform(), [adjuster("a", None)], block=["seccomp"]).names == ["a"]


def test_a_plugin_for_another_platform_is_inactive() -> None:
    composition = compose(StubPlatform(), [adjuster("a", None, platforms=("linux",)), adjuster("b", None)])
    assert composition.names == ["b"]
    reasons = {one.name: one.reason for one in composition.inactive}
    assert reasons["a"] == "for another platform: linux"


def test_the_order_is_declared_and_by_name_otherwise() -> None:
    some = [
        adjuster("delta", None, before=("alpha",)),
        adjuster("charlie", None),
        adjuster("alpha", None),
        adjuster("bravo", None, after=("charlie", "not-there")),
    ]
    for arrangement in (some, some[::-1]):
        composition = compose(StubPlatform(), arrangement)
        assert composition.names == ["charlie", "bravo", "delta", "alpha"]
        assert composition.hooks.implementers("orlop_adjust") == ("charlie", "bravo", "delta", "alpha")
    composition = compose(StubPlatform(), some)
    assert composition.why_here("alpha") == ["delta asks to come before alpha"]
    assert composition.why_here("charlie") == ["by name: nothing is declared that puts it later"]


def test_cycles_are_named() -> None:
    found = faults_of(
        adjuster("a", None, after=("c",)),
        adjuster("b", None, after=("a",)),
        adjuster("c", None, before=("x",), after=("b",)),
        adjuster("x", None),
    )
    assert found == ["a: the order contains a cycle: a after c after b after a"]
    assert faults_of(adjuster("a", None, after=("a",))) == ["a: the order contains a cycle: a after a"]


def test_the_pluggy_manager_calls_in_the_declared_order() -> None:
    first = adjuster("z-first", Adjustment(set={"/hostname": "1"}), before=("a-second",))
    second = adjuster("a-second", Adjustment(set={"/hostname": "2"}))
    composition = compose(StubPlatform(), [second, first])
    context = PlanContext("c", "/b", "/r")
    answers = composition.manager.hook.orlop_adjust(config=None, context=context)
    assert [answer.set["/hostname"] for answer in answers] == ["1", "2"]


class Misbehaving:
    """Does in one hook what *act* does."""

    def __init__(self, hook: str, act: Callable[[], Any]) -> None:
        def function() -> Any:
            return act()

        setattr(self, hook, hookimpl(function))

    @hookimpl
    def orlop_plugin(self) -> PluginInfo:
        return info("odd")


def _raise() -> Any:
    raise KeyError("lost")


@pytest.mark.parametrize("hook", ["orlop_adjust", "orlop_validate", "orlop_remark", "orlop_plan"])
@pytest.mark.parametrize(
    ("act", "message"),
    [
        (_raise, "raised KeyError"),
        (lambda: 7, "got int"),
        (lambda: "text", "got str"),
        (lambda: [7], "int"),
        (lambda: iter(()), "got tuple_iterator"),
    ],
)
def test_plugins_that_raise_or_answer_wrongly_are_named(
    hook: str, act: Callable[[], Any], message: str
) -> None:
    odd = Misbehaving(hook, act)
    hooks = Hooks([one for one in [verify(odd, "test", [])] if one is not None])
    context = PlanContext("box", "/b", "/r")
    with pytest.raises(PluginError) as caught:
        getattr(hooks, hook.removeprefix("orlop_"))(None, context)
    assert caught.value.plugin == "odd"
    assert caught.value.container == "box"
    assert hook in caught.value.message
    assert message in caught.value.message or "got list" in caught.value.message


@pytest.mark.parametrize("hook", ["orlop_handles", "orlop_features", "orlop_platform"])
@pytest.mark.parametrize("act", [_raise, lambda: 7, lambda: "text"])
def test_plugins_that_fail_while_composing_refuse_the_composition(hook: str, act: Callable[[], Any]) -> None:
    platform: object = "stub" if hook == "orlop_platform" else StubPlatform()
    with pytest.raises(CompositionError) as caught:
        compose(platform, [Misbehaving(hook, act)])
    assert caught.value.plugin == "odd"
    assert hook in str(caught.value)


def test_a_plugin_refuses_a_config_by_its_own_error() -> None:
    def act() -> Any:
        raise ConfigError("too small", pointer="/hostname", value="x")

    runtime = Runtime.compose(
        StubPlatform(), [*plugins(), Misbehaving("orlop_plan", act)], root="/nonexistent"
    )
    with pytest.raises(ConfigError) as caught:
        runtime.explain(config())
    assert caught.value.plugin == "odd"
    assert caught.value.pointer == "/hostname"


def test_none_is_an_empty_answer() -> None:
    for hook in (
        "orlop_handles",
        "orlop_features",
        "orlop_adjust",
        "orlop_validate",
        "orlop_remark",
        "orlop_plan",
    ):
        composition = compose(StubPlatform(), [Misbehaving(hook, lambda: None)])
        context = PlanContext("box", "/b", "/r")
        answer = composition.hooks.plan(None, context)  # type: ignore[arg-type]
        assert answer == []
        assert composition.hooks.validate(None, context) == []  # type: ignore[arg-type]
        assert composition.hooks.remark(None, context) == []  # type: ignore[arg-type]
        assert composition.hooks.adjust(None, context) == []  # type: ignore[arg-type]


def test_platforms_by_name_object_and_plugin() -> None:
    class Supplier:
        def __init__(self, name: str = "supplied") -> None:
            self._name = name

        @hookimpl
        def orlop_plugin(self) -> PluginInfo:
            return info(self._name)

        @hookimpl
        def orlop_platform(self) -> Any:
            return StubPlatform()

    assert Runtime.compose(StubPlatform(), [Basics()]).platform == "stub"
    assert Runtime.compose(Supplier(), [Basics()]).platform == "stub"
    assert Runtime.compose("stub", [Basics(), Supplier()]).platform == "stub"
    with pytest.raises(CompositionError, match="no plugin supplies platform stub"):
        Runtime.compose("stub", [Basics()])
    with pytest.raises(CompositionError, match="plugins one and two both supply platform stub"):
        Runtime.compose("stub", [Supplier("one"), Supplier("two")])
    with pytest.raises(CompositionError, match="neither a name"):
        Runtime.compose(object(), [Basics()])


def test_notifications_of_broken_plugins_are_warnings() -> None:
    class Listener:
        @hookimpl
        def orlop_plugin(self) -> PluginInfo:
            return info("listener")

        @hookimpl
        def orlop_created(self, state: Any) -> None:
            raise ValueError(state["id"])

    told: list[str] = []
    hooks = compose(StubPlatform(), [Listener()]).hooks
    hooks.created({"id": "box"}, told.append)
    assert told == ["orlop_created raised ValueError: box [plugin listener]"]


def test_the_specs_are_those_of_the_contract() -> None:
    assert next(iter(SPECS)) == "orlop_plugin"
    assert SPECS["orlop_checkpoint"].parameters == ("plan", "checkpoint", "record")
    assert SPECS["orlop_signal"].firstresult
    assert not SPECS["orlop_plan"].firstresult
    assert "orlop_update" in LIVE
    assert "orlop_created" in LIVE
    assert "orlop_plan" not in LIVE


def test_faults_print_themselves() -> None:
    assert str(PluginFault("a", "is odd")) == "a: is odd"
