"""The surface of the contract as data, the page that shows it, and what a newer one keeps of an older one.

python -m orlop.plugins.stability           # the reference page
python -m orlop.plugins.stability --data    # the surface as JSON, to keep it for a released version
"""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any

from orlop.plugins.reference import answers, signature
from orlop.plugins.specs import SPECS
from orlop_hookspecs import CONTRACT_VERSION, stability
from orlop_hookspecs.availability import Answer, Capability, Examinable
from orlop_hookspecs.calls import CallTable, Resolver
from orlop_hookspecs.hooks.capability import Adjustment, Handle, Problem, Remark
from orlop_hookspecs.hooks.commands import Command
from orlop_hookspecs.hooks.identity import PluginInfo
from orlop_hookspecs.host import HostDevice, HostView
from orlop_hookspecs.kernel import Entry, Journal, Kernel, LiveKernel, Platform, Sandbox, Slot, Store
from orlop_hookspecs.launch import ExecOptions, LaunchOptions, PlanContext
from orlop_hookspecs.steps import STEP_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator

    Surface = dict[str, dict[str, Any]]

_CLASSES: tuple[type, ...] = (
    PluginInfo, Handle, Adjustment, Problem, Remark, Command, PlanContext, LaunchOptions, ExecOptions,
    HostDevice, Capability, Answer, CallTable,
)  # fmt: skip
_PROTOCOLS: tuple[type, ...] = (
    Platform, Kernel, LiveKernel, Sandbox, Entry, Journal, Store, Slot, HostView, Examinable, Resolver,
)  # fmt: skip


def surface() -> Surface:
    """Return every part of the contract by its name: its kind, and its parameters or fields.

    A parameter or field that may be left out ends in ``=``.
    """
    made: Surface = {}
    for name, spec in SPECS.items():
        made[name] = {"kind": "hook", "parameters": list(spec.parameters), "first": spec.firstresult}
    for cls in _CLASSES:
        made[cls.__name__] = {"kind": "class", "parameters": _fields(cls)}
    for protocol in _PROTOCOLS:
        made[protocol.__name__] = {"kind": "protocol", "parameters": []}
        for name, method in sorted(vars(protocol).items()):
            if not name.startswith("_") and inspect.isfunction(method):
                found = list(inspect.signature(method).parameters.values())[1:]
                listed = [f"{one.name}{'' if one.default is one.empty else '='}" for one in found]
                made[f"{protocol.__name__}.{name}"] = {"kind": "method", "parameters": listed}
    made["Platform.executes"] = {"kind": "attribute", "parameters": []}
    for name, step in sorted(STEP_TYPES.items()):
        place = {"phase": step.PHASE, "slot": step.SLOT}
        made[name] = {"kind": "step", "parameters": _fields(step), **place}
    for group in stability.ENTRY_POINTS:
        made[group] = {"kind": "entry points", "parameters": []}
    return made


def _fields(cls: Any) -> list[str]:  # noqa: ANN401 - a frozen class
    required = cls._required
    return [name if name in required else f"{name}=" for name in cls._names]


def level(name: str) -> tuple[str, str]:
    """Return how stable the part *name* is, and the note on it."""
    if name in stability.DEPRECATED_PARTS:
        return stability.DEPRECATED, stability.DEPRECATED_PARTS[name]
    if name in stability.EXPERIMENTAL_PARTS:
        return stability.EXPERIMENTAL, stability.EXPERIMENTAL_PARTS[name]
    return stability.STABLE, ""


def since(name: str) -> str:
    """Return the version of the contract that has the part *name* first."""
    if name in SPECS:
        return answers(SPECS[name])[2]["Since"].rstrip(".")
    return stability.SINCE.get(name, stability.SINCE.get(name.partition(".")[0], "1.0"))


def broken(old: Surface, new: Surface) -> Iterator[str]:
    """Yield what *new* does not keep of *old*, one of the same major version."""
    for name, before in old.items():
        if name in stability.EXPERIMENTAL_PARTS:
            continue
        after = new.get(name)
        if after is None:
            yield f"{name} is gone"
            continue
        for key in before.keys() - {"parameters"}:
            if before[key] != after.get(key):
                yield f"{name}: {key} was {before[key]!r} and is {after.get(key)!r}"
        yield from (f"{name}: {change}" for change in _changes(before, after))


def _changes(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    old, new = before["parameters"], after["parameters"]
    if before["kind"] == "hook":
        # Plugins leave out what they do not know: a hook may grow, but what it has keeps its name.
        yield from (f"parameter {one} is gone" for one in old if one not in new)
        return
    for one in old:
        if one not in new and f"{one}=" not in new:
            yield f"{one.rstrip('=')} is gone, or must be given now"
    yield from (f"{one} was added and must be given" for one in new if one[-1] != "=" and one not in old)


_HEAD = """\
<!-- Made by `python -m orlop.plugins.stability`; a test compares it with the contract. -->

# The contract, version {version}

{text}

A test keeps the promise: what each released minor version had is compared with what there is.
"""

_TITLES = {
    "hook": "Hooks",
    "class": "Classes",
    "protocol": "What a platform supplies",
    "step": "Steps",
    "entry points": "Entry points",
}
_UNDER = {"method": "protocol", "attribute": "protocol"}


def page() -> str:
    """Return the reference page."""
    text = (inspect.getdoc(stability) or "").partition("\n\n")[2]
    lines = [_HEAD.format(version=CONTRACT_VERSION, text=text)]
    parts = surface()
    for kind, title in _TITLES.items():
        lines += [f"## {title}", "", "| Part | Stability | Since | |", "|---|---|---|---|"]
        for name, part in parts.items():
            if kind not in {part["kind"], _UNDER.get(part["kind"])}:
                continue
            how, note = level(name)
            shown = signature(SPECS[name]).replace("|", "\\|") if kind == "hook" else _shown(name, part)
            lines.append(
                f"| `{shown}` | {how} | {since(name)} | {note or stability.ENTRY_POINTS.get(name, '')} |"
            )
        lines.append("")
    return "\n".join(lines)


def _shown(name: str, part: dict[str, Any]) -> str:
    if part["kind"] in {"protocol", "attribute", "entry points"}:
        return name
    return f"{name}({', '.join(part['parameters'])})"


def main() -> int:
    """Write the page, or the surface, to standard output."""
    if "--data" in sys.argv[1:]:
        import json

        sys.stdout.write(json.dumps(surface(), indent=1) + "\n")
    else:
        sys.stdout.write(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
