"""Cases of scheduling, execution domain and memory policy (config.md, Linux Process; config-linux.md)."""

from __future__ import annotations

import os
import re

from tests.properties.case import Seen, case

NICE = "capability:CAP_SYS_NICE"


def _batch(seen: Seen) -> None:
    from orlop_linux.kernel.scheduling import FLAGS, POLICIES, scheduling_of

    found = scheduling_of(seen.pid)
    assert (found.policy, found.nice) == (POLICIES["SCHED_BATCH"], 5)
    assert found.flags == FLAGS["SCHED_FLAG_RESET_ON_FORK"]


case(
    "process.scheduler.policy",
    "process.scheduler.nice",
    "process.scheduler.flags[]",
    config={
        "process": {"scheduler": {"policy": "SCHED_BATCH", "nice": 5, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}}
    },
    host=_batch,
)


def _real_time(seen: Seen) -> None:
    from orlop_linux.kernel.scheduling import POLICIES, scheduling_of

    found = scheduling_of(seen.pid)
    assert (found.policy, found.priority) == (POLICIES["SCHED_RR"], 7)
    assert os.sched_getparam(seen.pid).sched_priority == 7


case(
    "process.scheduler.priority",
    config={
        "process": {"scheduler": {"policy": "SCHED_RR", "priority": 7}},
        # Where real time is shared out by cgroup, a group has none of it by itself; the top one has.
        "linux": {
            "cgroupsPath": f"/orlop-real-time-process-{os.getpid()}",
            "resources": {"cpu": {"realtimeRuntime": 10000}},
        },
    },
    host=_real_time,
    needs=("rt-group", NICE),
    alone=True,
)


def _deadline(seen: Seen) -> None:
    from orlop_linux.kernel.scheduling import POLICIES, scheduling_of

    found = scheduling_of(seen.pid)
    assert found.policy == POLICIES["SCHED_DEADLINE"]
    assert (found.runtime, found.deadline, found.period) == (2_000_000, 30_000_000, 40_000_000)


case(
    "process.scheduler.runtime",
    "process.scheduler.deadline",
    "process.scheduler.period",
    config={
        "process": {
            "scheduler": {
                "policy": "SCHED_DEADLINE",
                "flags": ["SCHED_FLAG_RESET_ON_FORK"],
                "runtime": 2_000_000,
                "deadline": 30_000_000,
                "period": 40_000_000,
            }
        }
    },
    host=_deadline,
    needs=(NICE,),
    alone=True,
)
case(
    "process.ioPriority.class",
    "process.ioPriority.priority",
    config={"process": {"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 6}}},
    probe="busybox ionice",
    shows="best-effort: prio 6",
)


def _all_cpus(seen: Seen) -> None:
    assert os.sched_getaffinity(seen.pid) == os.sched_getaffinity(0)


case(
    "process.execCPUAffinity.initial",
    "process.execCPUAffinity.final",
    config={"process": {"execCPUAffinity": {"initial": "0", "final": "0"}}},
    host=_all_cpus,
    alone=True,
    name="process.execCPUAffinity is not the first process's",
)
case(
    "linux.personality.domain",
    config={"linux": {"personality": {"domain": "LINUX32"}}},
    probe="busybox uname -m; cat /proc/self/personality",
    shows=re.compile(r"(i686|armv[78]l|.*)\n00000008"),
)
case(
    "linux.memoryPolicy.mode",
    "linux.memoryPolicy.nodes",
    "linux.memoryPolicy.flags[]",
    config={"linux": {"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}}},
    probe="busybox sed -n '1s/^[0-9a-f]* \\([^ ]*\\) .*/\\1/p' /proc/self/numa_maps",
    shows="bind=static:0",
)
