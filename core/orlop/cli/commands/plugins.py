"""``orlop plugins``: which plugins there are, and in which order they are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.cli.composition import runtime
from orlop.cli.output import table, to_json, write
from orlop.plugins.sources import on_request

if TYPE_CHECKING:
    from typing import Any

    from orlop.cli.context import Context
    from orlop.plugins.composition import Composition

_INDENT = "    "


def run(context: Context) -> int:
    """Print the plugins, or with ``--order`` who is asked when by each hook."""
    composition = runtime(context).composition
    as_json = context.line.text("format") == "json"
    if context.line.on("order"):
        order = _order(composition)
        write(to_json(order, _INDENT) + "\n" if as_json else _order_text(order))
    else:
        plugins = _plugins(composition)
        write(to_json(plugins, _INDENT) + "\n" if as_json else _table(plugins))
    return 0


def _table(plugins: list[dict[str, Any]]) -> str:
    rows = [(one["name"], one["state"], one["version"], one["summary"]) for one in plugins]
    return table(("NAME", "STATE", "VERSION", "SUMMARY"), rows)


def _plugins(composition: Composition) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {
            "name": plugin.info.name,
            "state": "active",
            "version": plugin.info.version,
            "contract": plugin.info.contract,
            "summary": plugin.info.summary,
            "hooks": sorted(plugin.implementations),
        }
        for plugin in composition.plugins
    ]
    found += [
        {"name": one.name, "state": "inactive", "version": "", "summary": one.reason, "source": one.source}
        for one in composition.inactive
    ]
    active = {one["name"] for one in found}
    found += [
        {
            "name": name,
            "state": "inactive",
            "version": "",
            "summary": f"only on request: --plugins +{name}",
            "source": f"entry point {point.value}",
        }
        for name, point in on_request().items()
        if name not in active
    ]
    return sorted(found, key=lambda one: str(one["name"]))


def _order(composition: Composition) -> dict[str, Any]:
    hooks = sorted({hook for plugin in composition.plugins for hook in plugin.implementations})
    return {
        "plugins": [{"name": name, "why": composition.why_here(name)} for name in composition.names],
        "hooks": {hook: list(composition.hooks.implementers(hook)) for hook in hooks},
    }


def _order_text(data: dict[str, Any]) -> str:
    lines = ["order of plugins:"]
    lines += [f"   {one['name']}: {'; '.join(one['why'])}" for one in data["plugins"]]
    for hook, names in data["hooks"].items():
        lines += ["", f"{hook}:"]
        lines += [f"   {name}" for name in names]
    return "".join(f"{line}\n" for line in lines)
