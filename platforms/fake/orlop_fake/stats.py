"""What is accounted for a container, with the names of cgroup v2; the same figures as on Linux.

Programs here take no processor time and read no disk: those figures are 0 or not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop_fake.cgroup_files import UNLIMITED_V1

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from orlop_fake.cgroups import Cgroup
    from orlop_fake.resctrl import Resctrl
    from orlop_hookspecs.record import Record

_PRESSURE = {"avg10": 0.0, "avg60": 0.0, "avg300": 0.0, "total": 0}


def figures(groups: Iterable[Cgroup]) -> dict[str, Any]:
    """Return the figures of every controller that one of *groups* has."""
    found: dict[str, Any] = {}
    for group in groups:
        for controller in group.controllers:
            reader = _READERS.get(controller)
            if reader is not None:
                found[controller] = reader(group)
        if group.hierarchy.version == 2 and group.controllers:
            found["pressure"] = {
                resource: {kind: dict(_PRESSURE) for kind in ("some", "full")}
                for resource in ("cpu", "memory", "io")
            }
    return found


def _limit(text: str) -> int | None:
    value = int(text) if text.isdigit() else None
    return None if value is None or value >= UNLIMITED_V1 else value


def _is_v1(group: Cgroup) -> bool:
    return group.hierarchy.version == 1


def _pids(group: Cgroup) -> dict[str, Any]:
    return {
        "current": int(group.read("pids.current")),
        "max": _limit(group.read("pids.max")),
        "events": {"max": group.events.get("pids.max", 0)},
    }


def _memory(group: Cgroup) -> dict[str, Any]:
    found: dict[str, Any] = {
        "current": group.memory,
        "events": {name: group.events.get(name, 0) for name in ("oom", "oom_kill")},
    }
    if _is_v1(group):
        return found | {"max": _limit(group.read("memory.limit_in_bytes"))}
    names = ("max", "high", "low", "min", "swap.max")
    return found | {name.replace(".", "_"): _limit(group.read(f"memory.{name}")) for name in names}


def _cpu(_: Cgroup) -> dict[str, Any]:
    return {"usage_usec": 0, "user_usec": 0, "system_usec": 0}


def _cpuset(group: Cgroup) -> dict[str, Any]:
    host = group.hierarchy.host
    found = {}
    for name, count in (("cpus", host.cpus), ("mems", host.nodes)):
        # On version 2 an empty list is that of the nearest group above that has one.
        lists = (one.read(f"cpuset.{name}") for one in group.line() if one.parent is not None)
        found[name] = next((text for text in lists if text), f"0-{count - 1}" if count > 1 else "0")
    return found


def _hugetlb(group: Cgroup) -> dict[str, Any]:
    limit = "limit_in_bytes" if _is_v1(group) else "max"
    return {
        size: {"current": 0, "failures": 0, "max": _limit(group.read(f"hugetlb.{size}.{limit}"))}
        for size in group.hierarchy.host.huge_pages
    }


def _rdma(group: Cgroup) -> dict[str, Any]:
    lines = (line.split() for line in group.read("rdma.max").splitlines())
    pairs = {device: [limit.partition("=") for limit in limits] for device, *limits in lines}
    return {
        "max": {
            device: {name: _limit(value) for name, _, value in limits} for device, limits in pairs.items()
        }
    }


_READERS: dict[str, Callable[[Cgroup], dict[str, Any]]] = {
    "cpu": _cpu,
    "cpuset": _cpuset,
    "hugetlb": _hugetlb,
    "memory": _memory,
    "pids": _pids,
    "rdma": _rdma,
}


def resctrl_figures(resctrl: Resctrl | None, record: Record) -> dict[str, Any]:
    """Return what resctrl counts for a container: in its monitoring group, or in a class of its own."""
    name = record.kernel.get("resctrl")
    clos = resctrl.find(name) if resctrl is not None and name else None
    if resctrl is None or clos is None:
        return {}
    found: dict[str, Any] = {"clos": name}
    own = clos if clos.owner == record.id == name else None
    group = clos.monitors.get(record.id, own)
    if group is not None and resctrl.rmids:
        found["monitoring"] = resctrl.counted(group)
    return {"resctrl": found}
