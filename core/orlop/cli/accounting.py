"""Statistics as ``runc events`` prints them, which libraries of engines read; made from the kernel's figures.

What is accounted has the names of cgroup v2 everywhere else in orlop. Here it has the names, the units and
the nesting that runc's library has for it: nanoseconds, and numbers that are 0 left out where it leaves them
out. Groups of figures that it does not know are added as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Figures = Mapping[str, Any]

_NO_LIMIT = (1 << 64) - 1
_NO_LIMIT_V1 = (1 << 63) - 4096  # what version 1 shows for it, with pages of 4096 bytes
_KNOWN = frozenset(("cpu", "cpuset", "memory", "pids", "io", "hugetlb", "pressure", "resctrl"))
_SETTINGS = (
    *("cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page"),
    *("memory_spread_slab", "memory_pressure", "sched_load_balance", "sched_relax_domain_level"),
)
_OPERATIONS = (("r", "Read"), ("w", "Write"), ("d", "Discard"))


def engines_statistics(found: Figures) -> dict[str, Any]:
    """Return the figures of :meth:`orlop.container.Container.stats` in the form of ``runc events``."""
    pressure: Figures = found.get("pressure", {})
    made: dict[str, Any] = {
        "cpu": _cpu(found.get("cpu", {})),
        "cpuset": _cpuset(found.get("cpuset", {})),
        "memory": _memory(found.get("memory", {})),
        "pids": _some(current=found.get("pids", {}).get("current"), limit=found.get("pids", {}).get("max")),
        "blkio": _blkio(found.get("io", {}).get("devices", {})),
        "hugetlb": {size: _entry(pages) for size, pages in found.get("hugetlb", {}).items()},
        "intel_rdt": _resctrl(found.get("resctrl", {}).get("monitoring", {})),
        "network_interfaces": None,
    }
    for group, resource in (("cpu", "cpu"), ("memory", "memory"), ("blkio", "io")):
        if resource in pressure:
            made[group]["psi"] = pressure[resource]
    return made | {name: value for name, value in found.items() if name not in _KNOWN and name not in made}


def _some(**figures: object) -> dict[str, Any]:
    """Return the figures that are there and not 0."""
    return {name: value for name, value in figures.items() if value}


def _nanoseconds(value: int | None) -> int:
    return (value or 0) * 1000


def _each(values: Iterable[int] | None) -> list[int]:
    return [_nanoseconds(value) for value in values or ()]


def _cpu(cpu: Figures) -> dict[str, Any]:
    return {
        "usage": {
            **_some(
                total=_nanoseconds(cpu.get("usage_usec")),
                percpu=_each(cpu.get("percpu_usec")),
                percpu_kernel=_each(cpu.get("percpu_system_usec")),
                percpu_user=_each(cpu.get("percpu_user_usec")),
            ),
            "kernel": _nanoseconds(cpu.get("system_usec")),
            "user": _nanoseconds(cpu.get("user_usec")),
        },
        "throttling": _some(
            periods=cpu.get("nr_periods"),
            throttledPeriods=cpu.get("nr_throttled"),
            throttledTime=_nanoseconds(cpu.get("throttled_usec")),
        ),
    }


def _cpuset(cpuset: Figures) -> dict[str, Any]:
    settings = cpuset.get("settings", {})
    return {
        **_some(cpus=_numbers(cpuset.get("cpus", "")), mems=_numbers(cpuset.get("mems", ""))),
        **{name: settings.get(name, 0) for name in _SETTINGS},
    }


def _numbers(text: str) -> list[int]:
    """Return the numbers of a list such as ``0-2,4`` (cpuset(7), List format)."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def _entry(part: Figures, name: str = "", *, limit: int | None = None) -> dict[str, Any]:
    """Return one resource: its *limit* unless it is ``None``, what is used, the most that was, refusals."""
    before = f"{name}_" if name else ""
    entry = _some(usage=part.get(f"{before}current"), max=part.get(f"{before}peak"))
    if limit is not None:
        entry["limit"] = limit
    return {**entry, "failcnt": part.get(f"{before}failures", 0)}


def _memory(memory: Figures) -> dict[str, Any]:
    stat: Figures = memory.get("stat", {})
    if "failures" not in memory:
        return _memory_v2(memory, stat)
    counted = {
        name: _entry(memory, key, limit=_limit(memory, f"{key}_max" if key else "max", _NO_LIMIT_V1))
        for name, key in (("usage", ""), ("swap", "memsw"), ("kernel", "kernel"), ("kernelTCP", "kernel_tcp"))
    }
    return {**_some(cache=stat.get("cache")), **counted, "raw": dict(stat)}


def _memory_v2(memory: Figures, stat: Figures) -> dict[str, Any]:
    usage = _entry(memory, limit=_limit(memory, "max", _NO_LIMIT))
    usage["failcnt"] = memory.get("events", {}).get("max", 0)
    limits = memory.get("max"), memory.get("swap_max")
    # The library's swap is, as in version 1, memory and swap together.
    swap = _some(usage=memory.get("current", 0) + memory.get("swap_current", 0))
    swap["limit"] = _NO_LIMIT if None in limits else sum(limits)
    swap["failcnt"] = memory.get("swap_events", {}).get("fail", 0)
    nothing = {"limit": 0, "failcnt": 0}
    parts = {"usage": usage, "swap": swap, "kernel": nothing, "kernelTCP": nothing}
    return {**_some(cache=stat.get("file")), **parts, "raw": dict(stat)}


def _limit(part: Figures, name: str, none: int) -> int:
    """Return a limit; one that the host does not have at all is 0."""
    if name not in part:
        return 0
    limit: int | None = part[name]
    return none if limit is None else limit


def _blkio(devices: Figures) -> dict[str, Any]:
    lists: dict[str, list[dict[str, Any]]] = {}
    for suffix, name in (("bytes", "ioServiceBytesRecursive"), ("ios", "ioServicedRecursive")):
        for device, figures in devices.items():
            major, _, minor = device.partition(":")
            lists.setdefault(name, []).extend(
                {
                    **_some(major=int(major), minor=int(minor)),
                    "op": word,
                    "value": figures[f"{letter}{suffix}"],
                }
                for letter, word in _OPERATIONS
                if f"{letter}{suffix}" in figures
            )
    return {name: entries for name, entries in lists.items() if entries}


def _resctrl(monitoring: Figures) -> dict[str, Any]:
    """Return what is counted of caches and bandwidth, by domain."""
    domains = [
        events for _, events in sorted(monitoring.get("L3", {}).items(), key=lambda item: int(item[0]))
    ]
    mbm = [
        {name: events.get(name, 0) for name in ("mbm_total_bytes", "mbm_local_bytes")}
        for events in domains
        if "mbm_total_bytes" in events or "mbm_local_bytes" in events
    ]
    cmt = [{"llc_occupancy": events["llc_occupancy"]} for events in domains if "llc_occupancy" in events]
    return _some(mbm_stats=mbm, cmt_stats=cmt)
