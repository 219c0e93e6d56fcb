"""What the kernel accounts for a container's cgroups, named as cgroup v2 names it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from orlop_linux.kernel.cgroups.figures import Files, limit_of, put, with_limit
from orlop_linux.kernel.cgroups.stats_v1 import V1

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop_linux.live.cgroups import Group


def read_stats(groups: Sequence[Group]) -> dict[str, Any]:
    """Return statistics by controller.

    ``cpu``, ``cpuset``, ``memory``, ``pids``, ``io``, ``hugetlb``, ``rdma``, ``misc``, ``net_cls``,
    ``net_prio``, and ``pressure`` by resource. Times are microseconds, sizes are bytes; a limit that is not
    set is ``None``. A controller or a figure that the host does not have is left out.
    """
    found: dict[str, Any] = {}
    for group in groups:
        try:
            fd = group.open()
        except FileNotFoundError:
            continue
        try:
            files = Files(fd)
            if group.version == 2:
                _read_v2(files, found)
            else:
                for controller in group.controllers:
                    reader = V1.get(controller)
                    if reader:
                        reader(files, found)
        finally:
            os.close(fd)
    return found


def _read_v2(files: Files, found: dict[str, Any]) -> None:
    # On a hybrid host v1 has the figures; the unified hierarchy adds what only it has.
    if cpu := files.flat("cpu.stat"):
        known = found.get("cpu", {})
        found["cpu"] = {**{key: value for key, value in cpu.items() if key not in known}, **known}
    put(found, "cpuset", cpus=files.word("cpuset.cpus.effective"), mems=files.word("cpuset.mems.effective"))
    _memory(files, found)
    put(found, "pids", current=files.number("pids.current"), peak=files.number("pids.peak"))
    with_limit(found, "pids", "max", files.text("pids.max"))
    put(found, "pids", events=files.flat("pids.events") or None)
    put(found, "io", devices=files.nested("io.stat") or None)
    put(found, "rdma", current=files.nested("rdma.current") or None, max=files.nested("rdma.max") or None)
    put(
        found,
        "misc",
        current=files.flat("misc.current") or None,
        peak=files.flat("misc.peak") or None,
        events=files.flat("misc.events") or None,
    )
    _hugetlb(files, found)
    for resource in ("cpu", "memory", "io", "irq"):
        pressure = _pressure(files.text(f"{resource}.pressure"))
        if pressure:
            found.setdefault("pressure", {})[resource] = pressure


def _memory(files: Files, found: dict[str, Any]) -> None:
    put(found, "memory", current=files.number("memory.current"), peak=files.number("memory.peak"))
    put(
        found,
        "memory",
        swap_current=files.number("memory.swap.current"),
        swap_peak=files.number("memory.swap.peak"),
        zswap_current=files.number("memory.zswap.current"),
    )
    for name in ("stat", "events"):
        put(found, "memory", **{name: files.flat(f"memory.{name}") or None})
    put(found, "memory", events_local=files.flat("memory.events.local") or None)
    put(found, "memory", swap_events=files.flat("memory.swap.events") or None)
    for name in ("max", "high", "low", "min", "swap.max"):
        with_limit(found, "memory", name.replace(".", "_"), files.text(f"memory.{name}"))


def _hugetlb(files: Files, found: dict[str, Any]) -> None:
    for name in files.names("hugetlb."):
        _, size, rest = name.split(".", 2)
        if rest == "current":
            pages = found.setdefault("hugetlb", {}).setdefault(size, {})
            pages["current"] = files.number(name)
            pages["failures"] = files.flat(f"hugetlb.{size}.events").get("max", 0)
            put(pages, "rsvd", current=files.number(f"hugetlb.{size}.rsvd.current"))
            for place, file in (("max", "max"), ("rsvd_max", "rsvd.max")):
                text = files.word(f"hugetlb.{size}.{file}")
                if text is not None:
                    pages[place] = limit_of(text)


def _pressure(text: str) -> dict[str, dict[str, float]]:
    """Read PSI lines (kernel doc, accounting/psi.rst): averages in per cent, ``total`` in microseconds."""
    result: dict[str, dict[str, float]] = {}
    for line in text.splitlines():
        kind, *pairs = line.split()
        result[kind] = {}
        for pair in pairs:
            key, _, value = pair.partition("=")
            result[kind][key] = int(value) if key == "total" else float(value)
    return result
