"""Rules of what a process keeps across execve(2): scheduler, I/O priority, domain, memory policy."""

from __future__ import annotations

from typing import Any

import pytest
from tests.rules.world import Config, World, rule

from orlop_hookspecs.errors import OrlopError


def _traits(w: World, change: Config | None = None) -> dict[str, str]:
    status, text = w.run("/bin/traits", change=change)
    assert status == 0, text
    return dict(line.split("=", 1) for line in text.splitlines())


def _scheduler(**wanted: Any) -> Config:
    return {"process": {"scheduler": wanted}}


def _refused(w: World, change: Config, pointer: str, match: str) -> None:
    with pytest.raises(OrlopError, match=match) as caught:
        w.create("c", change=change)
    assert caught.value.pointer == pointer
    assert w.left() == []


@rule
def without_a_scheduler_the_program_has_the_callers(w: World) -> None:
    assert _traits(w) == {
        "policy": "0",
        "priority": "0",
        "nice": "0",
        "domain": "00000000",
        "machine": "x86_64",
        "memory": "default",
    }


@rule
def the_program_is_scheduled_as_the_config_says(w: World) -> None:
    for policy, number in (("SCHED_OTHER", 0), ("SCHED_BATCH", 3), ("SCHED_IDLE", 5)):
        found = _traits(w, _scheduler(policy=policy, nice=7))
        assert (found["policy"], found["nice"], found["priority"]) == (str(number), "7", "0"), policy


@rule
def a_deadline_is_set_and_children_are_without_it(w: World) -> None:
    times = {"runtime": 10_000_000, "deadline": 30_000_000, "period": 50_000_000}
    found = _traits(w, _scheduler(policy="SCHED_DEADLINE", flags=["SCHED_FLAG_RESET_ON_FORK"], **times))
    assert (found["policy"], found["priority"]) == ("6", "0")


@rule
def a_deadline_without_a_way_to_fork_is_the_programs_own_affair(w: World) -> None:
    times = {"runtime": 10_000_000, "deadline": 30_000_000}
    assert w.run("exiter", "3", change=_scheduler(policy="SCHED_DEADLINE", **times))[0] == 3


@rule
def a_deadline_beyond_the_kernels_is_refused(w: World) -> None:
    year = 365 * 86400 * 10**9
    change = _scheduler(policy="SCHED_DEADLINE", runtime=1024, deadline=year)
    _refused(w, change, "/process/scheduler", "SCHED_DEADLINE")


@rule
def a_policy_that_the_kernel_lacks_is_refused(w: World) -> None:
    _refused(w, _scheduler(policy="SCHED_ISO"), "/process/scheduler", "SCHED_ISO")


@rule
def a_flag_that_keeps_another_policy_is_refused(w: World) -> None:
    kept = ["SCHED_FLAG_KEEP_POLICY"]
    assert _traits(w, _scheduler(policy="SCHED_OTHER", nice=3, flags=kept))["nice"] == "3"
    change = _scheduler(policy="SCHED_BATCH", flags=kept)
    _refused(w, change, "/process/scheduler", "the flags keep the policy that the process has, SCHED_OTHER")


@rule
def hooks_that_a_deadline_could_not_start_are_refused(w: World) -> None:
    change = _scheduler(policy="SCHED_DEADLINE", runtime=10_000_000, deadline=30_000_000)
    change["hooks"] = {"startContainer": [{"path": "/bin/true"}]}
    _refused(w, change, "/hooks/startContainer", "SCHED_FLAG_RESET_ON_FORK")


@rule
def create_container_hooks_run_before_the_deadline_is_there(w: World) -> None:
    times = {"runtime": 10_000_000, "deadline": 30_000_000}
    change = _scheduler(policy="SCHED_DEADLINE", **times)
    bundle = w.hooked({"createContainer": {}}, "/bin/exiter", "0", change=change)
    w.create("c", bundle=bundle).start()
    w.settle("c")
    assert w.events(bundle) == ["createContainer"]


@rule
def the_exec_affinity_is_accepted_and_leaves_the_first_process_alone(w: World) -> None:
    change = {"process": {"execCPUAffinity": {"initial": "0", "final": "0"}}}
    assert w.run("exiter", "0", change=change)[0] == 0


@rule
def the_execution_domain_is_set(w: World) -> None:
    found = _traits(w, {"linux": {"personality": {"domain": "LINUX32"}}})
    assert (found["domain"], found["machine"]) == ("00000008", "i686")
    found = _traits(w, {"linux": {"personality": {"domain": "LINUX"}}})
    assert (found["domain"], found["machine"]) == ("00000000", "x86_64")


@rule
def the_memory_policy_is_set(w: World) -> None:
    for mode, nodes, flags, shown in (
        ("MPOL_BIND", "0", [], "bind:0"),
        ("MPOL_PREFERRED", "0", [], "prefer:0"),
        ("MPOL_INTERLEAVE", "0", [], "interleave:0"),
        ("MPOL_PREFERRED_MANY", "0", [], "prefer (many):0"),
        ("MPOL_LOCAL", None, [], "local"),
        ("MPOL_PREFERRED", None, [], "local"),
        ("MPOL_DEFAULT", None, [], "default"),
        ("MPOL_BIND", "0", ["MPOL_F_STATIC_NODES"], "bind=static:0"),
        ("MPOL_BIND", "0", ["MPOL_F_RELATIVE_NODES"], "bind=relative:0"),
    ):
        policy: dict[str, Any] = {"mode": mode, "flags": flags} | ({"nodes": nodes} if nodes else {})
        assert _traits(w, {"linux": {"memoryPolicy": policy}})["memory"] == shown, policy


@rule
def memory_nodes_that_are_not_all_there_are_refused(w: World) -> None:
    for nodes in ("0,1000", "1000"):
        for mode in ("MPOL_BIND", "MPOL_INTERLEAVE"):
            change = {"linux": {"memoryPolicy": {"mode": mode, "nodes": nodes}}}
            _refused(w, change, "/linux/memoryPolicy", mode)
