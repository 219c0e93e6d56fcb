"""The hooks of the contract as data: what each is called, which parameters it has, what it is for."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

from orlop_hookspecs.frozen import Frozen, frozen
from orlop_hookspecs.hooks import capability, commands, identity, lifecycle, live, platform

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MODULES: tuple[types.ModuleType, ...] = (identity, platform, capability, live, lifecycle, commands)
"""The contract's modules with hooks, in the order in which a container lives."""

_SPEC = "orlop_spec"


@frozen
class HookSpec(Frozen):
    """One hook of the contract."""

    name: str
    parameters: tuple[str, ...]
    firstresult: bool
    function: Callable[..., Any]
    """The signature itself, with its annotations and docstring."""
    module: types.ModuleType
    """The module of the contract that declares it."""


def _collect() -> dict[str, HookSpec]:
    found: dict[str, HookSpec] = {}
    for module in MODULES:
        for name, value in vars(module).items():
            options = getattr(value, _SPEC, None)
            if type(value) is types.FunctionType and options is not None:
                code = value.__code__
                found[name] = HookSpec(
                    name,
                    code.co_varnames[: code.co_argcount],
                    bool(options["firstresult"]),
                    value,
                    module,
                )
    return found


SPECS: Mapping[str, HookSpec] = _collect()
"""Every hook by its name, in the order in which a container lives."""

LIVE = tuple(name for name, spec in SPECS.items() if spec.module is live or spec.module is lifecycle)
"""Hooks that are called for a container that exists; a record tells which of them somebody implements."""
