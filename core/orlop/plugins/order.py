"""The order of plugins: declared by ``before`` and ``after``, and by name where nothing is declared."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from orlop.plugins.faults import PluginFault

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orlop_hookspecs.hooks.identity import PluginInfo


def predecessors(infos: Mapping[str, PluginInfo]) -> dict[str, dict[str, str]]:
    """Return, for each plugin, who must come earlier and why; names of absent plugins are ignored."""
    earlier: dict[str, dict[str, str]] = {name: {} for name in infos}
    for name, info in infos.items():
        for other in info.after:
            if other in infos:
                earlier[name].setdefault(other, f"{name} asks to come after {other}")
        for other in info.before:
            if other in infos:
                earlier[other].setdefault(name, f"{name} asks to come before {other}")
    return earlier


def sort(infos: Mapping[str, PluginInfo], faults: list[PluginFault]) -> list[str]:
    """Return the names in their order; a cycle is added to *faults* and its plugins are left out."""
    earlier = predecessors(infos)
    waiting = {name: set(others) for name, others in earlier.items()}
    later: dict[str, list[str]] = {name: [] for name in infos}
    for name, others in waiting.items():
        for other in others:
            later[other].append(name)
    ready = [name for name, others in waiting.items() if not others]
    heapify(ready)
    ordered: list[str] = []
    while ready:
        name = heappop(ready)
        ordered.append(name)
        for follower in later[name]:
            waiting[follower].discard(name)
            if not waiting[follower]:
                heappush(ready, follower)
    if len(ordered) != len(infos):
        cycle = _cycle({name: others for name, others in waiting.items() if others}, ordered)
        message = f"the order contains a cycle: {' after '.join([*cycle, cycle[0]])}"
        faults.append(PluginFault(cycle[0], message, "order-cycle"))
    return ordered


def _cycle(waiting: Mapping[str, Iterable[str]], done: list[str]) -> list[str]:
    """Return one cycle among the plugins that wait for each other, starting at its first name."""
    finished = set(done)
    path: list[str] = []
    name = min(waiting)
    while name not in path:
        path.append(name)
        name = min(other for other in waiting[name] if other not in finished)
    cycle = path[path.index(name) :]
    first = cycle.index(min(cycle))
    return cycle[first:] + cycle[:first]
