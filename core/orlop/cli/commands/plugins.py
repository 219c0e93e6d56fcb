"""``orlop plugins``: which plugins there are, and in which order they are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.cli.composition import runtime
from orlop.cli.output import table, to_json, write

if TYPE_CHECKING:
    from typing import Any

    from orlop.cli.context import Context
    from orlop.plugins.compose import Composition

_INDENT = "    "


def run(context: Context) -> int:
    """Print the plugins, or with ``--order`` who is asked when by each hook."""
    composition = runtime(context).composition
    data = _order(composition) if context.line.on("order") else _plugins(composition)
    if context.line.text("format") == "json":
        write(to_json(data, _INDENT) + "\n")
    elif context.line.on("order"):
        write(_order_text(data))
    else:
        rows = [(one["name"], one["state"], one["version"], one["summary"]) for one in data]
        write(table(("NAME", "STATE", "VERSION", "SUMMARY"), rows))
    return 0


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
