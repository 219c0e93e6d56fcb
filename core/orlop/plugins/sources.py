"""Where plugins come from: entry points of installed distributions, module names, modules and objects."""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING

from orlop import entrypoints
from orlop.entrypoints import EntryPoint, entry_points
from orlop.plugins.faults import PluginFault

if TYPE_CHECKING:
    from collections.abc import Iterable

GROUP = "orlop"
"""Entry-point group of plugins."""

ON_REQUEST = "orlop.on-request"
"""Entry-point group of plugins that are in a composition only when they are named."""

MORE = "+"
"""Before a name: this one in addition to everything that is installed."""


class Candidate:
    """A plugin that may become part of a composition."""

    __slots__ = ("_object", "_point", "chosen", "name", "source")

    def __init__(
        self, name: str, source: str, *, point: EntryPoint | None = None, plugin: object = None, chosen: bool
    ) -> None:
        """Keep the parts; *chosen* tells that the caller asked for this very plugin."""
        self.name = name
        self.source = source
        self.chosen = chosen
        self._point = point
        self._object = plugin

    def load(self) -> object:
        """Return the plugin; imports it when it is an entry point."""
        if self._point is not None and self._object is None:
            self._object = self._point.load()
        return self._object


def installed() -> dict[str, EntryPoint]:
    """Return the entry points of plugins by name; the first distribution on :data:`sys.path` has precedence.

    Nothing is imported.
    """
    found: dict[str, EntryPoint] = {}
    for point in entry_points(GROUP):
        found.setdefault(point.name, point)
    return found


def on_request() -> dict[str, EntryPoint]:
    """Return the entry points of plugins that are used only when they are named, by name."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(ON_REQUEST):
        found.setdefault(point.name, point)
    return found


def duplicates() -> list[PluginFault]:
    """Return a fault for each entry-point name that two distributions use."""
    owners: dict[str, EntryPoint] = {}
    faults = []
    for point in entry_points(GROUP):
        other = owners.setdefault(point.name, point)
        if other is not point:
            message = f"two distributions supply it: {other.distribution} and {point.distribution}"
            faults.append(PluginFault(point.name, message, "duplicate-name"))
    return faults


def candidates(
    wanted: Iterable[object] | None, platform: str, faults: list[PluginFault]
) -> tuple[list[Candidate], dict[str, EntryPoint]]:
    """Return the candidates that *wanted* names, and the installed plugins that nobody chose.

    Args:
        wanted: Names of installed plugins, dotted names (``module`` or ``module:attribute``), modules and
            objects; ``None`` for everything that is installed, and so are names that all begin with a plus:
            they come in addition.
        platform: Name of a platform; the plugin of that name comes along when it is installed.
        faults: Receives what cannot be found.
    """
    available = installed()
    items = None if wanted is None else list(wanted)
    if items is None or (items and all(isinstance(item, str) and item.startswith(MORE) for item in items)):
        faults.extend(duplicates())
        everything = [
            Candidate(name, f"entry point {point.value}", point=point, chosen=False)
            for name, point in available.items()
        ]
        return [*everything, *_in_addition(items or (), available, faults)], {}
    found: list[Candidate] = []
    rest = dict(available)
    for item in items:
        if not isinstance(item, str):
            found.append(_from_object(item))
            continue
        item = item.removeprefix(MORE)  # noqa: PLW2901 - beside others it says nothing
        point = available.get(item) or on_request().get(item)
        if point is not None:
            if rest.pop(item, None) is not None or item not in available:
                found.append(Candidate(item, f"entry point {point.value}", point=point, chosen=True))
        elif "." in item or ":" in item:
            found.append(Candidate(item, item, point=EntryPoint(item, item, ""), chosen=True))
        else:
            faults.append(not_installed(item, available))
    point = rest.pop(platform, None)
    if point is not None:
        found.append(Candidate(platform, f"entry point {point.value}", point=point, chosen=False))
    return found, rest


def _in_addition(
    names: Iterable[object], available: dict[str, EntryPoint], faults: list[PluginFault]
) -> list[Candidate]:
    """Return the candidates of *names*, each with a plus, that are not among those that are used anyway."""
    wanted = dict.fromkeys(str(name).removeprefix(MORE) for name in names)
    optional = on_request() if wanted else {}
    found = []
    for name in wanted:
        point = optional.get(name)
        if point is not None:
            found.append(Candidate(name, f"entry point {point.value}", point=point, chosen=True))
        elif name not in available:
            faults.append(not_installed(name, [*available, *optional]))
    return found


def _from_object(plugin: object) -> Candidate:
    if isinstance(plugin, types.ModuleType):
        return Candidate(plugin.__name__, f"module {plugin.__name__}", plugin=plugin, chosen=True)
    kind = plugin if isinstance(plugin, type) else type(plugin)
    name = f"{kind.__module__}.{kind.__qualname__}"
    what = "class" if isinstance(plugin, type) else "object of"
    return Candidate(name, f"{what} {name}", plugin=plugin, chosen=True)


def not_installed(name: str, available: Iterable[str]) -> PluginFault:
    """Return the fault of a *name* that no plugin has; it may be a misspelt one of *available*."""
    if entrypoints.frozen is not None:
        from orlop.plugins.frozen import left_out

        missing = left_out(name)
        if missing:
            return PluginFault(name, missing, "not-installed")
    import difflib

    close = difflib.get_close_matches(name, list(available), 1)
    suggestion = f"; did you mean {close[0]}?" if close else ""
    return PluginFault(name, f"no plugin of this name is installed{suggestion}", "not-installed")


def load(candidate: Candidate, faults: list[PluginFault]) -> object | None:
    """Return the candidate's plugin, or ``None`` and a fault when it cannot be imported."""
    try:
        plugin = candidate.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - importing a module runs anything
        message = f"cannot be imported: {type(error).__name__}: {error}"
        faults.append(PluginFault(candidate.name, message, "not-importable"))
        return None
    if plugin is None:
        faults.append(PluginFault(candidate.name, f"{candidate.source} is None", "not-importable"))
    return plugin


def module_of(plugin: object) -> str:
    """Return the name of the module that *plugin* is, or is made from."""
    if isinstance(plugin, types.ModuleType):
        return plugin.__name__
    return getattr(sys.modules.get(type(plugin).__module__), "__name__", "")
