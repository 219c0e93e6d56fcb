"""Statistics read from directories that look like cgroups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orlop_linux.kernel.cgroups.stats import read_stats
from orlop_linux.live.cgroups import Group

if TYPE_CHECKING:
    from pathlib import Path


def group(root: Path, name: str, version: int, controllers: tuple[str, ...], files: dict[str, str]) -> Group:
    (root / name / "box").mkdir(parents=True)
    for file, text in {"cgroup.procs": "", **files}.items():
        (root / name / "box" / file).write_text(text)
    return Group(str(root / name), "/box", version, controllers)


V2 = {
    "cpu.stat": "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_throttled 4\n",
    "memory.current": "4096\n",
    "memory.peak": "8192\n",
    "memory.max": "max\n",
    "memory.stat": "anon 12\nfile 13\n",
    "memory.events": "oom 1\noom_kill 2\n",
    "pids.current": "3\n",
    "pids.max": "7\n",
    "io.stat": "8:0 rbytes=1 wbytes=2 rios=3 wios=4\n",
    "rdma.current": "mlx5_0 hca_handle=1 hca_object=2\n",
    "rdma.max": "mlx5_0 hca_handle=2 hca_object=max\n",
    "hugetlb.2MB.current": "2097152\n",
    "hugetlb.2MB.events": "max 5\n",
    "memory.pressure": "some avg10=1.50 avg60=0.00 avg300=0.00 total=99\n",
}


def test_v2(tmp_path: Path) -> None:
    stats = read_stats([group(tmp_path, "unified", 2, (), V2)])
    assert stats == {
        "cpu": {"usage_usec": 30, "user_usec": 20, "system_usec": 10, "nr_throttled": 4},
        "memory": {
            "current": 4096,
            "peak": 8192,
            "max": None,
            "stat": {"anon": 12, "file": 13},
            "events": {"oom": 1, "oom_kill": 2},
        },
        "pids": {"current": 3, "max": 7},
        "io": {"devices": {"8:0": {"rbytes": 1, "wbytes": 2, "rios": 3, "wios": 4}}},
        "rdma": {
            "current": {"mlx5_0": {"hca_handle": 1, "hca_object": 2}},
            "max": {"mlx5_0": {"hca_handle": 2, "hca_object": None}},
        },
        "hugetlb": {"2MB": {"current": 2097152, "failures": 5}},
        "pressure": {"memory": {"some": {"avg10": 1.5, "avg60": 0.0, "avg300": 0.0, "total": 99}}},
    }


MORE = {
    "cpuset.cpus.effective": "0-1\n",
    "cpuset.mems.effective": "0\n",
    "memory.swap.current": "5\n",
    "memory.swap.max": "max\n",
    "memory.high": "99\n",
    "memory.events.local": "oom 0\n",
    "pids.peak": "9\n",
    "pids.events": "max 2\n",
    "misc.current": "sev 1\n",
    "hugetlb.2MB.current": "0\n",
    "hugetlb.2MB.max": "4194304\n",
    "hugetlb.2MB.rsvd.current": "2097152\n",
    "hugetlb.2MB.rsvd.max": "max\n",
    "irq.pressure": "full avg10=0.00 avg60=0.00 avg300=0.00 total=1\n",
    "cpu.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=2\n",
    "io.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=3\n",
}


def test_every_controller_of_v2_is_there(tmp_path: Path) -> None:
    stats = read_stats([group(tmp_path, "unified", 2, (), MORE)])
    assert {name: row for name, row in stats.items() if name != "pressure"} == {
        "cpuset": {"cpus": "0-1", "mems": "0"},
        "memory": {
            "swap_current": 5,
            "swap_max": None,
            "high": 99,
            "events_local": {"oom": 0},
        },
        "pids": {"peak": 9, "events": {"max": 2}},
        "misc": {"current": {"sev": 1}},
        "hugetlb": {
            "2MB": {
                "current": 0,
                "failures": 0,
                "rsvd": {"current": 2097152},
                "max": 4194304,
                "rsvd_max": None,
            }
        },
    }
    assert {name: sum(line["total"] for line in row.values()) for name, row in stats["pressure"].items()} == {
        "cpu": 2,
        "io": 3,
        "irq": 1,
    }


def test_every_controller_of_v1_is_there(tmp_path: Path) -> None:
    stats = read_stats(
        [
            group(
                tmp_path,
                name,
                1,
                tuple(name.split(",")),
                files,
            )
            for name, files in {
                "cpu,cpuacct": {
                    "cpuacct.usage_percpu": "1000 2000 \n",
                    "cpu.stat": "nr_bursts 3\nburst_time 4000\n",
                },
                "cpuset": {"cpuset.effective_cpus": "0-1\n", "cpuset.mems": "0\n"},
                "memory": {"memory.kmem.usage_in_bytes": "7\n", "memory.kmem.tcp.failcnt": "1\n"},
                "pids": {"pids.events": "max 2\n"},
                "net_cls,net_prio": {"net_cls.classid": "5\n", "net_prio.ifpriomap": "lo 0\neth0 3\n"},
                "misc": {"misc.current": "sev 1\n"},
                "rdma": {"rdma.max": "mlx5_0 hca_handle=2 hca_object=max\n"},
                "hugetlb": {
                    "hugetlb.2MB.usage_in_bytes": "0\n",
                    "hugetlb.2MB.limit_in_bytes": "9223372036854771712\n",
                },
            }.items()
        ]
    )
    assert stats == {
        "cpu": {"percpu_usec": [1, 2], "nr_bursts": 3, "burst_usec": 4},
        "cpuset": {"cpus": "0-1", "mems": "0"},
        "memory": {"kernel_current": 7, "kernel_tcp_failures": 1},
        "pids": {"events": {"max": 2}},
        "net_cls": {"class_id": 5},
        "net_prio": {"priorities": {"lo": 0, "eth0": 3}},
        "misc": {"current": {"sev": 1}},
        "rdma": {"max": {"mlx5_0": {"hca_handle": 2, "hca_object": None}}},
        "hugetlb": {"2MB": {"current": 0, "failures": 0, "max": None}},
    }


def test_v1_has_the_names_and_units_of_v2(tmp_path: Path) -> None:
    stats = read_stats(
        [
            group(
                tmp_path,
                "cpu,cpuacct",
                1,
                ("cpu", "cpuacct"),
                {
                    "cpuacct.usage": "30000\n",
                    "cpuacct.stat": "user 2\nsystem 1\n",
                    "cpu.stat": "nr_periods 5\nnr_throttled 4\nthrottled_time 3000\n",
                },
            ),
            group(
                tmp_path,
                "memory",
                1,
                ("memory",),
                {
                    "memory.usage_in_bytes": "4096\n",
                    "memory.memsw.usage_in_bytes": "5096\n",
                    "memory.limit_in_bytes": "9223372036854771712\n",
                },
            ),
            group(
                tmp_path,
                "blkio",
                1,
                ("blkio",),
                {"blkio.throttle.io_service_bytes_recursive": "8:0 Read 1\n8:0 Write 2\nTotal 3\n"},
            ),
            group(tmp_path, "pids", 1, ("pids",), {"pids.current": "3\n", "pids.max": "max\n"}),
        ]
    )
    assert stats["cpu"] == {
        "usage_usec": 30,
        "user_usec": 20000,
        "system_usec": 10000,
        "nr_periods": 5,
        "nr_throttled": 4,
        "throttled_usec": 3,
    }
    assert stats["memory"] == {"current": 4096, "swap_current": 1000, "max": None, "memsw_current": 5096}
    assert stats["io"] == {"devices": {"8:0": {"rbytes": 1, "wbytes": 2}}}
    assert stats["pids"] == {"current": 3, "max": None}


@pytest.mark.parametrize("text", ["", "garbage", "x y z\n1", "-\n", "²"])
def test_noise_is_no_figure(tmp_path: Path, text: str) -> None:
    files = dict.fromkeys(("cpu.stat", "memory.current", "pids.current", "memory.stat"), text)
    assert read_stats([group(tmp_path, "unified", 2, (), files)]) == {}


def test_a_cgroup_that_is_gone_has_no_statistics(tmp_path: Path) -> None:
    (tmp_path / "unified").mkdir()
    assert read_stats([Group(str(tmp_path / "unified"), "/box", 2)]) == {}
