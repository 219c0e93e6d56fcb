"""Plugin cgroups: both forms of every resource."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.plugins.support import (
    RESOURCES,
    Pairs,
    forms,
    refused,
    writes,
)

from orlop_hookspecs.steps import WriteCgroup
from orlop_linux.plugins.cgroup_controllers.blockio import v2_weight
from orlop_linux.plugins.cgroup_controllers.cpu import NUMBER_MAX, weight
from orlop_linux.plugins.number_lists import fault

MEMORY: list[tuple[dict[str, Any], list[tuple[str, Pairs | None, Pairs | None]]]] = [
    ({"limit": 100}, [("limit", (("memory.limit_in_bytes", "100"),), (("memory.max", "100"),))]),
    ({"limit": 0}, [("limit", (("memory.limit_in_bytes", "0"),), (("memory.max", "0"),))]),
    (
        {"limit": -1},
        [
            ("limit", (("memory.limit_in_bytes", "-1"),), (("memory.max", "max"),)),
            ("swap", (("memory.memsw.limit_in_bytes", "-1"),), (("memory.swap.max", "max"),)),
        ],
    ),
    (
        {"limit": 100, "swap": 300},
        [
            ("limit", (("memory.limit_in_bytes", "100"),), (("memory.max", "100"),)),
            ("swap", (("memory.memsw.limit_in_bytes", "300"),), (("memory.swap.max", "200"),)),
        ],
    ),
    (
        {"limit": 100, "swap": 100},
        [
            ("limit", (("memory.limit_in_bytes", "100"),), (("memory.max", "100"),)),
            ("swap", (("memory.memsw.limit_in_bytes", "100"),), (("memory.swap.max", "0"),)),
        ],
    ),
    ({"swap": -1}, [("swap", (("memory.memsw.limit_in_bytes", "-1"),), (("memory.swap.max", "max"),))]),
    ({"reservation": 7}, [("reservation", (("memory.soft_limit_in_bytes", "7"),), (("memory.low", "7"),))]),
    (
        {"reservation": -1},
        [("reservation", (("memory.soft_limit_in_bytes", "-1"),), (("memory.low", "max"),))],
    ),
    ({"kernel": 5}, [("kernel", (("memory.kmem.limit_in_bytes", "5"),), None)]),
    ({"kernel": -1}, [("kernel", (("memory.kmem.limit_in_bytes", "-1"),), ())]),
    ({"kernelTCP": 5}, [("kernelTCP", (("memory.kmem.tcp.limit_in_bytes", "5"),), None)]),
    ({"kernelTCP": -1}, [("kernelTCP", (("memory.kmem.tcp.limit_in_bytes", "-1"),), ())]),
    ({"swappiness": 0}, [("swappiness", (("memory.swappiness", "0"),), None)]),
    ({"disableOOMKiller": True}, [("disableOOMKiller", (("memory.oom_control", "1"),), None)]),
    ({"disableOOMKiller": False}, [("disableOOMKiller", (("memory.oom_control", "0"),), ())]),
    ({"useHierarchy": True}, [("useHierarchy", (("memory.use_hierarchy", "1"),), ())]),
    ({"useHierarchy": False}, [("useHierarchy", (("memory.use_hierarchy", "0"),), None)]),
    ({"checkBeforeUpdate": True}, []),
]


@pytest.mark.parametrize(("memory", "expected"), MEMORY)
def test_memory(memory: dict[str, Any], expected: list[tuple[str, Pairs | None, Pairs | None]]) -> None:
    planned = writes(memory=memory)
    assert forms(planned) == [(f"/memory/{name}", v1, v2) for name, v1, v2 in expected]
    assert {step.as_data()["controller"] for step in planned} <= {"memory"}


@pytest.mark.parametrize(
    ("memory", "name"),
    [
        ({"limit": -2}, "limit"),
        ({"reservation": -2}, "reservation"),
        ({"swap": -2, "limit": 1}, "swap"),
        ({"kernel": -2}, "kernel"),
        ({"kernelTCP": -2}, "kernelTCP"),
        ({"swappiness": 101}, "swappiness"),
        ({"swap": 5}, "swap"),
        ({"swap": 5, "limit": 6}, "swap"),
        ({"swap": 5, "limit": -1}, "swap"),
    ],
)
def test_memory_that_cannot_be(memory: dict[str, Any], name: str) -> None:
    assert f"/memory/{name}" in refused(memory=memory)


def test_usage_is_checked_only_where_asked_for() -> None:
    for asked in (True, False):
        planned = writes(memory={"limit": 5, "swap": 7, "checkBeforeUpdate": asked})
        assert [one.as_data()["usage"] for one in planned] == (
            ["memory.current", "memory.swap.current"] if asked else ["", ""]
        )


def test_hierarchy_comes_before_limits_and_limits_before_swap() -> None:
    everything = {"swap": 9, "limit": 5, "kernel": 3, "useHierarchy": True, "reservation": 1}
    order = [step.because.rpartition("/")[2] for step in writes(memory=everything)]
    assert order == ["useHierarchy", "kernel", "limit", "swap", "reservation"]


CPU: list[tuple[dict[str, Any], list[tuple[str, Pairs | None, Pairs | None]]]] = [
    ({"shares": 1024}, [("shares", (("cpu.shares", "1024"),), (("cpu.weight", "100"),))]),
    ({"shares": 1}, [("shares", (("cpu.shares", "2"),), (("cpu.weight", "1"),))]),
    ({"shares": 1 << 40}, [("shares", (("cpu.shares", "262144"),), (("cpu.weight", "10000"),))]),
    ({"shares": 0, "quota": 0, "period": 0, "realtimePeriod": 0}, []),
    ({"quota": 5000}, [("quota", (("cpu.cfs_quota_us", "5000"),), (("cpu.max", "5000"),))]),
    ({"quota": -1}, [("quota", (("cpu.cfs_quota_us", "-1"),), (("cpu.max", "max"),))]),
    ({"period": 20000}, [("period", (("cpu.cfs_period_us", "20000"),), (("cpu.max", "max 20000"),))]),
    (
        {"quota": 5000, "period": 20000, "burst": 4000},
        [
            ("period", (("cpu.cfs_period_us", "20000"),), ()),
            ("quota", (("cpu.cfs_quota_us", "5000"),), (("cpu.max", "5000 20000"),)),
            ("burst", (("cpu.cfs_burst_us", "4000"),), (("cpu.max.burst", "4000"),)),
        ],
    ),
    (
        {"realtimeRuntime": 9, "realtimePeriod": 10},
        [
            ("realtimePeriod", (("cpu.rt_period_us", "10"),), None),
            ("realtimeRuntime", (("cpu.rt_runtime_us", "9"),), None),
        ],
    ),
    ({"cpus": "0-3,7"}, [("cpus", (("cpuset.cpus", "0-3,7"),), (("cpuset.cpus", "0-3,7"),))]),
    ({"mems": "0"}, [("mems", (("cpuset.mems", "0"),), (("cpuset.mems", "0"),))]),
    ({"cpus": "", "mems": ""}, []),
    (
        {"idle": 1, "shares": 2},
        [
            ("shares", (("cpu.shares", "2"),), (("cpu.weight", "1"),)),
            ("idle", (("cpu.idle", "1"),), (("cpu.idle", "1"),)),
        ],
    ),
    (
        {"idle": 0, "shares": 2},
        [
            ("idle", (("cpu.idle", "0"),), (("cpu.idle", "0"),)),
            ("shares", (("cpu.shares", "2"),), (("cpu.weight", "1"),)),
        ],
    ),
]


@pytest.mark.parametrize(("cpu", "expected"), CPU)
def test_cpu(cpu: dict[str, Any], expected: list[tuple[str, Pairs | None, Pairs | None]]) -> None:
    planned = writes(cpu=cpu)
    assert forms(planned) == [(f"/cpu/{name}", v1, v2) for name, v1, v2 in expected]
    for step in planned:
        name = step.because.rpartition("/")[2]
        assert step.as_data()["controller"] == ("cpuset" if name in {"cpus", "mems"} else "cpu")


@pytest.mark.parametrize(
    ("cpu", "name"),
    [
        ({"quota": 999}, "quota"),
        ({"period": 999}, "period"),
        ({"period": 1_000_001}, "period"),
        ({"quota": 5000, "burst": 5001}, "burst"),
        ({"idle": 2}, "idle"),
        ({"idle": -1}, "idle"),
        ({"realtimeRuntime": -2}, "realtimeRuntime"),
        ({"cpus": "0-4294967295"}, "cpus"),
        ({"cpus": "a"}, "cpus"),
        ({"mems": "3-1"}, "mems"),
    ],
)
def test_cpu_that_cannot_be(cpu: dict[str, Any], name: str) -> None:
    assert refused(cpu=cpu) == [f"/cpu/{name}"]


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("0", True),
        ("0-0", True),
        ("0,2-4, 7", True),
        ("65535", True),
        ("", False),
        ("65536", False),
        (",", False),
        ("1,", False),
        ("-1", False),
        ("1-", False),
        ("1--2", False),
        ("1-2-3", False),
        ("1\n2", False),
        ("\u0663", False),
        ("\u00b2", False),
        ("1_0", False),
        ("0-" + "9" * 5000, False),
    ],
)
def test_lists_of_cpus_and_nodes(text: str, good: bool) -> None:
    assert (fault(text, NUMBER_MAX) == "") is good


@pytest.mark.parametrize(
    ("shares", "expected"),
    [(0, 1), (2, 1), (3, 2), (100, 17), (256, 35), (512, 59), (1024, 100), (262144, 10000), (1 << 40, 10000)],
)
def test_shares_become_weights(shares: int, expected: int) -> None:
    assert weight(shares) == expected


@given(st.integers(0, 300_000))
def test_more_shares_are_never_less_weight(shares: int) -> None:
    assert 1 <= weight(shares) <= weight(shares + 1) <= 10000


@pytest.mark.parametrize(("old", "new"), [(10, 1), (100, 910), (500, 4950), (1000, 10000)])
def test_block_weights(old: int, new: int) -> None:
    assert v2_weight(old) == new


@pytest.mark.parametrize(("limit", "text"), [(5, "5"), (0, "0"), (-1, "max")])
def test_pids(limit: int, text: str) -> None:
    assert forms(writes(pids={"limit": limit})) == [
        ("/pids/limit", (("pids.max", text),), (("pids.max", text),))
    ]
    assert refused(pids={"limit": -2}) == ["/pids/limit"]


def test_block_io_weights() -> None:
    planned = writes(
        blockIO={
            "weight": 500,
            "leafWeight": 10,
            "weightDevice": [{"major": 8, "minor": 0, "weight": 1000, "leafWeight": 300}],
        }
    )
    assert forms(planned) == [
        (
            "/blockIO/weight",
            (("blkio.weight", "500"), ("blkio.bfq.weight", "500")),
            (("io.bfq.weight", "500"), ("io.weight", "4950")),
        ),
        ("/blockIO/leafWeight", (("blkio.leaf_weight", "10"),), None),
        (
            "/blockIO/weightDevice/0/weight",
            (("blkio.weight_device", "8:0 1000"), ("blkio.bfq.weight_device", "8:0 1000")),
            (("io.bfq.weight", "8:0 1000"), ("io.weight", "8:0 10000")),
        ),
        ("/blockIO/weightDevice/0/leafWeight", (("blkio.leaf_weight_device", "8:0 300"),), None),
    ]
    for step in planned:
        assert isinstance(step, WriteCgroup)
        assert (step.controller, step.v1_controller, step.alternatives, step.append) == (
            "io",
            "blkio",
            True,
            False,
        )
    assert writes(blockIO={"weight": 0, "leafWeight": 0}) == []


@pytest.mark.parametrize(
    ("name", "file", "key"),
    [
        ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps"),
        ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps"),
        ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops"),
        ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops"),
    ],
)
def test_block_io_rates(name: str, file: str, key: str) -> None:
    devices = [{"major": 8, "minor": 0, "rate": 600}, {"major": 8, "minor": 16, "rate": 0}]
    (step,) = writes(blockIO={name: devices})
    assert step == WriteCgroup(
        because=f"{RESOURCES}/blockIO/{name}",
        controller="io",
        v1_controller="blkio",
        v1=((file, "8:0 600"), (file, "8:16 0")),
        v2=(("io.max", f"8:0 {key}=600"), ("io.max", f"8:16 {key}=max")),
        append=True,
    )
    assert refused(blockIO={name: [{"major": 8, "minor": 0}]}) == [f"/blockIO/{name}/0/rate"]
    assert refused(blockIO={name: [{"major": -1, "minor": 0, "rate": 1}]}) == [f"/blockIO/{name}/0/major"]


def test_block_io_that_cannot_be() -> None:
    device = {"major": 1, "minor": 1}
    assert refused(blockIO={"weight": 9}) == ["/blockIO/weight"]
    assert refused(blockIO={"leafWeight": 1001}) == ["/blockIO/leafWeight"]
    assert refused(blockIO={"weightDevice": [device]}) == ["/blockIO/weightDevice/0"]
    assert refused(blockIO={"weightDevice": [{**device, "weight": 9}]}) == ["/blockIO/weightDevice/0/weight"]
    wide = {"major": 1, "minor": 1 << 20, "weight": 10}
    assert refused(blockIO={"weightDevice": [wide]}) == ["/blockIO/weightDevice/0/minor"]


def test_huge_pages() -> None:
    limits = [{"pageSize": "2MB", "limit": 4096}, {"pageSize": "1GB", "limit": 0}]
    planned = writes(hugepageLimits=limits)
    assert planned[0] == WriteCgroup(
        because=f"{RESOURCES}/hugepageLimits/0",
        controller="hugetlb",
        v1=(("hugetlb.2MB.rsvd.limit_in_bytes", "4096"), ("hugetlb.2MB.limit_in_bytes", "4096")),
        v2=(("hugetlb.2MB.rsvd.max", "4096"), ("hugetlb.2MB.max", "4096")),
        alternatives=True,
    )
    assert [one.because[-1] for one in planned] == ["0", "0", "1", "1"]
    assert forms(planned[3:]) == [
        ("/hugepageLimits/1", (("hugetlb.1GB.limit_in_bytes", "0"),), (("hugetlb.1GB.max", "0"),))
    ]
    assert refused(hugepageLimits=[limits[0], limits[0]]) == ["/hugepageLimits/1/pageSize"]


def test_network() -> None:
    priorities = [{"name": "eth0", "priority": 5}, {"name": "eth1", "priority": 6}]
    assert forms(writes(network={"classID": 0x100001, "priorities": priorities})) == [
        ("/network/classID", (("net_cls.classid", "1048577"),), None),
        ("/network/priorities", (("net_prio.ifpriomap", "eth0 5"), ("net_prio.ifpriomap", "eth1 6")), None),
    ]
    assert forms(writes(network={"classID": 0})) == [("/network/classID", (("net_cls.classid", "0"),), ())]


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "a:b", "a\n", "x" * 16])
def test_interfaces_that_cannot_be(name: str) -> None:
    assert refused(network={"priorities": [{"name": name, "priority": 1}]}) == ["/network/priorities/0/name"]


def test_an_interface_has_one_priority() -> None:
    twice = [{"name": "eth0", "priority": 5}, {"name": "eth0", "priority": 6}]
    assert refused(network={"priorities": twice}) == ["/network/priorities/1/name"]


def test_unified() -> None:
    values = {"io.max": "8:0 rbps=1\n8:16 wiops=2\n", "memory.high": "1", "cgroup.max.depth": "3"}
    planned = writes(unified=values)
    assert forms(planned) == [
        ("/unified/io.max", None, (("io.max", "8:0 rbps=1"), ("io.max", "8:16 wiops=2"))),
        ("/unified/memory.high", None, (("memory.high", "1"),)),
        ("/unified/cgroup.max.depth", None, (("cgroup.max.depth", "3"),)),
    ]
    assert [step.as_data()["controller"] for step in planned] == ["io", "memory", ""]


@pytest.mark.parametrize(
    "key",
    [
        "memory",
        ".max",
        "memory.",
        "memory..max",
        "../memory.max",
        "memory.max/x",
        "memory.max\n",
        "a b.c",
        "x." + "y" * 255,
        "cgroup.procs",
        "cgroup.threads",
        "cgroup.subtree_control",
        "cgroup.kill",
        "cgroup.type",
        "cgroup.freeze",
    ],
)
def test_unified_keys_that_cannot_be(key: str) -> None:
    assert refused(unified={key: "1"}) == ["/unified/" + key.replace("/", "~1")]
    assert refused(unified={"memory.max": " \n"}) == ["/unified/memory.max"]


def test_unified_has_the_last_word() -> None:
    planned = writes(unified={"memory.max": "1"}, memory={"limit": 2}, pids={"limit": 3})
    assert planned[-1].because == f"{RESOURCES}/unified/memory.max"
