"""Plugins that do not keep the contract are refused, all at once and with every fault."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from tests.unit.core.stub import Basics, StubPlatform, adjuster, config, info, plugins

from orlop import Runtime
from orlop.plugins.compose import compose
from orlop.plugins.facade import Hooks
from orlop.plugins.faults import PluginFault, RefusedPluginsError
from orlop.plugins.specs import LIVE, SPECS
from orlop.plugins.verify import contract_problem, verify
from orlop_hookspecs.documents import Config
from orlop_hookspecs.errors import CompositionError, ConfigError, PluginError
from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Adjustment, Handle
from orlop_hookspecs.hooks.identity import PluginInfo
from orlop_hookspecs.launch import PlanContext
from orlop_hookspecs.steps import Step


def faults_of(*some: object, block: Sequence[str] = ()) -> list[str]:
    with pytest.raises(RefusedPluginsError) as caught:
        compose(StubPlatform(), list(some), block)
    return [str(fault) for fault in caught.value.faults]


def plugin_with(**functions: Any) -> types.ModuleType:
    """Return a module that is a good plugin but for *functions*."""
    module = types.ModuleType("bad_module")

    @hookimpl
    def orlop_plugin() -> PluginInfo:
        return info("bad")

    module.orlop_plugin = orlop_plugin  # type: ignore[attr-defined]
    for name, function in functions.items():
        setattr(module, name, function)
    return module


def _default(config: Config, context: PlanContext = None) -> Sequence[Step]:  # type: ignore[assignment]
    return []


def _keyword(*, config: Config) -> Sequence[Step]:
    return []


def _star(*config: Config) -> Sequence[Step]:
    return []


def _starstar(**config: Any) -> Sequence[Step]:
    return []


def _unknown(confg: Config) -> Sequence[Step]:
    return []


async def _coroutine(config: Config) -> Sequence[Step]:
    return []


def _generator(config: Config) -> Iterator[Step]:
    yield from ()


async def _async_generator(config: Config) -> Any:
    yield None


def _unannotated(config: Config):  # type: ignore[no-untyped-def]  # noqa: ANN202
    return []


def _fine(config: Config) -> Sequence[Step]:
    return []


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (_default, "parameters with defaults are refused"),
        (_keyword, "keyword-only parameters are refused"),
        (_star, "*args and **kwargs are refused: name the parameters"),
        (_starstar, "*args and **kwargs are refused: name the parameters"),
        (_unknown, "unknown parameter confg (the hook has: config, context)"),
        (_coroutine, "async functions are refused: hooks are plain functions"),
        (_generator, "generators are refused: return a sequence"),
        (_async_generator, "async functions are refused: hooks are plain functions"),
        (_unannotated, "the return annotation is missing"),
    ],
)
def test_signatures_that_are_refused(function: Callable[..., Any], message: str) -> None:
    marked = hookimpl(specname="orlop_plan")(function)
    try:
        assert faults_of(plugin_with(orlop_plan=marked)) == [f"bad: orlop_plan: {message}"]
    finally:
        del function.orlop_impl  # type: ignore[attr-defined]


def test_a_hook_that_does_not_exist_is_refused_with_a_suggestion() -> None:
    @hookimpl
    def orlop_plam(config: Config) -> Sequence[Step]:
        return []

    assert faults_of(plugin_with(orlop_plam=orlop_plam)) == [
        "bad: orlop_plam: no such hook; did you mean orlop_plan?"
    ]


def test_an_unmarked_function_with_the_prefix_is_refused_whether_or_not_the_hook_exists() -> None:
    found = faults_of(plugin_with(orlop_plan=_fine, orlop_of_no_use=_fine))
    assert found == [
        "bad: orlop_plan: the function is not marked with @hookimpl",
        "bad: orlop_of_no_use: no such hook",
    ]


def test_a_marked_function_without_the_prefix_is_refused() -> None:
    @hookimpl
    def helper(config: Config) -> Sequence[Step]:
        return []

    assert faults_of(plugin_with(helper=helper)) == ["bad: helper: no such hook"]


def test_imported_modules_and_signatures_of_the_contract_are_no_hooks() -> None:
    import orlop_hookspecs
    from orlop_hookspecs.hooks.capability import orlop_plan

    module = plugin_with(orlop_hookspecs=orlop_hookspecs, orlop_plan=orlop_plan)
    assert compose(StubPlatform(), [module]).names == ["bad"]


@pytest.mark.parametrize("option", ["tryfirst", "trylast", "wrapper", "hookwrapper"])
def test_pluggy_options_that_would_change_the_order_are_refused(option: str) -> None:
    def orlop_plan(config: Config) -> Sequence[Step]:
        return []

    marked = hookimpl(**{option: True})(orlop_plan)  # type: ignore[call-overload]
    (fault,) = faults_of(plugin_with(orlop_plan=marked))
    assert "refused" in fault


def test_an_optional_hook_of_a_newer_contract_is_tolerated() -> None:
    @hookimpl(optionalhook=True)
    def orlop_from_the_future(config: Config) -> None:
        return None

    module = plugin_with(orlop_from_the_future=orlop_from_the_future)
    assert compose(StubPlatform(), [module]).hooks.implementers("orlop_from_the_future") == ()


def test_two_functions_for_one_hook_are_refused() -> None:
    @hookimpl
    def orlop_plan(config: Config) -> Sequence[Step]:
        return []

    @hookimpl(specname="orlop_plan")
    def another(config: Config) -> Sequence[Step]:
        return []

    assert faults_of(plugin_with(orlop_plan=orlop_plan, another=another)) == [
        "bad: another: a second implementation of orlop_plan"
    ]


def test_a_hook_that_is_no_function_is_refused() -> None:
    class Called:
        orlop_impl: dict[str, Any] = {"specname": None}  # noqa: RUF012

        def __call__(self) -> None:
            return None

    assert faults_of(plugin_with(orlop_plan=Called())) == [
        "bad: orlop_plan: expected a function or method, found Called"
    ]


def test_a_plugin_without_identity_is_refused() -> None:
    class Nameless:
        @hookimpl
        def orlop_handles(self) -> Sequence[Handle]:
            return []

    (fault,) = faults_of(Nameless())
    assert fault.endswith("Nameless: it does not implement orlop_plugin")


def test_an_object_that_is_no_plugin_at_all_is_refused() -> None:
    assert faults_of(types.SimpleNamespace()) == [
        "object of types.SimpleNamespace: it does not implement orlop_plugin"
    ]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "expected a PluginInfo, got NoneType"),
        ({"name": "x"}, "expected a PluginInfo, got dict"),
        (info("Bad Name"), "name 'Bad Name' is not made of lower-case letters, digits and hyphens"),
        (info(""), "name '' is not made of lower-case letters, digits and hyphens"),
        (info("-x"), "name '-x' is not made of lower-case letters, digits and hyphens"),
        (info("x", requires="rootfs"), "requires is not a tuple of names"),
        (info("x", after=(1,)), "after is not a tuple of names"),
        (
            PluginInfo(name="x", version="1", contract="2.0", summary=""),
            "written for contract 2.0, which does not fit",
        ),
        (
            PluginInfo(name="x", version="1", contract="1.9", summary=""),
            "written for contract 1.9, which is newer",
        ),
        (
            PluginInfo(name="x", version="1", contract="one", summary=""),
            "contract version 'one' is malformed",
        ),
    ],
)
def test_identities_that_are_refused(answer: Any, message: str) -> None:
    class Odd:
        @hookimpl
        def orlop_plugin(self) -> PluginInfo:
            return answer  # type: ignore[no-any-return]

    (fault,) = faults_of(Odd())
    assert message in fault


def test_an_identity_that_raises_is_refused() -> None:
    class Odd:
        @hookimpl
        def orlop_plugin(self) -> PluginInfo:
            raise ZeroDivisionError("oops")

    (fault,) = faults_of(Odd())
    assert fault.endswith("orlop_plugin: raised ZeroDivisionError: oops")


def test_contract_versions() -> None:
    assert contract_problem("1.0", "1.2") == ""
    assert contract_problem("1.2", "1.2") == ""
    assert "newer" in contract_problem("1.3", "1.2")
    assert "does not fit" in contract_problem("0.9", "1.2")
    for malformed in ("1", "1.", ".1", "1.x", "1.0.0", "", 1.0, None, "².0"):
        assert "malformed" in contract_problem(malformed, "1.2")


def test_every_fault_of_every_plugin_is_in_one_report() -> None:
    bad = plugin_with(orlop_plan=_fine, orlop_nonsense=_fine)
    found = faults_of(bad, Basics(), Basics(), "no-such-plugin", types.SimpleNamespace(), "no.such.module")
    assert len(found) == 6
    assert any("two plugins have this name" in fault for fault in found)
    assert any("no plugin of this name is installed" in fault for fault in found)
    assert any("cannot be imported: ModuleNotFoundError" in fault for fault in found)


def test_the_report_is_one_printable_line_that_names_every_plugin() -> None:
    with pytest.raises(CompositionError) as caught:
        compose(StubPlatform(), [plugin_with(orlop_a=_fine), Basics(), Basics()])
    text = str(caught.value)
    assert text.isprintable()
    assert "bad" in text
    assert "basics" in text
    assert text.startswith("2 faults in plugins")


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
    assert found == ["a: it requires plugin b, which is not in the composition (blocked)"]


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


@pytest.mark.parametrize("hook", ["orlop_adjust", "orlop_validate", "orlop_plan"])
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
    for hook in ("orlop_handles", "orlop_features", "orlop_adjust", "orlop_validate", "orlop_plan"):
        composition = compose(StubPlatform(), [Misbehaving(hook, lambda: None)])
        context = PlanContext("box", "/b", "/r")
        answer = composition.hooks.plan(None, context)  # type: ignore[arg-type]
        assert answer == []
        assert composition.hooks.validate(None, context) == []  # type: ignore[arg-type]
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
    assert SPECS["orlop_checkpoint"].parameters == ("record", "kernel", "image", "leave_running")
    assert SPECS["orlop_signal"].firstresult
    assert not SPECS["orlop_plan"].firstresult
    assert "orlop_update" in LIVE
    assert "orlop_created" in LIVE
    assert "orlop_plan" not in LIVE


def test_faults_print_themselves() -> None:
    assert str(PluginFault("a", "is odd")) == "a: is odd"
