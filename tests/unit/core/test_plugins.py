"""Plugins that do not keep the contract are refused, all at once and with every fault."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from tests.unit.core.stub import Basics, StubPlatform, info

from orlop.plugins.compose import compose
from orlop.plugins.faults import RefusedPluginsError
from orlop.plugins.verify import contract_problem
from orlop_hookspecs.documents import Config
from orlop_hookspecs.errors import CompositionError
from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Handle
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


def _unannotated(config: Config):  # type: ignore[no-untyped-def]  # noqa: ANN202 - what is tested
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
        orlop_impl: dict[str, Any] = {"specname": None}  # noqa: RUF012 - as pluggy puts it there

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
