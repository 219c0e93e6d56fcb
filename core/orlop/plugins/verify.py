"""Verify that a plugin keeps the contract, before anything of it is used.

Code objects are read instead of :func:`inspect.signature`, which would take most of the time of a cold
``create``.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

from orlop.plugins.faults import PluginFault
from orlop.plugins.specs import SPECS, HookSpec
from orlop_hookspecs import CONTRACT_VERSION
from orlop_hookspecs.frozen import Frozen, frozen
from orlop_hookspecs.hooks import identity
from orlop_hookspecs.hooks.identity import PluginInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PREFIX = "orlop_"
"""Every hook's name starts so; a plugin's function with such a name is meant as a hook."""

_IMPL = "orlop_impl"
_SPEC = "orlop_spec"
_IDENTITY = identity.orlop_plugin.__name__
_Found = tuple[str, str, str]
"""One fault: the rule that it breaks, the function that it is in, and what is wrong."""

_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")

# Bits of co_flags (the documentation of module inspect, "Code Objects Bit Flags").
_VARARGS, _VARKEYWORDS, _GENERATOR, _COROUTINE, _ASYNC_GENERATOR = 0x04, 0x08, 0x20, 0x80, 0x200


@frozen
class Implementation(Frozen):
    """A plugin's function for one hook."""

    spec: HookSpec
    function: Callable[..., Any]
    parameters: tuple[str, ...]
    """The parameters that it takes, in its own order."""


@frozen
class Verified(Frozen):
    """A plugin that keeps the contract, with its identity and its hooks."""

    info: PluginInfo
    plugin: object
    source: str
    """Where it comes from: an entry point, a module, or the type of an object."""
    implementations: dict[str, Implementation]


_kept: dict[int, tuple[types.ModuleType, list[object], tuple[int, ...], Verified]] = {}
"""Modules that keep the contract, each with its content then: programs compose again and again."""


def verify(
    plugin: object, source: str, faults: list[PluginFault], deadline: float | None = None
) -> Verified | None:
    """Return *plugin* with its identity and hooks, or ``None`` and *faults* with all that is wrong.

    It is asked who it is, which may take *deadline* seconds. A module is looked at once, until something in
    it is replaced.
    """
    if not isinstance(plugin, types.ModuleType):
        return _verify(plugin, source, faults, deadline)
    content = tuple(map(id, vars(plugin).values()))
    kept = _kept.get(id(plugin))
    if kept is not None and kept[0] is plugin and kept[2] == content and kept[3].source == source:
        return kept[3]
    verified = _verify(plugin, source, faults, deadline)
    if verified is not None:
        # The references keep the numbers from being used again.
        _kept[id(plugin)] = (
            plugin,
            list(vars(plugin).values()),
            tuple(map(id, vars(plugin).values())),
            verified,
        )
    return verified


def _verify(
    plugin: object, source: str, faults: list[PluginFault], deadline: float | None
) -> Verified | None:
    found: list[_Found] = []
    implementations: dict[str, Implementation] = {}
    for name, function, options in _functions(plugin, found):
        hook = (options or {}).get("specname") or name
        spec = SPECS.get(hook)
        if spec is None:
            if not (options or {}).get("optionalhook"):
                found.append(("unknown-hook", name, "no such hook" + _suggestion(hook)))
            continue
        if options is None:
            found.append(("unmarked-hook", name, "the function is not marked with @hookimpl"))
            continue
        if hook in implementations:
            found.append(("second-implementation", name, f"a second implementation of {hook}"))
            continue
        before = len(found)
        found.extend(("pluggy-option", name, problem) for problem in _option_problems(options))
        parameters = _parameters(function, spec, name, found)
        if len(found) == before:
            implementations[hook] = Implementation(spec, function, parameters)
    info = _identity(implementations, found, deadline)
    name = info.name if info is not None else source
    faults.extend(
        PluginFault(name, f"{place}: {message}" if place else message, rule) for rule, place, message in found
    )
    if found or info is None:
        return None
    return Verified(info, plugin, source, implementations)


def _functions(plugin: object, found: list[_Found]) -> Iterator[tuple[str, Any, dict[str, Any] | None]]:
    """Yield name, function and marker options of everything in *plugin* that is, or looks like, a hook."""
    for name, value in _attributes(plugin, found):
        try:
            options = getattr(value, _IMPL, None)
        except Exception:  # noqa: BLE001, S112 - an object with a hostile __getattr__ is no hook
            continue
        if not isinstance(options, dict):
            if not name.startswith(PREFIX) or isinstance(value, types.ModuleType) or not callable(value):
                continue
            if getattr(value, _SPEC, None) is not None:
                continue  # the contract's own signature, imported to be read
            options = None
        yield name, value, options


def _attributes(plugin: object, found: list[_Found]) -> list[tuple[str, Any]]:
    """Return what may be a hook: of an object, its methods and whatever has a hook's name."""
    if isinstance(plugin, types.ModuleType):
        return list(vars(plugin).items())
    pairs = []
    for name in dir(plugin):
        if name.startswith("__"):
            continue
        if not name.startswith(PREFIX) and not callable(getattr(type(plugin), name, None)):
            continue
        try:
            pairs.append((name, getattr(plugin, name)))
        except Exception as error:  # noqa: BLE001 - whatever a plugin's property raises is its fault
            found.append(("unreadable", name, f"cannot be read: {type(error).__name__}: {error}"))
    return pairs


def _suggestion(name: str) -> str:
    import difflib

    words = [spec.removeprefix(PREFIX) for spec in SPECS]
    close = difflib.get_close_matches(name.removeprefix(PREFIX), words, 1)
    return f"; did you mean {PREFIX}{close[0]}?" if close else ""


def _option_problems(options: dict[str, Any]) -> Iterator[str]:
    if options.get("wrapper") or options.get("hookwrapper"):
        yield "wrappers are refused: nobody changes what another plugin returns"
    if options.get("tryfirst") or options.get("trylast"):
        yield "tryfirst and trylast are refused: declare before and after in the plugin's info"


def _parameters(function: object, spec: HookSpec, name: str, found: list[_Found]) -> tuple[str, ...]:
    """Return the parameters of *function*, and report all that keep it from being called as *spec* says."""
    plain = getattr(function, "__func__", function)
    if type(plain) is not types.FunctionType:
        found.append(("not-a-function", name, f"expected a function or method, found {type(plain).__name__}"))
        return ()
    code = plain.__code__
    names = code.co_varnames[: code.co_argcount]
    if plain is not function:
        names = names[1:]
    flags = code.co_flags
    if flags & (_COROUTINE | _ASYNC_GENERATOR):
        found.append(("async", name, "async functions are refused: hooks are plain functions"))
    elif flags & _GENERATOR:
        found.append(("generator", name, "generators are refused: return a sequence"))
    if flags & (_VARARGS | _VARKEYWORDS):
        found.append(("star-parameter", name, "*args and **kwargs are refused: name the parameters"))
    if code.co_kwonlyargcount:
        found.append(("keyword-only-parameter", name, "keyword-only parameters are refused"))
    if plain.__defaults__:
        found.append(("default-parameter", name, "parameters with defaults are refused"))
    unknown = [parameter for parameter in names if parameter not in spec.parameters]
    if unknown:
        allowed = ", ".join(spec.parameters) or "none"
        message = f"unknown parameter {', '.join(unknown)} (the hook has: {allowed})"
        found.append(("unknown-parameter", name, message))
    if "return" not in plain.__annotations__:
        found.append(("no-return-annotation", name, "the return annotation is missing"))
    return names


def _identity(
    implementations: dict[str, Implementation], found: list[_Found], deadline: float | None
) -> PluginInfo | None:
    own = implementations.get(_IDENTITY)
    if own is None:
        if not any(place == _IDENTITY for _, place, _ in found):
            found.append(("no-identity", "", f"it does not implement {_IDENTITY}"))
        return None
    ask = own.function
    if deadline is not None:
        from orlop.plugins.deadline import bounded

        ask = bounded(ask, deadline)
    try:
        info = ask()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a plugin raises is its fault
        found.append(("identity-raises", _IDENTITY, f"raised {type(error).__name__}: {error}"))
        return None
    if not isinstance(info, PluginInfo):
        found.append(("identity-type", _IDENTITY, f"expected a PluginInfo, got {type(info).__name__}"))
        return None
    return info if _usable(info, found) else None


def _usable(info: PluginInfo, found: list[_Found]) -> bool:
    """Report what is wrong with *info*; tell whether its name and its place among others can be used."""
    name: object = info.name
    usable = isinstance(name, str) and name != "" and _NAME.issuperset(name) and name[0] != "-"
    if not usable:
        message = f"name {name!r} is not made of lower-case letters, digits and hyphens"
        found.append(("name", _IDENTITY, message))
    for field in ("requires", "conflicts", "after", "before", "platforms"):
        value = getattr(info, field)
        if not isinstance(value, tuple) or not all(isinstance(item, str) for item in value):
            found.append(("names", _IDENTITY, f"{field} is not a tuple of names"))
            usable = False
    problem = contract_problem(info.contract)
    if problem:
        found.append(("contract-version", _IDENTITY, problem))
    return usable


def contract_problem(version: object, ours: str = CONTRACT_VERSION) -> str:
    """Return why a plugin written for contract *version* cannot be used with *ours*; empty when it can."""
    theirs = _numbers(version)
    if theirs is None:
        return f"contract version {version!r} is malformed; expected one such as {ours}"
    mine = _numbers(ours)
    assert mine is not None  # noqa: S101 - our own constant
    if theirs[0] != mine[0]:
        return f"written for contract {version}, which does not fit contract {ours}"
    if theirs[1] > mine[1]:
        return f"written for contract {version}, which is newer than contract {ours} of this orlop"
    return ""


def _numbers(version: object) -> tuple[int, int] | None:
    if not isinstance(version, str):
        return None
    major, dot, minor = version.partition(".")
    if not (dot and major.isascii() and major.isdigit() and minor.isascii() and minor.isdigit()):
        return None
    return int(major), int(minor)
