"""Generate the code that stands for a composition: plugins resolved to plain calls, features as constants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.advertised.key import features_key
from orlop.cli.output import to_json
from orlop.documents.codec import encode
from orlop.plugins.settled import attribute_of
from orlop.plugins.sources import installed, on_request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.composing.manifest import Manifest
    from orlop.composing.parts import Parts
    from orlop.plugins.composition import Composition
    from orlop.plugins.verify import Implementation

PACKAGE = "orlop_composed"
"""The package of generated modules."""

INDENT = "    "
"""Of the features document that people read."""

_NOTE = '"""Made by ``orlop compose``; nobody edits this."""\n\nfrom __future__ import annotations\n\n'


def generate(manifest: Manifest, parts: Parts) -> dict[str, str]:
    """Return the generated modules: name to source."""
    return {
        PACKAGE: _NOTE,
        f"{PACKAGE}.calls": _calls(parts),
        f"{PACKAGE}.features": _features(parts.composition),
        f"{PACKAGE}.facts": _facts(manifest, parts),
    }


def _calls(parts: Parts) -> str:
    """Return the module that resolves each hook to plain calls, in the composition's order."""
    composition = parts.composition
    homes = {name: value for group, name, value, _ in parts.points if group == "orlop"}
    lines = [_NOTE]
    names: dict[str, str] = {}
    for number, verified in enumerate(composition.plugins):
        name = verified.info.name
        module, _, attribute = homes[name].partition(":")
        lines.append(f"import {module}\n")
        names[name] = f"plugin_{number}"
        lines.append(f"plugin_{number} = {module}{'.' + attribute if attribute else ''}\n")
    hooks: dict[str, list[str]] = {}
    for verified in composition.plugins:
        for hook, implementation in verified.implementations.items():
            call = _call(names[verified.info.name], verified.plugin, implementation)
            hooks.setdefault(hook, []).append(f"({verified.info.name!r}, {call})")
    lines.append(f"\nPLATFORM = {composition.platform_name!r}\n")
    lines.append(f"NAMES = {composition.names!r}\n")
    lines.append(f"LIVE = {composition.live!r}\n")
    lines.append("CALLS = {\n")
    lines += [f"    {hook!r}: [{', '.join(hooks[hook])}],\n" for hook in sorted(hooks)]
    lines.append("}\n")
    return "".join(lines)


def _call(place: str, plugin: object, implementation: Implementation) -> str:
    """Return an expression for a function that takes all of the hook's parameters, in their order."""
    target = f"{place}.{attribute_of(plugin, implementation)}"
    every = implementation.spec.parameters
    if implementation.parameters == every:
        return target
    return f"lambda {', '.join(every)}: {target}({', '.join(implementation.parameters)})"


def _features(composition: Composition) -> str:
    """Return the module with the features document: as data, as the text that is printed, and its key."""
    merged = composition.features
    document = encode(merged.document())
    told = {
        "DATA": merged.data,
        "PROVENANCE": merged.provenance,
        "TEXT": to_json(document, INDENT) + "\n",
        "KEY": features_key(document),
    }
    return _NOTE + "".join(f"{name} = {value!r}\n" for name, value in told.items())


def _facts(manifest: Manifest, parts: Parts) -> str:
    """Return the module with what the runtime tells about itself and about what it lacks."""
    facts: dict[str, Any] = {
        "NAME": manifest.name,
        "MANIFEST": manifest.path.rpartition("/")[2],
        "DISTRIBUTIONS": dict(sorted(parts.versions.items())),
        "PLUGINS": {one.info.name: one.info.version for one in parts.composition.plugins},
        "MISSING": _missing(manifest, parts),
    }
    return _NOTE + "".join(f"{name} = {value!r}\n" for name, value in facts.items())


def _missing(manifest: Manifest, parts: Parts) -> list[tuple[str, str, list[tuple[str, Any, bool]]]]:
    """Return each installed plugin that was left out: its name, its version, and what it would handle."""
    from orlop.plugins.facade import Hooks
    from orlop.plugins.verify import verify

    found: list[tuple[str, str, list[tuple[str, Any, bool]]]] = []
    inside = {one.info.name for one in parts.composition.plugins}
    for name, point in sorted({**on_request(), **installed()}.items()):
        if name in inside:
            continue
        try:
            verified = verify(point.load(), point.value, [])
            if verified is None:
                continue
            platforms = verified.info.platforms
            if platforms and manifest.platform not in platforms:
                continue
            handles = [one for _, declared in Hooks([verified]).handles() for one in declared]
        except Exception:  # noqa: BLE001, S112 - a plugin that cannot be loaded is none that could be added
            continue
        rows = [(one.path, None if one.values is None else sorted(one.values), one.exact) for one in handles]
        found.append((verified.info.name, verified.info.version, rows))
    return found


def as_report(manifest: Manifest, parts: Parts) -> Mapping[str, Any]:
    """Return what is inside, as JSON data."""
    return {
        "name": manifest.name,
        "platform": manifest.platform,
        "plugins": {one.info.name: one.info.version for one in parts.composition.plugins},
        "distributions": dict(sorted(parts.versions.items())),
        "modules": [module.name for module in parts.modules],
        "features": parts.composition.features.data,
    }
