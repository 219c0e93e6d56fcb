"""Plugins with exactly one thing wrong with each, for tests of the engine and of the conformance kit."""

from __future__ import annotations

import threading
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from orlop_hookspecs import CONTRACT_VERSION
from orlop_hookspecs.documents import Config
from orlop_hookspecs.errors import StepError
from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Adjustment, Handle
from orlop_hookspecs.hooks.identity import PluginInfo
from orlop_hookspecs.launch import PlanContext
from orlop_hookspecs.steps import SetHostname, Step

NAME = "bad"


def identity(**fields: Any) -> Callable[[], PluginInfo]:
    """Return a hook that says who the plugin is; *fields* replace those of a good one."""
    known: dict[str, Any] = {
        "name": NAME,
        "version": "1",
        "contract": CONTRACT_VERSION,
        "summary": "has something wrong with it",
    }

    def orlop_plugin() -> PluginInfo:
        return PluginInfo(**(known | fields))

    return orlop_plugin


def plugin(*functions: Callable[..., Any], info: Callable[..., Any] | None = None) -> types.ModuleType:
    """Return a plugin with *functions* as its hooks."""
    module = types.ModuleType("bad_plugin")
    for function in (info or identity(), *functions):
        setattr(module, function.__name__, hookimpl(function))
    return module


# -- refused when they are loaded: the plugins, and the rule that each breaks


def orlop_plam(config: Config) -> Sequence[Step]:
    return []


def _default(config: Config, context: PlanContext | None = None) -> Sequence[Step]:
    return []


def _keyword(*, config: Config) -> Sequence[Step]:
    return []


def _star(*config: Config) -> Sequence[Step]:
    return []


def _unknown(confg: Config) -> Sequence[Step]:
    return []


async def _coroutine(config: Config) -> Sequence[Step]:
    return []


def _generator(config: Config) -> Iterator[Step]:
    yield from ()


def _unannotated(config: Config):  # type: ignore[no-untyped-def]  # noqa: ANN202 - what is tested
    return []


def _plain(config: Config) -> Sequence[Step]:
    return []


def _exits() -> PluginInfo:
    raise SystemExit(3)


def _named(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a copy of *function* that is called *name*."""
    made = types.FunctionType(function.__code__, function.__globals__, name, function.__defaults__)
    made.__kwdefaults__ = function.__kwdefaults__
    made.__annotations__ = dict(function.__annotations__)
    return made


def _as_plan(function: Callable[..., Any]) -> types.ModuleType:
    return plugin(_named("orlop_plan", function))


def _unmarked() -> types.ModuleType:
    module = plugin()
    module.orlop_plan = _named("orlop_plan", _unknown)  # type: ignore[attr-defined]
    return module


def _wrapper() -> types.ModuleType:
    module = plugin()
    module.orlop_plan = hookimpl(tryfirst=True)(_named("orlop_plan", _plain))  # type: ignore[attr-defined]
    return module


def _second() -> types.ModuleType:
    module = _as_plan(_plain)
    del module.orlop_plan
    for name in ("orlop_plan", "another"):
        function = _named(name, _plain)
        setattr(module, name, hookimpl(specname="orlop_plan")(function))
    return module


def _no_function() -> types.ModuleType:
    class Called:
        orlop_impl: dict[str, Any] = {"specname": None}  # noqa: RUF012 - as pluggy puts it there

        def __call__(self) -> None:
            return None

    module = plugin()
    module.orlop_plan = Called()  # type: ignore[attr-defined]
    return module


def _nobody() -> types.ModuleType:
    module = plugin()
    del module.orlop_plugin
    return module


class Unreadable:
    """An object one of whose attributes raises."""

    orlop_plugin = staticmethod(hookimpl(identity()))

    @property
    def orlop_plan(self) -> Any:
        raise LookupError("nothing there")


AT_LOAD: dict[str, tuple[Callable[[], Sequence[object]], str, str]] = {
    "a misspelt hook": (lambda: [plugin(orlop_plam)], "unknown-hook", "did you mean orlop_plan"),
    "a parameter with a default": (lambda: [_as_plan(_default)], "default-parameter", "orlop_plan"),
    "a keyword-only parameter": (lambda: [_as_plan(_keyword)], "keyword-only-parameter", "orlop_plan"),
    "star parameters": (lambda: [_as_plan(_star)], "star-parameter", "orlop_plan"),
    "a misspelt parameter": (lambda: [_as_plan(_unknown)], "unknown-parameter", "confg"),
    "an async hook": (lambda: [_as_plan(_coroutine)], "async", "orlop_plan"),
    "a generator": (lambda: [_as_plan(_generator)], "generator", "orlop_plan"),
    "no return annotation": (lambda: [_as_plan(_unannotated)], "no-return-annotation", "orlop_plan"),
    "no marker": (lambda: [_unmarked()], "unmarked-hook", "orlop_plan"),
    "an order of pluggy's": (lambda: [_wrapper()], "pluggy-option", "tryfirst"),
    "two functions for one hook": (lambda: [_second()], "second-implementation", "orlop_plan"),
    "a hook that is no function": (lambda: [_no_function()], "not-a-function", "Called"),
    "an attribute that raises": (lambda: [Unreadable()], "unreadable", "LookupError: nothing there"),
    "no identity": (lambda: [_nobody()], "no-identity", "orlop_plugin"),
    "an identity that ends the program": (
        lambda: [plugin(info=_named("orlop_plugin", _exits))],
        "identity-raises",
        "SystemExit: 3",
    ),
    "an identity that is none": (
        lambda: [plugin(info=_named("orlop_plugin", _nothing))],
        "identity-type",
        "expected a PluginInfo, got NoneType",
    ),
    "a name that nobody can type": (lambda: [plugin(info=identity(name="Bad Name"))], "name", "Bad Name"),
    "a name instead of names": (lambda: [plugin(info=identity(requires="rootfs"))], "names", "requires"),
    "a contract of another age": (
        lambda: [plugin(info=identity(contract="2.0"))],
        "contract-version",
        "written for contract 2.0",
    ),
    "a contract that is still to come": (
        lambda: [plugin(info=identity(contract="1.99"))],
        "contract-version",
        "newer than contract",
    ),
    "a requirement that nobody meets": (
        lambda: [plugin(info=identity(requires=("no-such-plugin",)))],
        "requirement",
        "no-such-plugin",
    ),
    "a conflict": (
        lambda: [plugin(info=identity(conflicts=("other",))), plugin(info=identity(name="other"))],
        "conflict",
        "other",
    ),
    "one name for two": (lambda: [plugin(), plugin()], "duplicate-name", "two plugins have this name"),
    "a cycle in the order": (
        lambda: [
            plugin(info=identity(after=("other",))),
            plugin(info=identity(name="other", after=(NAME,))),
        ],
        "order-cycle",
        "bad after other after bad",
    ),
    "a module that is not there": (lambda: ["no.such.module"], "not-importable", "ModuleNotFoundError"),
    "a plugin that is not installed": (lambda: ["rootfz"], "not-installed", "did you mean rootfs"),
}


def _nothing() -> PluginInfo:
    return None  # type: ignore[return-value]


# -- contained when they are called: what each does in a hook


def _declared(function: str) -> list[str]:
    from orlop.plugins.specs import SPECS

    return list(SPECS[function].parameters)


def hook(name: str, act: Callable[..., Any]) -> Callable[..., Any]:
    """Return an implementation of the hook *name* that does *act* with its arguments."""
    parameters = ", ".join(_declared(name))
    names: dict[str, Any] = {"act": act}
    exec(f"def {name}({parameters}) -> 'object':\n    return act({parameters})", names)  # noqa: S102 - a function with these very parameters
    made: Callable[..., Any] = names[name]
    return made


def raises(*_: object) -> Any:
    raise ZeroDivisionError("oops")


def exits(*_: object) -> Any:
    raise SystemExit("enough")


def garbage(*_: object) -> Any:
    return {7: object()}


def more_garbage(*_: object) -> Any:
    return [object()]


STUCK = threading.Event()
"""What a hook waits for that never returns; a test sets it when it has seen enough."""


HELD: set[threading.Thread] = set()
"""The threads in which such a hook waits."""


def blocks(*_: object) -> Any:
    HELD.add(threading.current_thread())
    STUCK.wait()


class Foreign(SetHostname):
    """A class of the plugin's own under the contract's roof."""


def adjusts(pointer: str, value: Any) -> Callable[..., Any]:
    return hook("orlop_adjust", lambda *_: Adjustment(set={pointer: value}))


def handles(*declared: Handle) -> Callable[..., Any]:
    return hook("orlop_handles", lambda *_: declared)


def features(fragment: Mapping[str, Any]) -> Callable[..., Any]:
    return hook("orlop_features", lambda *_: fragment)


__all__ = ["AT_LOAD", "NAME", "STUCK", "Foreign", "StepError"]
