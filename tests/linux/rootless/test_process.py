"""What a user without privileges may ask of the kernel for a process, and what is refused before it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.linux.rootless.plain import Plain

from orlop_linux.kernel.scheduling import POLICIES, scheduling_of


def _pid(plain: Plain) -> int:
    return int(json.loads(plain.good("state", "box").out)["pid"])


def _start(plain: Plain, **process: Any) -> int:
    plain.write(plain.config(process=process))
    plain.good("create", "--bundle", str(plain.bundle), "box")
    plain.good("start", "box")
    return _pid(plain)


def test_what_takes_nothing_from_others_is_applied(plain: Plain) -> None:
    pid = _start(
        plain,
        scheduler={"policy": "SCHED_BATCH", "nice": 7, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
        ioPriority={"class": "IOPRIO_CLASS_IDLE", "priority": 0},
        oomScoreAdj=500,
        rlimits=[{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}],
    )
    found = scheduling_of(pid)
    assert (found.policy, found.nice) == (POLICIES["SCHED_BATCH"], 7)
    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "500\n"
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert next(line for line in limits.splitlines() if "open files" in line).split()[3:5] == ["10", "20"]
    plain.good("delete", "--force", "box")


def test_personality_and_memory_policy_need_no_privilege(plain: Plain) -> None:
    config = plain.script(
        "read -r line </proc/self/personality; echo $line",
        "read -r place line </proc/self/numa_maps; echo ${line%% *}",
    )
    config["linux"]["personality"] = {"domain": "LINUX32"}
    config["linux"]["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}
    assert plain.output_of(config) == ["00000008", "bind=static:0"]


@pytest.mark.parametrize(
    ("process", "pointer", "why"),
    [
        ({"scheduler": {"policy": "SCHED_FIFO", "priority": 1}}, "/process/scheduler", "SCHED_FIFO"),
        ({"scheduler": {"policy": "SCHED_OTHER", "nice": -1}}, "/process/scheduler", "SCHED_OTHER"),
        (
            {"scheduler": {"policy": "SCHED_DEADLINE", "runtime": 10**6, "deadline": 10**7}},
            "/process/scheduler",
            "SCHED_DEADLINE",
        ),
        (
            {"ioPriority": {"class": "IOPRIO_CLASS_RT", "priority": 0}},
            "/process/ioPriority",
            "IOPRIO_CLASS_RT, 0: operation not permitted",
        ),
        ({"oomScoreAdj": -1}, "/process/oomScoreAdj", "cannot set the OOM score to -1: permission denied"),
        (
            {"rlimits": [{"type": "RLIMIT_RTPRIO", "soft": 1, "hard": 99}]},
            "/process/rlimits/0/hard",
            "cannot raise the hard limit of RLIMIT_RTPRIO",
        ),
    ],
    ids=lambda one: next(iter(one)) if isinstance(one, dict) else "",
)
def test_what_would_take_from_others_is_refused(
    plain: Plain, process: dict[str, Any], pointer: str, why: str
) -> None:
    plain.refuses(plain.config(process=process), pointer, why)
