"""Plugin scheduling: policies, I/O priority, and the CPUs of processes that are executed later."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.plugins.support import config, objections, pointers, steps

from orlop_hookspecs.documents import vocabulary
from orlop_hookspecs.errors import DocumentError
from orlop_hookspecs.steps import SetIoPriority, SetScheduler
from orlop_linux.kernel.scheduling import FLAGS, IO_CLASSES, POLICIES
from orlop_linux.plugins.number_lists import ranges

SCHEDULER = "/process/scheduler"
DEADLINE = {"policy": "SCHED_DEADLINE", "runtime": 1024, "deadline": 1024}
RESET = ["SCHED_FLAG_RESET_ON_FORK"]


def scheduled(**wanted: Any) -> Any:
    return config(process={"scheduler": wanted})


def test_what_is_not_set_is_zero() -> None:
    assert steps("scheduling", scheduled(policy="SCHED_BATCH")) == [
        SetScheduler(because=SCHEDULER, policy="SCHED_BATCH")
    ]


def test_everything() -> None:
    wanted = config(
        process={
            "scheduler": {
                "policy": "SCHED_DEADLINE",
                "nice": -3,
                "flags": ["SCHED_FLAG_RECLAIM", "SCHED_FLAG_RESET_ON_FORK"],
                "runtime": 2000,
                "deadline": 3000,
                "period": 4000,
            },
            "ioPriority": {"class": "IOPRIO_CLASS_RT", "priority": 7},
            "execCPUAffinity": {"initial": "0-3,7", "final": "1"},
        }
    )
    assert steps("scheduling", wanted) == [
        SetScheduler(
            because=SCHEDULER,
            policy="SCHED_DEADLINE",
            nice=-3,
            flags=("SCHED_FLAG_RECLAIM", "SCHED_FLAG_RESET_ON_FORK"),
            runtime=2000,
            deadline=3000,
            period=4000,
        ),
        SetIoPriority(because="/process/ioPriority", class_="IOPRIO_CLASS_RT", priority=7),
    ]


def test_nothing_is_planned_for_a_config_that_asks_for_nothing() -> None:
    assert steps("scheduling", config()) == []
    assert steps("scheduling", config(process=None)) == []


def test_the_affinity_is_not_that_of_the_first_process() -> None:
    assert steps("scheduling", config(process={"execCPUAffinity": {"initial": "", "final": "0"}})) == []


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"policy": "SCHED_OTHER", "nice": 20}, ["nice"]),
        ({"policy": "SCHED_OTHER", "nice": -21}, ["nice"]),
        ({"policy": "SCHED_OTHER", "nice": 19, "priority": 0, "runtime": 0}, []),
        ({"policy": "SCHED_OTHER", "priority": 1}, ["priority"]),
        ({"policy": "SCHED_BATCH", "priority": -1}, ["priority"]),
        ({"policy": "SCHED_IDLE", "nice": -20}, []),
        ({"policy": "SCHED_ISO"}, []),
        ({"policy": "SCHED_FIFO"}, ["priority"]),
        ({"policy": "SCHED_FIFO", "priority": 0}, ["priority"]),
        ({"policy": "SCHED_RR", "priority": 100}, ["priority"]),
        ({"policy": "SCHED_RR", "priority": 99, "nice": 5}, []),
        ({"policy": "SCHED_FIFO", "priority": 1, "runtime": 5}, ["runtime"]),
        ({"policy": "SCHED_OTHER", "deadline": 5, "period": 6}, ["deadline", "period"]),
        (DEADLINE, []),
        (DEADLINE | {"priority": 5}, ["priority"]),
        (DEADLINE | {"runtime": 1023}, ["runtime"]),
        ({"policy": "SCHED_DEADLINE"}, ["runtime"]),
        (DEADLINE | {"deadline": 0}, ["deadline"]),
        (DEADLINE | {"runtime": 1025}, ["deadline"]),
        (DEADLINE | {"period": 1023}, ["period"]),
        (DEADLINE | {"deadline": 1 << 63}, ["deadline"]),
        (DEADLINE | {"period": 1 << 63}, ["period"]),
        (DEADLINE | {"period": (1 << 63) - 1}, []),
        (DEADLINE | {"flags": ["SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN", *RESET]}, []),
        ({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_RECLAIM"]}, ["flags/0"]),
        ({"policy": "SCHED_OTHER", "flags": [*RESET, "SCHED_FLAG_DL_OVERRUN"]}, ["flags/1"]),
        ({"policy": "SCHED_OTHER", "flags": RESET * 2}, ["flags/1"]),
        ({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_KEEP_POLICY"], "nice": 3}, []),
        ({"policy": "SCHED_FIFO", "flags": ["SCHED_FLAG_KEEP_PARAMS"]}, []),
        ({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_KEEP_PARAMS"], "nice": 0}, ["nice"]),
        ({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_UTIL_CLAMP_MIN"]}, []),
    ],
)
def test_values_and_contradictions(wanted: dict[str, Any], expected: list[str]) -> None:
    assert pointers("scheduling", scheduled(**wanted)) == [f"{SCHEDULER}/{name}" for name in expected]


def test_hooks_of_a_process_that_could_not_start_them() -> None:
    hooks = {"startContainer": [{"path": "/bin/true"}]}
    assert pointers("scheduling", config(process={"scheduler": DEADLINE}, hooks=hooks)) == [
        "/hooks/startContainer"
    ]
    assert (
        pointers("scheduling", config(process={"scheduler": DEADLINE | {"flags": RESET}}, hooks=hooks)) == []
    )
    others = {"createContainer": [{"path": "/bin/true"}], "poststart": [{"path": "/bin/true"}]}
    assert pointers("scheduling", config(process={"scheduler": DEADLINE}, hooks=others)) == []


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"class": "IOPRIO_CLASS_BE"}, ["/process/ioPriority/priority"]),
        ({"class": "IOPRIO_CLASS_BE", "priority": 8}, ["/process/ioPriority/priority"]),
        ({"class": "IOPRIO_CLASS_RT", "priority": -1}, ["/process/ioPriority/priority"]),
        ({"class": "IOPRIO_CLASS_IDLE", "priority": 4}, []),
    ],
)
def test_io_priorities(wanted: dict[str, Any], expected: list[str]) -> None:
    assert pointers("scheduling", config(process={"ioPriority": wanted})) == expected


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("scheduler", {"policy": "SCHED_DREAM"}),
        ("scheduler", {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_DREAM"]}),
        ("scheduler", {"policy": "SCHED_OTHER", "nice": "0"}),
        ("scheduler", {"policy": "SCHED_DEADLINE", "runtime": -1}),
        ("scheduler", {}),
        ("ioPriority", {"class": "IOPRIO_CLASS_NONE", "priority": 0}),
        ("ioPriority", {"priority": 0}),
        ("execCPUAffinity", {"initial": "zero"}),
        ("execCPUAffinity", {"final": 0}),
    ],
)
def test_wrong_types_and_words_are_no_document(section: str, value: Any) -> None:
    with pytest.raises(DocumentError) as caught:
        config(process={section: value})
    assert caught.value.pointer.startswith(f"/process/{section}")


@pytest.mark.parametrize("name", ["initial", "final"])
@pytest.mark.parametrize(
    "text",
    ["-", "1-", "-1", "1,", ",1", "3-1", "1-2-3", "65536", "0-4294967295", "9" * 100_000, "1 2", "0 - 3"],
)
def test_lists_of_cpus_that_are_none(name: str, text: str) -> None:
    began = time.process_time()
    (problem,) = objections("scheduling", config(process={"execCPUAffinity": {name: text}}))
    assert problem.pointer == f"/process/execCPUAffinity/{name}"
    assert time.process_time() - began < 1, "a hostile list is not counted out"


@pytest.mark.parametrize("text", ["0", "0-3,7", " 0-3 , 7 ", "65535", "0-65535", "1,1,1-2"])
def test_lists_of_cpus(text: str) -> None:
    assert pointers("scheduling", config(process={"execCPUAffinity": {"initial": text, "final": text}})) == []


@given(
    st.lists(
        st.tuples(st.integers(0, 999), st.integers(0, 999)).map(sorted).map(tuple), min_size=1, max_size=9
    )
)
def test_ranges_are_read_as_they_are_written(wanted: list[tuple[int, int]]) -> None:
    text = ",".join(f"{first}-{last}" if first != last else str(first) for first, last in wanted)
    assert ranges(text, 1000) == tuple(wanted)


def test_the_kernels_side_has_every_word_of_the_specification() -> None:
    assert tuple(POLICIES) == vocabulary.SCHEDULER_POLICIES
    assert tuple(FLAGS) == vocabulary.SCHEDULER_FLAGS
    assert tuple(IO_CLASSES) == vocabulary.IO_PRIORITY_CLASSES


def test_a_config_that_asks_for_nothing_imports_nothing() -> None:
    import subprocess

    script = (
        "import sys; from orlop_linux.plugins import scheduling, memory_policy, personality\n"
        "print([name for name in sys.modules if name.endswith(('scheduling_rules', 'number_lists'))])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
