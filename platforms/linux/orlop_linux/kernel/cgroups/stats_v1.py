"""Figures of cgroup v1, named as cgroup v2 names them (kernel doc, cgroup-v1/)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop_linux.kernel.cgroups.figures import limit_of, put, with_limit

if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop_linux.kernel.cgroups.figures import Files


# What is counted beside the memory alone: with swap, of the kernel, of its TCP buffers.
_COUNTED_APART = {"memsw": "memsw", "kmem": "kernel", "kmem.tcp": "kernel_tcp"}
_SETTINGS = (
    *("cpu_exclusive", "mem_exclusive", "mem_hardwall", "memory_migrate", "memory_pressure"),
    *("memory_spread_page", "memory_spread_slab", "sched_load_balance", "sched_relax_domain_level"),
)


def _cpuacct(files: Files, found: dict[str, Any]) -> None:
    usage = files.number("cpuacct.usage")
    # cpuacct.stat counts USER_HZ ticks, 100 in a second on every architecture that runs containers.
    stat = {key: value * 10_000 for key, value in files.flat("cpuacct.stat").items()}
    put(
        found,
        "cpu",
        usage_usec=None if usage is None else usage // 1000,
        user_usec=stat.get("user"),
        system_usec=stat.get("system"),
        percpu_usec=_by_cpu(files, "cpuacct.usage_percpu"),
        percpu_user_usec=_by_cpu(files, "cpuacct.usage_percpu_user"),
        percpu_system_usec=_by_cpu(files, "cpuacct.usage_percpu_sys"),
    )


def _by_cpu(files: Files, name: str) -> list[int] | None:
    return [int(word) // 1000 for word in files.text(name).split()] or None


def _cpu(files: Files, found: dict[str, Any]) -> None:
    stat = files.flat("cpu.stat")
    time = stat.get("throttled_time")
    put(
        found,
        "cpu",
        nr_periods=stat.get("nr_periods"),
        nr_throttled=stat.get("nr_throttled"),
        throttled_usec=None if time is None else time // 1000,
        nr_bursts=stat.get("nr_bursts"),
        burst_usec=stat["burst_time"] // 1000 if "burst_time" in stat else None,
    )


def _memory(files: Files, found: dict[str, Any]) -> None:
    current, peak = files.number("memory.usage_in_bytes"), files.number("memory.max_usage_in_bytes")
    with_swap = files.number("memory.memsw.usage_in_bytes")
    put(found, "memory", current=current, peak=peak, failures=files.number("memory.failcnt"))
    if with_swap is not None and current is not None:
        put(found, "memory", swap_current=max(0, with_swap - current))
    put(
        found,
        "memory",
        stat=files.flat("memory.stat") or None,
        events=files.flat("memory.oom_control") or None,
    )
    with_limit(found, "memory", "max", files.text("memory.limit_in_bytes"))
    for name in ("memsw", "kmem", "kmem.tcp"):
        key, prefix = _COUNTED_APART[name], f"memory.{name}"
        put(
            found,
            "memory",
            **{
                f"{key}_current": files.number(f"{prefix}.usage_in_bytes"),
                f"{key}_peak": files.number(f"{prefix}.max_usage_in_bytes"),
                f"{key}_failures": files.number(f"{prefix}.failcnt"),
            },
        )
        with_limit(found, "memory", f"{key}_max", files.text(f"{prefix}.limit_in_bytes"))


def _cpuset(files: Files, found: dict[str, Any]) -> None:
    cpus = files.word("cpuset.effective_cpus") or files.word("cpuset.cpus")
    settings = {name: files.number(f"cpuset.{name}") for name in _SETTINGS}
    put(
        found,
        "cpuset",
        cpus=cpus,
        mems=files.word("cpuset.effective_mems") or files.word("cpuset.mems"),
        settings={name: value for name, value in settings.items() if value is not None} or None,
    )


def _net_cls(files: Files, found: dict[str, Any]) -> None:
    put(found, "net_cls", class_id=files.number("net_cls.classid"))


def _net_prio(files: Files, found: dict[str, Any]) -> None:
    put(found, "net_prio", priorities=files.flat("net_prio.ifpriomap") or None)


def _misc(files: Files, found: dict[str, Any]) -> None:
    put(found, "misc", current=files.flat("misc.current") or None, events=files.flat("misc.events") or None)


def _pids(files: Files, found: dict[str, Any]) -> None:
    put(found, "pids", current=files.number("pids.current"))
    with_limit(found, "pids", "max", files.text("pids.max"))
    put(found, "pids", events=files.flat("pids.events") or None)


def _blkio(files: Files, found: dict[str, Any]) -> None:
    devices: dict[str, dict[str, int]] = {}
    for name, suffix in (
        ("blkio.throttle.io_service_bytes_recursive", "bytes"),
        ("blkio.throttle.io_serviced_recursive", "ios"),
    ):
        for line in files.text(name).splitlines():
            parts = line.split()
            if len(parts) == 3 and parts[1] in {"Read", "Write", "Discard"}:
                devices.setdefault(parts[0], {})[f"{parts[1][0].lower()}{suffix}"] = int(parts[2])
    put(found, "io", devices=devices or None)


def _hugetlb(files: Files, found: dict[str, Any]) -> None:
    for name in files.names("hugetlb."):
        _, size, rest = name.split(".", 2)
        if rest == "usage_in_bytes":
            pages = found.setdefault("hugetlb", {}).setdefault(size, {})
            pages["current"] = files.number(name)
            pages["failures"] = files.number(f"hugetlb.{size}.failcnt") or 0
            put(pages, "rsvd", current=files.number(f"hugetlb.{size}.rsvd.usage_in_bytes"))
            limit = files.word(f"hugetlb.{size}.limit_in_bytes")
            if limit is not None:
                pages["max"] = limit_of(limit)


def _rdma(files: Files, found: dict[str, Any]) -> None:
    put(found, "rdma", current=files.nested("rdma.current") or None, max=files.nested("rdma.max") or None)


V1: dict[str, Callable[[Files, dict[str, Any]], None]] = {
    "blkio": _blkio,
    "cpu": _cpu,
    "cpuacct": _cpuacct,
    "cpuset": _cpuset,
    "hugetlb": _hugetlb,
    "memory": _memory,
    "misc": _misc,
    "net_cls": _net_cls,
    "net_prio": _net_prio,
    "pids": _pids,
    "rdma": _rdma,
}
"""Who reads the figures of a controller."""
