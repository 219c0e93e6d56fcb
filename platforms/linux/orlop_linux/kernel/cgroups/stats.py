"""What the kernel accounts for a container's cgroups, named as cgroup v2 names it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from orlop_linux.live.cgroups import read_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orlop_linux.live.cgroups import Group

_HUGE = 0x7FFF_FFFF_FFFF_0000  # v1 shows "no limit" as a huge number of whole pages


def read_stats(groups: Sequence[Group]) -> dict[str, Any]:
    """Return statistics by controller.

    ``cpu``, ``memory``, ``pids``, ``io``, ``hugetlb``, ``rdma``, and ``pressure`` by resource.
    Times are microseconds, sizes are bytes; a limit that is not set is ``None``. A controller or a figure
    that the host does not have is left out.
    """
    found: dict[str, Any] = {}
    for group in groups:
        try:
            fd = group.open()
        except FileNotFoundError:
            continue
        try:
            files = _Files(fd)
            if group.version == 2:
                _read_v2(files, found)
            else:
                for controller in group.controllers:
                    reader = _V1.get(controller)
                    if reader:
                        reader(files, found)
        finally:
            os.close(fd)
    return found


class _Files:
    """The control files of one open cgroup; what does not exist reads as nothing."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def text(self, name: str) -> str:
        try:
            return read_file(self.fd, name)
        except OSError:
            return ""

    def number(self, name: str) -> int | None:
        text = self.text(name).strip()
        return int(text) if text.lstrip("-").isascii() and text.lstrip("-").isdigit() else None

    def flat(self, name: str) -> dict[str, int]:
        """Read ``key value`` lines."""
        lines = (line.split() for line in self.text(name).splitlines())
        return {parts[0]: int(parts[1]) for parts in lines if len(parts) == 2 and parts[1].isdigit()}

    def nested(self, name: str) -> dict[str, dict[str, int | str | None]]:
        """Read ``name key=value key=value`` lines."""
        result: dict[str, dict[str, int | str | None]] = {}
        for line in self.text(name).splitlines():
            first, *pairs = line.split()
            values = result.setdefault(first, {})
            for pair in pairs:
                key, _, value = pair.partition("=")
                values[key] = None if value == "max" else int(value) if value.isdigit() else value
        return result

    def names(self, prefix: str) -> list[str]:
        return sorted(name for name in os.listdir(self.fd) if name.startswith(prefix))


def _put(found: dict[str, Any], controller: str, **figures: Any) -> None:  # noqa: ANN401 - numbers, maps
    known = {key: value for key, value in figures.items() if value is not None}
    if known:
        found.setdefault(controller, {}).update(known)


def _with_limit(found: dict[str, Any], controller: str, name: str, text: str) -> None:
    """Keep a limit, ``None`` when there is none."""
    text = text.strip()
    if text:
        value = int(text) if text.isdigit() else None
        found.setdefault(controller, {})[name] = None if value is None or value >= _HUGE else value


def _read_v2(files: _Files, found: dict[str, Any]) -> None:
    # On a hybrid host v1 has the figures; the unified hierarchy adds what only it has.
    if cpu := files.flat("cpu.stat"):
        known = found.get("cpu", {})
        found["cpu"] = {**{key: value for key, value in cpu.items() if key not in known}, **known}
    _put(found, "memory", current=files.number("memory.current"), peak=files.number("memory.peak"))
    _put(found, "memory", swap_current=files.number("memory.swap.current"))
    _put(found, "memory", stat=files.flat("memory.stat") or None, events=files.flat("memory.events") or None)
    _with_limit(found, "memory", "max", files.text("memory.max"))
    _put(found, "pids", current=files.number("pids.current"))
    _with_limit(found, "pids", "max", files.text("pids.max"))
    _put(found, "io", devices=files.nested("io.stat") or None)
    _put(found, "rdma", current=files.nested("rdma.current") or None, max=files.nested("rdma.max") or None)
    for name in files.names("hugetlb."):
        _, size, rest = name.split(".", 2)
        if rest == "current":
            pages = found.setdefault("hugetlb", {}).setdefault(size, {})
            pages["current"] = files.number(name)
            pages["failures"] = files.flat(f"hugetlb.{size}.events").get("max", 0)
    for resource in ("cpu", "memory", "io"):
        pressure = _pressure(files.text(f"{resource}.pressure"))
        if pressure:
            found.setdefault("pressure", {})[resource] = pressure


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


def _cpuacct(files: _Files, found: dict[str, Any]) -> None:
    usage = files.number("cpuacct.usage")
    # cpuacct.stat counts USER_HZ ticks, 100 in a second on every architecture that runs containers.
    stat = {key: value * 10_000 for key, value in files.flat("cpuacct.stat").items()}
    _put(
        found,
        "cpu",
        usage_usec=None if usage is None else usage // 1000,
        user_usec=stat.get("user"),
        system_usec=stat.get("system"),
    )


def _cpu(files: _Files, found: dict[str, Any]) -> None:
    stat = files.flat("cpu.stat")
    time = stat.get("throttled_time")
    _put(
        found,
        "cpu",
        nr_periods=stat.get("nr_periods"),
        nr_throttled=stat.get("nr_throttled"),
        throttled_usec=None if time is None else time // 1000,
    )


def _memory(files: _Files, found: dict[str, Any]) -> None:
    current, peak = files.number("memory.usage_in_bytes"), files.number("memory.max_usage_in_bytes")
    with_swap = files.number("memory.memsw.usage_in_bytes")
    _put(found, "memory", current=current, peak=peak, failures=files.number("memory.failcnt"))
    if with_swap is not None and current is not None:
        _put(found, "memory", swap_current=max(0, with_swap - current))
    _put(
        found,
        "memory",
        stat=files.flat("memory.stat") or None,
        events=files.flat("memory.oom_control") or None,
    )
    _with_limit(found, "memory", "max", files.text("memory.limit_in_bytes"))


def _pids(files: _Files, found: dict[str, Any]) -> None:
    _put(found, "pids", current=files.number("pids.current"))
    _with_limit(found, "pids", "max", files.text("pids.max"))


def _blkio(files: _Files, found: dict[str, Any]) -> None:
    devices: dict[str, dict[str, int]] = {}
    for name, suffix in (
        ("blkio.throttle.io_service_bytes_recursive", "bytes"),
        ("blkio.throttle.io_serviced_recursive", "ios"),
    ):
        for line in files.text(name).splitlines():
            parts = line.split()
            if len(parts) == 3 and parts[1] in {"Read", "Write", "Discard"}:
                devices.setdefault(parts[0], {})[f"{parts[1][0].lower()}{suffix}"] = int(parts[2])
    _put(found, "io", devices=devices or None)


def _hugetlb(files: _Files, found: dict[str, Any]) -> None:
    for name in files.names("hugetlb."):
        _, size, rest = name.split(".", 2)
        if rest == "usage_in_bytes":
            pages = found.setdefault("hugetlb", {}).setdefault(size, {})
            pages["current"] = files.number(name)
            pages["failures"] = files.number(f"hugetlb.{size}.failcnt") or 0


def _rdma(files: _Files, found: dict[str, Any]) -> None:
    _put(found, "rdma", current=files.nested("rdma.current") or None, max=files.nested("rdma.max") or None)


_V1: dict[str, Callable[[_Files, dict[str, Any]], None]] = {
    "blkio": _blkio,
    "cpu": _cpu,
    "cpuacct": _cpuacct,
    "hugetlb": _hugetlb,
    "memory": _memory,
    "pids": _pids,
    "rdma": _rdma,
}
