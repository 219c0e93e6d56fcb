"""What ``events`` prints has the names, the nesting and the units of ``runc events``."""

from __future__ import annotations

from typing import Any

from orlop.cli.accounting import engines_statistics

NO_LIMIT = 18446744073709551615
SCALARS = dict.fromkeys(
    (
        *("cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page"),
        *("memory_spread_slab", "memory_pressure", "sched_load_balance", "sched_relax_domain_level"),
    ),
    0,
)
PRESSURE = {"some": {"avg10": 1.5, "avg60": 0.0, "avg300": 0.0, "total": 9}}


def test_version_1() -> None:
    found = engines_statistics(
        {
            "cpu": {
                "usage_usec": 5,
                "user_usec": 2,
                "system_usec": 3,
                "percpu_usec": [4, 1],
                "percpu_user_usec": [2, 0],
                "percpu_system_usec": [2, 1],
                "nr_periods": 7,
                "nr_throttled": 6,
                "throttled_usec": 8,
                "nice_usec": 1,
            },
            "cpuset": {"cpus": "0-2,4", "mems": "0", "settings": {"sched_relax_domain_level": -1}},
            "memory": {
                "current": 10,
                "peak": 20,
                "failures": 1,
                "max": 30,
                "memsw_current": 11,
                "memsw_peak": 21,
                "memsw_failures": 2,
                "memsw_max": None,
                "kernel_current": 4,
                "kernel_peak": 5,
                "kernel_failures": 0,
                "kernel_max": None,
                "kernel_tcp_current": 0,
                "kernel_tcp_failures": 0,
                "stat": {"cache": 3, "rss": 4},
                "events": {"oom_kill": 1},
            },
            "pids": {"current": 2, "max": 50},
            "io": {"devices": {"8:0": {"rbytes": 1, "wbytes": 2, "rios": 3}}},
            "hugetlb": {"2MB": {"current": 5, "failures": 1, "max": None}},
        }
    )
    assert found == {
        "cpu": {
            "usage": {
                "total": 5000,
                "percpu": [4000, 1000],
                "percpu_kernel": [2000, 1000],
                "percpu_user": [2000, 0],
                "kernel": 3000,
                "user": 2000,
            },
            "throttling": {"periods": 7, "throttledPeriods": 6, "throttledTime": 8000},
        },
        "cpuset": {"cpus": [0, 1, 2, 4], "mems": [0], **SCALARS, "sched_relax_domain_level": -1},
        "memory": {
            "cache": 3,
            "usage": {"limit": 30, "usage": 10, "max": 20, "failcnt": 1},
            "swap": {"limit": 9223372036854771712, "usage": 11, "max": 21, "failcnt": 2},
            "kernel": {"limit": 9223372036854771712, "usage": 4, "max": 5, "failcnt": 0},
            "kernelTCP": {"limit": 0, "failcnt": 0},
            "raw": {"cache": 3, "rss": 4},
        },
        "pids": {"current": 2, "limit": 50},
        "blkio": {
            "ioServiceBytesRecursive": [
                {"major": 8, "op": "Read", "value": 1},
                {"major": 8, "op": "Write", "value": 2},
            ],
            "ioServicedRecursive": [{"major": 8, "op": "Read", "value": 3}],
        },
        "hugetlb": {"2MB": {"usage": 5, "failcnt": 1}},
        "intel_rdt": {},
        "network_interfaces": None,
    }


def test_version_2() -> None:
    found = engines_statistics(
        {
            "cpu": {"usage_usec": 5, "user_usec": 2, "system_usec": 3},
            "cpuset": {"cpus": "", "mems": "0-1"},
            "memory": {
                "current": 10,
                "peak": 20,
                "max": 30,
                "swap_current": 1,
                "swap_max": 5,
                "stat": {"file": 3},
                "events": {"max": 7, "oom_kill": 1},
                "swap_events": {"fail": 2},
            },
            "pids": {"current": 2, "max": None},
            "pressure": {"cpu": PRESSURE, "memory": PRESSURE, "io": PRESSURE, "irq": PRESSURE},
            "rdma": {"current": {}},
        }
    )
    assert found["cpu"] == {
        "usage": {"total": 5000, "kernel": 3000, "user": 2000},
        "throttling": {},
        "psi": PRESSURE,
    }
    assert found["cpuset"] == {"mems": [0, 1], **SCALARS}
    assert found["memory"] == {
        "cache": 3,
        "usage": {"limit": 30, "usage": 10, "max": 20, "failcnt": 7},
        "swap": {"limit": 35, "usage": 11, "failcnt": 2},
        "kernel": {"limit": 0, "failcnt": 0},
        "kernelTCP": {"limit": 0, "failcnt": 0},
        "raw": {"file": 3},
        "psi": PRESSURE,
    }
    assert found["pids"] == {"current": 2}
    assert found["blkio"] == {"psi": PRESSURE}
    assert found["rdma"] == {"current": {}}
    assert "pressure" not in found


def test_no_limit_of_version_2() -> None:
    memory = engines_statistics({"memory": {"current": 1, "max": None, "swap_max": 5}})["memory"]
    assert (memory["usage"]["limit"], memory["swap"]["limit"]) == (NO_LIMIT, NO_LIMIT)


def test_nothing_is_accounted() -> None:
    found = engines_statistics({})
    assert found["cpu"] == {"usage": {"kernel": 0, "user": 0}, "throttling": {}}
    assert found["pids"] == found["blkio"] == found["hugetlb"] == found["intel_rdt"] == {}


def test_monitoring_of_the_cache_is_by_domain() -> None:
    domains: dict[str, Any] = {
        "10": {"llc_occupancy": 3},
        "2": {"llc_occupancy": 1, "mbm_total_bytes": 5, "mbm_local_bytes": 4},
    }
    found = engines_statistics({"resctrl": {"clos": "box", "monitoring": {"L3": domains}}})
    assert found["intel_rdt"] == {
        "mbm_stats": [{"mbm_total_bytes": 5, "mbm_local_bytes": 4}],
        "cmt_stats": [{"llc_occupancy": 1}, {"llc_occupancy": 3}],
    }


def test_figures_of_plugins_stay() -> None:
    found = engines_statistics({"example.com/gpu": {"used": 3}, "misc": {"current": {"res": 1}}})
    assert found["example.com/gpu"] == {"used": 3}
    assert found["misc"] == {"current": {"res": 1}}
