"""``linux.resources.network`` (config-linux.md, Network): net_cls and net_prio, which v2 does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.hooks.capability import Problem
from orlop_hookspecs.steps.cgroups import WriteCgroup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orlop_hookspecs.documents import Network

POINTER = "/linux/resources/network"
INTERFACE_MAX = 15


def problems(network: Network) -> Iterator[Problem]:
    """Yield names that no interface can have, and interfaces with two priorities."""
    seen: dict[str, int] = {}
    for index, priority in enumerate(network.priorities or ()):
        here = f"{POINTER}/priorities/{index}/name"
        name = priority.name
        if (
            not name
            or name in {".", ".."}
            or len(name.encode(errors="surrogateescape")) > INTERFACE_MAX
            or any(c in "/:" or c.isspace() or not c.isprintable() for c in name)
        ):
            yield Problem(here, "this is not the name of a network interface", name)
        if name in seen:
            yield Problem(here, f"the interface stands already in priorities/{seen[name]}", name)
        seen.setdefault(name, index)


def steps(network: Network) -> Iterator[WriteCgroup]:
    """Yield the class and the priorities; class 0 is what everything has without one."""
    if network.class_id is not None:
        yield WriteCgroup(
            because=f"{POINTER}/classID",
            controller="net_cls",
            v1=(("net_cls.classid", str(network.class_id)),),
            v2=None if network.class_id else (),
        )
    if network.priorities:
        yield WriteCgroup(
            because=f"{POINTER}/priorities",
            controller="net_prio",
            v1=tuple(("net_prio.ifpriomap", f"{one.name} {one.priority}") for one in network.priorities),
            v2=None,
            append=True,
        )
