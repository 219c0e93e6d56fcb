"""The files of every cgroup controller, as data: what they hold at first and what they accept.

Sources: Documentation/admin-guide/cgroup-v1/ and cgroup-v2.rst of the kernel. A value that the kernel would
refuse is refused with the same errno.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from orlop_fake.refusals import refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orlop_fake.cgroups import Cgroup

    Check = Callable[[Cgroup, str, str], str]
    Files = Mapping[str, tuple[str, Check | None]]

PAGE = 4096
UNLIMITED_V1 = 9223372036854771712  # PAGE_COUNTER_MAX * PAGE_SIZE
_RDMA_MAX = (1 << 31) - 1


def _integer(file: str, text: str) -> int:
    try:
        return int(text.strip(), 0)
    except ValueError:
        raise refusal(errno.EINVAL, file) from None


def number(low: int, high: int, out_of_range: int = errno.ERANGE) -> Check:
    """Return a check for an integer from *low* to *high*."""

    def check(group: Cgroup, file: str, text: str) -> str:
        del group
        value = _integer(file, text)
        if not low <= value <= high:
            raise refusal(out_of_range, file)
        return str(value)

    return check


def _anything(group: Cgroup, file: str, text: str) -> str:
    del group, file
    return text.strip()


def _limit(group: Cgroup, file: str, text: str) -> str:
    del group
    if text.strip() == "max":
        return "max"
    value = _integer(file, text)
    if value < 0:
        raise refusal(errno.EINVAL, file)
    return str(value)


def _pages(group: Cgroup, file: str, text: str) -> str:
    kept = _limit(group, file, text)
    return kept if kept == "max" else str(int(kept) // PAGE * PAGE)


def _bytes_v1(group: Cgroup, file: str, text: str) -> str:
    value = _integer(file, text)
    if value < -1:
        raise refusal(errno.EINVAL, file)
    kept = UNLIMITED_V1 if value == -1 else min(value // PAGE * PAGE, UNLIMITED_V1)
    # Memory may never be allowed more than memory and swap together (cgroup-v1/memory.rst, 2.4).
    if file == "memory.limit_in_bytes" and kept > int(group.read("memory.memsw.limit_in_bytes")):
        raise refusal(errno.EINVAL, file)
    if file == "memory.memsw.limit_in_bytes" and kept < int(group.read("memory.limit_in_bytes")):
        raise refusal(errno.EINVAL, file)
    if file in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes") and group.memory > kept:
        raise refusal(errno.EBUSY, file)
    return str(kept)


def _shares(group: Cgroup, file: str, text: str) -> str:
    del group
    value = _integer(file, text)
    if value < 0:
        raise refusal(errno.EINVAL, file)
    return str(min(max(value, 2), 262144))


def _quota_v1(group: Cgroup, file: str, text: str) -> str:
    value = _integer(file, text)
    if value < 0:
        return "-1"
    if value < 1000 or int(group.read("cpu.cfs_burst_us")) > value:
        raise refusal(errno.EINVAL, file)
    return str(value)


def _burst_v1(group: Cgroup, file: str, text: str) -> str:
    value = _integer(file, text)
    quota = int(group.read("cpu.cfs_quota_us"))
    if value < 0 or (value and quota != -1 and value > quota):
        raise refusal(errno.EINVAL, file)
    return str(value)


def _cpu_max(group: Cgroup, file: str, text: str) -> str:
    quota, _, period = text.strip().partition(" ")
    if quota != "max" and _integer(file, quota) < 1000:
        raise refusal(errno.EINVAL, file)
    period = period or group.read(file).split()[1]
    if not 1000 <= _integer(file, period) <= 1_000_000:
        raise refusal(errno.EINVAL, file)
    return f"{quota} {period}"


def _burst_v2(group: Cgroup, file: str, text: str) -> str:
    value = _integer(file, text)
    quota = group.read("cpu.max").split()[0]
    if value < 0 or (quota != "max" and value > int(quota)):
        raise refusal(errno.EINVAL, file)
    return str(value)


def parse_list(file: str, text: str, limit: int) -> set[int]:
    """Return the numbers of a list such as ``0-3,7``; EINVAL when malformed, ERANGE from *limit* on."""
    found: set[int] = set()
    for part in text.strip().split(","):
        if not part:
            continue
        first, _, last = part.partition("-")
        if not first.isdigit() or (last and not last.isdigit()) or part.endswith("-"):
            raise refusal(errno.EINVAL, file)
        low, high = int(first), int(last or first)
        if high < low:
            raise refusal(errno.EINVAL, file)
        if high >= limit:
            raise refusal(errno.ERANGE, file)
        found |= set(range(low, high + 1))
    return found


def _cpu_set(group: Cgroup, file: str, text: str) -> str:
    host = group.hierarchy.host
    limit = host.cpus if file.endswith("cpus") else host.nodes
    wanted = parse_list(file, text, limit)
    if group.hierarchy.version == 1 and group.parent is not None:
        if not wanted <= parse_list(file, group.parent.read(file), limit):
            raise refusal(errno.EACCES, file)
        if not wanted and group.processes:
            raise refusal(errno.ENOSPC, file)
    return text.strip()


def _pairs(text: str) -> dict[str, str]:
    return {name: value for name, _, value in (part.partition("=") for part in text.split())}


def _keyed_device(group: Cgroup, file: str, text: str) -> str:
    key, _, rest = text.strip().partition(" ")
    major, colon, minor = key.partition(":")
    if not (colon and major.isdigit() and minor.isdigit()):
        if key == "default" or key.isdigit():
            return group.keyed(file, "default", rest or key)
        raise refusal(errno.EINVAL, file)
    if key not in group.hierarchy.host.block_devices:
        raise refusal(errno.ENODEV, file)
    if not rest:
        raise refusal(errno.EINVAL, file)
    if file == "io.max":
        known = _pairs(group.line_of(file, key))
        for part in rest.split():
            name, equals, value = part.partition("=")
            if (
                not equals
                or name not in {"rbps", "wbps", "riops", "wiops"}
                or not (value == "max" or value.isdigit())
            ):
                raise refusal(errno.EINVAL, file)
            known[name] = value
        rest = " ".join(f"{name}={known[name]}" for name in sorted(known))
    elif not rest.isdigit():
        raise refusal(errno.EINVAL, file)
    return group.keyed(file, key, rest)


def _weight(low: int, high: int) -> Check:
    def check(group: Cgroup, file: str, text: str) -> str:
        words = text.split()
        if not words or not words[-1].isdigit():
            raise refusal(errno.EINVAL, file)
        if not low <= int(words[-1]) <= high:
            raise refusal(errno.ERANGE, file)
        if len(words) == 2 and words[0] != "default":
            return _keyed_device(group, file, text)
        return f"default {words[-1]}" if group.hierarchy.version == 2 else words[-1]

    return check


def _rdma(group: Cgroup, file: str, text: str) -> str:
    device, *limits = text.split()
    known: dict[str, str] = {}
    for part in limits:
        name, equals, value = part.partition("=")
        if not equals or name not in {"hca_handle", "hca_object"}:
            raise refusal(errno.EINVAL, file)
        if value != "max" and not (value.isdigit() and int(value) <= _RDMA_MAX):
            raise refusal(errno.EINVAL, file)
        known[name] = value
    if device not in group.hierarchy.host.rdma_devices:
        raise refusal(errno.ENODEV, file)
    if not known:
        raise refusal(errno.EINVAL, file)
    known = _pairs(group.line_of(file, device) or "hca_handle=max hca_object=max") | known
    return group.keyed(
        file, device, " ".join(f"{name}={known[name]}" for name in ("hca_handle", "hca_object"))
    )


def _priority(group: Cgroup, file: str, text: str) -> str:
    name, _, value = text.strip().partition(" ")
    if not value.isdigit():
        raise refusal(errno.EINVAL, file)
    if name not in group.hierarchy.host.interfaces:
        raise refusal(errno.ENODEV, file)
    return group.keyed(file, name, value)


def _freezer_state(group: Cgroup, file: str, text: str) -> str:
    state = text.strip()
    if state not in {"FROZEN", "THAWED"}:
        raise refusal(errno.EINVAL, file)
    group.set_frozen(frozen=state == "FROZEN")
    return state


def _freeze_v2(group: Cgroup, file: str, text: str) -> str:
    value = _integer(file, text)
    if value not in (0, 1):
        raise refusal(errno.ERANGE, file)
    group.set_frozen(frozen=value == 1)
    return str(value)


def _subtree_control(group: Cgroup, file: str, text: str) -> str:
    enabled = list(group.enabled)
    for word in text.split():
        sign, name = word[:1], word[1:]
        if sign not in "+-" or not name:
            raise refusal(errno.EINVAL, file)
        if name not in group.controllers:
            raise refusal(errno.ENOENT, file)
        if sign == "-" and name in enabled:
            enabled.remove(name)
        elif sign == "+" and name not in enabled:
            enabled.append(name)
    enable(group, tuple(enabled))
    return " ".join(enabled)


def enable(group: Cgroup, controllers: tuple[str, ...]) -> None:
    """Enable exactly *controllers* for the children of *group*; EBUSY if it has processes, but for the root.

    Source: cgroup-v2.rst, "No Internal Process Constraint".
    """
    if group.processes and group.parent is not None and not set(controllers) <= set(group.enabled):
        raise refusal(errno.EBUSY, group.file("cgroup.subtree_control"))
    group.enabled = controllers


CORE_V2: Files = {
    "cgroup.subtree_control": ("", _subtree_control),
    "cgroup.freeze": ("0", _freeze_v2),
    "cgroup.max.descendants": ("max", _limit),
    "cgroup.max.depth": ("max", _limit),
    "cgroup.type": ("domain", None),
}
"""What every cgroup of version 2 has, whatever its controllers."""

V2: Mapping[str, Files] = {
    "cpu": {
        "cpu.weight": ("100", number(1, 10000)),
        "cpu.max": ("max 100000", _cpu_max),
        "cpu.max.burst": ("0", _burst_v2),
        "cpu.idle": ("0", number(0, 1, errno.EINVAL)),
    },
    "cpuset": {
        "cpuset.cpus": ("", _cpu_set),
        "cpuset.mems": ("", _cpu_set),
        "cpuset.cpus.partition": ("member", _anything),
    },
    "memory": {
        "memory.max": ("max", _pages),
        "memory.high": ("max", _pages),
        "memory.low": ("0", _pages),
        "memory.min": ("0", _pages),
        "memory.swap.max": ("max", _pages),
        "memory.swap.high": ("max", _pages),
        "memory.oom.group": ("0", number(0, 1, errno.EINVAL)),
    },
    "pids": {"pids.max": ("max", _limit)},
    "io": {
        "io.max": ("", _keyed_device),
        "io.weight": ("default 100", _weight(1, 10000)),
        "io.bfq.weight": ("default 100", _weight(1, 1000)),
        "io.latency": ("", _keyed_device),
    },
    "hugetlb": {},
    "rdma": {"rdma.max": ("", _rdma)},
    "misc": {"misc.max": ("", _anything)},
}
"""Files of cgroup v2 by controller, each with its first content and check; hugetlb's depend on page sizes."""

V1: Mapping[str, Files] = {
    "cpu": {
        "cpu.shares": ("1024", _shares),
        "cpu.cfs_quota_us": ("-1", _quota_v1),
        "cpu.cfs_period_us": ("100000", number(1000, 1_000_000, errno.EINVAL)),
        "cpu.cfs_burst_us": ("0", _burst_v1),
        "cpu.rt_runtime_us": ("0", number(-1, 1_000_000, errno.EINVAL)),
        "cpu.rt_period_us": ("1000000", number(1, 1 << 40, errno.EINVAL)),
        "cpu.idle": ("0", number(0, 1, errno.EINVAL)),
    },
    "cpuacct": {"cpuacct.usage": ("0", number(0, 0, errno.EINVAL))},
    "cpuset": {
        "cpuset.cpus": ("", _cpu_set),
        "cpuset.mems": ("", _cpu_set),
        "cpuset.cpu_exclusive": ("0", number(0, 1, errno.EINVAL)),
        "cpuset.memory_migrate": ("0", number(0, 1, errno.EINVAL)),
    },
    "memory": {
        "memory.limit_in_bytes": (str(UNLIMITED_V1), _bytes_v1),
        "memory.memsw.limit_in_bytes": (str(UNLIMITED_V1), _bytes_v1),
        "memory.soft_limit_in_bytes": (str(UNLIMITED_V1), _bytes_v1),
        "memory.kmem.limit_in_bytes": (str(UNLIMITED_V1), _bytes_v1),
        "memory.kmem.tcp.limit_in_bytes": (str(UNLIMITED_V1), _bytes_v1),
        "memory.swappiness": ("60", number(0, 200, errno.EINVAL)),
        "memory.oom_control": ("0", number(0, 1, errno.EINVAL)),
        "memory.use_hierarchy": ("1", number(1, 1, errno.EINVAL)),
    },
    "blkio": {
        "blkio.weight": ("500", _weight(10, 1000)),
        "blkio.weight_device": ("", _keyed_device),
        "blkio.leaf_weight": ("500", _weight(10, 1000)),
        "blkio.leaf_weight_device": ("", _keyed_device),
        "blkio.bfq.weight": ("100", _weight(1, 1000)),
        "blkio.bfq.weight_device": ("", _keyed_device),
        "blkio.throttle.read_bps_device": ("", _keyed_device),
        "blkio.throttle.write_bps_device": ("", _keyed_device),
        "blkio.throttle.read_iops_device": ("", _keyed_device),
        "blkio.throttle.write_iops_device": ("", _keyed_device),
    },
    "devices": {},
    "freezer": {"freezer.state": ("THAWED", _freezer_state)},
    "hugetlb": {},
    "net_cls": {"net_cls.classid": ("0", number(0, 0xFFFFFFFF, errno.EINVAL))},
    "net_prio": {"net_prio.ifpriomap": ("", _priority)},
    "perf_event": {},
    "pids": {"pids.max": ("max", _limit)},
    "rdma": {"rdma.max": ("", _rdma)},
    "misc": {"misc.max": ("", _anything)},
}
"""Files of cgroup v1 by controller."""


def huge_pages(version: int, sizes: tuple[str, ...]) -> Files:
    """Return the files of the hugetlb controller for pages of *sizes* (``2MB``)."""
    files: dict[str, tuple[str, Check | None]] = {}
    for size in sizes:
        for middle in ("", "rsvd."):
            if version == 1:
                files[f"hugetlb.{size}.{middle}limit_in_bytes"] = (str(UNLIMITED_V1), _bytes_v1)
            else:
                files[f"hugetlb.{size}.{middle}max"] = ("max", _pages)
    return files
