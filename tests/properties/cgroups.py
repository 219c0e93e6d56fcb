"""Cases of ``linux.cgroupsPath`` and ``linux.resources`` (config-linux.md, Control groups).

Each value is read back from the kernel's file, of whichever version has the controller.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tests.properties.case import Config, Seen, case, merge

MIB = 1 << 20
RESOURCES = "linux.resources"


def _equal(found: object, wanted: object) -> None:
    assert found == wanted, f"{found!r} is not {wanted!r}"


def _resources(family: str, **values: Any) -> Config:
    return {"linux": {"resources": {family: values}}}


class File(NamedTuple):
    """A file of the cgroup in both versions."""

    controller: str
    v1: str
    v2: str

    def reads(self, v1: object, v2: object) -> Callable[[Seen], None]:
        """Return a look at the file, which has to hold one or the other value."""

        def look(seen: Seen) -> None:
            _equal(seen.cgroup(*self), str(v2 if seen.is_v2(self.controller) else v1))

        return look


def _value(path: str, value: object, file: File, *wanted: object, **with_: object) -> None:
    """Register a case of one number: what the file holds in version 1 and, if it differs, in version 2."""
    family, _, name = path.partition(".")
    case(
        f"{RESOURCES}.{path}",
        config=_resources(family, **{name: value}, **with_),
        host=file.reads(wanted[0], wanted[-1]),
    )


def _path(seen: Seen) -> None:
    places = [line.split(":", 2)[2] for line in seen.proc("cgroup").splitlines()]
    assert any(place.endswith("/properties") for place in places)


case("linux.cgroupsPath", config={}, host=_path)

LIMIT = File("memory", "memory.limit_in_bytes", "memory.max")
SOFT = File("memory", "memory.soft_limit_in_bytes", "memory.low")
SWAP = File("memory", "memory.memsw.limit_in_bytes", "memory.swap.max")
_value("memory.limit", 64 * MIB, LIMIT, 64 * MIB)
_value("memory.checkBeforeUpdate", True, LIMIT, 64 * MIB, limit=64 * MIB)  # noqa: FBT003 - the property's value
_value("memory.reservation", 32 * MIB, SOFT, 32 * MIB)
_value("memory.swap", 96 * MIB, SWAP, 96 * MIB, 32 * MIB, limit=64 * MIB)
# Version 2 is hierarchical whatever is asked for; what is read there is a file that no other case changes.
_value("memory.useHierarchy", True, File("memory", "memory.use_hierarchy", "memory.oom.group"), 1, 0)  # noqa: FBT003 - as above

SHARES = File("cpu", "cpu.shares", "cpu.weight")
QUOTA = File("cpu", "cpu.cfs_quota_us", "cpu.max")
PERIOD = File("cpu", "cpu.cfs_period_us", "cpu.max")
BURST = File("cpu", "cpu.cfs_burst_us", "cpu.max.burst")
_value("cpu.shares", 512, SHARES, 512, 59)
_value("cpu.quota", 25000, QUOTA, 25000, "25000 100000")
_value("cpu.period", 50000, PERIOD, 50000, "25000 50000", quota=25000)
_value("cpu.burst", 10000, BURST, 10000, quota=25000)
_value("cpu.cpus", "0", File("cpuset", "cpuset.cpus", "cpuset.cpus"), 0)
_value("cpu.mems", "0", File("cpuset", "cpuset.mems", "cpuset.mems"), 0)
_value("pids.limit", 99, File("pids", "pids.max", "pids.max"), 99)
# An idle group has the least weight of all, whatever its shares are.
case(
    f"{RESOURCES}.cpu.idle",
    config=_resources("cpu", idle=1),
    host=File("cpu", "cpu.idle", "cpu.idle").reads(1, 1),
    alone=True,
)


def _real_time(seen: Seen) -> None:
    found = [seen.cgroup("cpu", f"cpu.rt_{one}_us", "") for one in ("runtime", "period")]
    _equal(found, ["20000", "500000"])


# A group can only give what its parent has, and of those in between nobody but the root has any.
case(
    f"{RESOURCES}.cpu.realtimeRuntime",
    f"{RESOURCES}.cpu.realtimePeriod",
    config=merge(
        _resources("cpu", realtimeRuntime=20000, realtimePeriod=500000),
        {"linux": {"cgroupsPath": f"/orlop-realtime-{os.getpid()}"}},
    ),
    alone=True,
    host=_real_time,
    needs=("rt-group",),
)
case(
    f"{RESOURCES}.memory.swappiness",
    config=_resources("memory", swappiness=7),
    host=File("memory", "memory.swappiness", "").reads(7, None),
    needs=("cgroup-v1",),
)
case(
    f"{RESOURCES}.memory.kernelTCP",
    config=_resources("memory", kernelTCP=16 * MIB),
    host=File("memory", "memory.kmem.tcp.limit_in_bytes", "").reads(16 * MIB, None),
    needs=("cgroup-v1",),
)


def _no_killer(seen: Seen) -> None:
    assert "oom_kill_disable 1" in seen.cgroup("memory", "memory.oom_control", "")


case(
    f"{RESOURCES}.memory.disableOOMKiller",
    config=_resources("memory", disableOOMKiller=True),
    host=_no_killer,
    needs=("cgroup-v1",),
)


def _disk() -> str:
    """Return major:minor of a whole disk of this host; without one, of the loop device that needs none."""
    for name in sorted(os.listdir("/sys/block")):
        if not name.startswith(("loop", "ram", "zram", "dm-")):
            return Path(f"/sys/block/{name}/dev").read_text().strip()
    return "7:0"


DISK = _disk() if os.path.isdir("/sys/block") else "7:0"
MAJOR, MINOR = (int(part) for part in DISK.split(":"))


def _throttle(name: str, file: str, key: str) -> None:
    def look(seen: Seen) -> None:
        if seen.is_v2("blkio"):
            assert f"{key}=1048576" in seen.cgroup("blkio", "", "io.max").split()
            assert seen.cgroup("blkio", "", "io.max").startswith(f"{DISK} ")
        else:
            assert seen.cgroup("blkio", f"blkio.throttle.{file}_device", "") == f"{DISK} 1048576"

    entry = {"major": MAJOR, "minor": MINOR, "rate": 1048576}
    case(
        *(f"{RESOURCES}.blockIO.{name}[].{part}" for part in entry),
        config=_resources("blockIO", **{name: [entry]}),
        host=look,
        needs=("disk",),
        name=f"{RESOURCES}.blockIO.{name}[]",
    )


_throttle("throttleReadBpsDevice", "read_bps", "rbps")
_throttle("throttleWriteBpsDevice", "write_bps", "wbps")
_throttle("throttleReadIOPSDevice", "read_iops", "riops")
_throttle("throttleWriteIOPSDevice", "write_iops", "wiops")


def _weight(seen: Seen) -> None:
    assert seen.cgroup("blkio", "blkio.bfq.weight", "io.bfq.weight").splitlines()[0].split()[-1] == "300"


case(
    f"{RESOURCES}.blockIO.weight",
    config=_resources("blockIO", weight=300),
    host=_weight,
    needs=("io-weight",),
)


def _weight_device(seen: Seen) -> None:
    assert f"{DISK} 200" in seen.cgroup("blkio", "blkio.bfq.weight_device", "io.bfq.weight").splitlines()


case(
    *(f"{RESOURCES}.blockIO.weightDevice[].{part}" for part in ("major", "minor", "weight")),
    config=_resources("blockIO", weightDevice=[{"major": MAJOR, "minor": MINOR, "weight": 200}]),
    host=_weight_device,
    needs=("io-weight",),
    name=f"{RESOURCES}.blockIO.weightDevice[]",
)


def _hugepages(seen: Seen) -> None:
    # Reservations are what is limited where the kernel counts them.
    _equal(seen.cgroup("hugetlb", "hugetlb.2MB.rsvd.limit_in_bytes", "hugetlb.2MB.rsvd.max"), str(4 * MIB))


case(
    f"{RESOURCES}.hugepageLimits[].pageSize",
    f"{RESOURCES}.hugepageLimits[].limit",
    config={"linux": {"resources": {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]}}},
    host=_hugepages,
    needs=("hugetlb",),
)
case(
    f"{RESOURCES}.network.classID",
    config=_resources("network", classID=0x100001),
    host=lambda seen: _equal(seen.cgroup("net_cls", "net_cls.classid", ""), str(0x100001)),
    needs=("cgroup-v1",),
    hierarchy="net_cls",
    alone=True,
)
case(
    f"{RESOURCES}.network.priorities[].name",
    f"{RESOURCES}.network.priorities[].priority",
    config=_resources("network", priorities=[{"name": "lo", "priority": 5}]),
    host=lambda seen: _member("lo 5", seen.cgroup("net_prio", "net_prio.ifpriomap", "").splitlines()),
    needs=("cgroup-v1",),
    hierarchy="net_prio",
    alone=True,
)
INFINIBAND = "/sys/class/infiniband"
RDMA = min(os.listdir(INFINIBAND), default="rxe0") if os.path.isdir(INFINIBAND) else "rxe0"
case(
    f"{RESOURCES}.rdma.*.hcaHandles",
    f"{RESOURCES}.rdma.*.hcaObjects",
    config={"linux": {"resources": {"rdma": {RDMA: {"hcaHandles": 3, "hcaObjects": 2000}}}}},
    host=lambda seen: _member(
        f"{RDMA} hca_handle=3 hca_object=2000", seen.cgroup("rdma", "rdma.max", "rdma.max").splitlines()
    ),
    needs=("rdma",),
)
case(
    f"{RESOURCES}.unified.*",
    config=_resources("unified", **{"memory.high": str(48 * MIB), "pids.max": "77"}),
    host=lambda seen: _equal(
        (seen.cgroup("memory", "", "memory.high"), seen.cgroup("pids", "", "pids.max")), (str(48 * MIB), "77")
    ),
    needs=("cgroup-v2",),
)


def _member(one: str, of: list[str]) -> None:
    assert one in of, f"{one!r} is not in {of!r}"
