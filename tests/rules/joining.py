"""Rules of processes that join a container: where they are, as whom, how they end, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from tests.rules.world import PATIENCE, Config, World, merge, rule

from orlop_hookspecs.errors import OrlopError, StateError


def _facts(w: World, container: str, **fields: Any) -> dict[str, str]:
    status, text = w.execute(container, "/bin/facts", **fields)
    assert status == 0, text
    return dict(line.split("=", 1) for line in text.splitlines())


def _document(*args: str, change: Config | None = None) -> Config:
    made: Config = merge({"cwd": "/", "args": list(args), "env": ["PATH=/bin:/usr/bin"]}, change or {})
    return made


def _refused(w: World, container: str, match: str, **fields: Any) -> OrlopError:
    """Let a process be refused; nothing of it is left, and the container has noticed nothing."""
    before = w.containers[container].processes()
    with pytest.raises(OrlopError, match=match) as caught:
        w.join(container, **fields)
    assert (caught.value.act, caught.value.container) == ("exec", container)
    assert w.containers[container].processes() == before
    return caught.value


@rule
def a_process_joins_the_namespaces_of_its_container(w: World) -> None:
    w.start("c")
    _, first = w.execute("c", "/bin/namespaces")
    _, second = w.execute("c", "/bin/namespaces")
    assert first == second
    other = w.run("/bin/namespaces")[1].splitlines()
    assert not set(first.splitlines()) & {line for line in other if not line.startswith("cgroup")}
    found = _facts(w, "c")
    assert (found["hostname"], found["ppid"], found["cwd"]) == ("rules", "0", "/")
    assert int(found["pid"]) > 1


@rule
def a_program_is_otherwise_like_the_containers_own(w: World) -> None:
    change = {
        "process": {
            "user": {"uid": 0, "gid": 5, "additionalGids": [6], "umask": 0o27},
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}],
            "oomScoreAdj": 300,
        }
    }
    w.start("c", change=change)
    found = _facts(w, "c")
    assert found["groups"] == "5 6"
    assert (found["umask"], found["nofile"], found["oom"]) == ("0027", "100", "300")
    assert (found["env_TERM"], found["NoNewPrivs"]) == ("dumb", "1")
    own = w.facts(change=change)
    caps = {name: value for name, value in own.items() if name.startswith("Cap")}
    assert caps.items() <= found.items()


@rule
def flags_change_the_process_and_not_its_confinement(w: World) -> None:
    w.start("c")
    found = _facts(w, "c", cwd="/tmp", env=["A=1", "TERM=other"], uid=7, gid=8, groups=[9])
    assert (found["cwd"], found["env_A"], found["env_TERM"]) == ("/tmp", "1", "other")
    assert (found["uid"], found["gid"], found["groups"]) == ("7", "8", "8 9")
    assert (found["CapEff"], found["NoNewPrivs"]) == ("0" * 16, "1")
    wider = _facts(w, "c", capabilities=["CAP_CHOWN"])
    assert int(wider["CapEff"], 16) == int(_facts(w, "c")["CapEff"], 16) | 1
    assert wider["CapInh"] == "0" * 16


@rule
def a_document_leaves_its_confinement_to_the_container(w: World) -> None:
    filtered = {"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}}}
    w.start("c", change=merge(filtered, {"process": {"user": {"umask": 0o77}}}))
    found = _facts(w, "c", process=_document("/bin/facts", change={"user": {"uid": 3, "gid": 4}}))
    own = _facts(w, "c")
    for name in ("CapBnd", "NoNewPrivs", "Seccomp"):
        assert found[name] == own[name]
    assert (found["uid"], found["gid"], found["umask"], found["Seccomp"]) == ("3", "4", "0077", "2")
    assert "env_TERM" not in found
    bare = _document("/bin/facts", change={"noNewPrivileges": False, "capabilities": {}})
    assert _facts(w, "c", process=bare)["NoNewPrivs"] == "0"


@rule
def the_exit_status_is_the_programs_own(w: World) -> None:
    w.start("c")
    assert [w.execute("c", "/bin/exiter", str(number))[0] for number in (0, 7, 255)] == [0, 7, 255]
    made = w.join("c", "/bin/sleeper")
    made.kill("KILL")
    assert made.wait(timeout=PATIENCE) == 128 + 9
    with pytest.raises(StateError):
        made.kill("TERM")
    assert w.containers["c"].status == "running"


@rule
def joined_processes_are_processes_of_the_container(w: World) -> None:
    one = w.start("c")
    made = [w.join("c", "/bin/sleeper") for _ in range(3)]
    assert set(one.processes()) >= {one.pid, *(process.pid for process in made)}
    one.pause()
    assert one.status == "paused"
    one.resume()
    one.kill("KILL", everything=True)
    assert [process.wait(timeout=PATIENCE) for process in made] == [128 + 9] * 3
    w.settle("c")
    assert one.status == "stopped"


@rule
def a_forced_delete_ends_joined_processes(w: World) -> None:
    one = w.start("c")
    made = w.join("c", "/bin/sleeper")
    one.delete(force=True)
    assert made.wait(timeout=PATIENCE) == 128 + 9
    assert not w.alive(made.pid)
    assert w.left() == []


@rule
def the_end_of_the_container_is_the_end_of_its_processes(w: World) -> None:
    one = w.start("c")
    made = w.join("c", "/bin/sleeper")
    one.kill("KILL")
    assert made.wait(timeout=PATIENCE) == 128 + 9


@rule
def a_container_that_waits_for_its_start_can_be_joined(w: World) -> None:
    one = w.create("c")
    assert w.execute("c", "/bin/exiter", "3")[0] == 3
    assert one.status == "created"
    one.start()


@rule
def a_paused_container_is_not_joined(w: World) -> None:
    one = w.start("c")
    one.pause()
    error = _refused(w, "c", "cannot exec in a paused container", process=_document("/bin/exiter", "0"))
    assert isinstance(error, StateError)
    one.resume()
    assert w.execute("c", "/bin/exiter", "0")[0] == 0


@rule
def a_stopped_container_is_not_joined(w: World) -> None:
    one = w.start("c")
    one.kill("KILL")
    w.settle("c")
    assert isinstance(
        _refused(w, "c", "cannot exec in a stopped container", process=_document("/bin/exiter", "0")),
        StateError,
    )


@rule
def a_program_that_cannot_be_run_is_refused_as_engines_know_it(w: World) -> None:
    w.start("c")
    for name, match in (
        ("nope", r'exec: "nope": executable file not found in \$PATH'),
        ("/nope", 'exec: "/nope": stat /nope: no such file or directory'),
        ("/etc/plain", 'exec: "/etc/plain": permission denied'),
        ("/etc", 'exec: "/etc": is a directory: permission denied'),
    ):
        _refused(w, "c", match, process=_document(name))


@rule
def a_working_directory_that_is_not_there_is_not_made(w: World) -> None:
    w.start("c")
    for cwd, why in (("/not/there", "no such file or directory"), ("/etc/plain", "not a directory")):
        _refused(w, "c", why, process=_document("/bin/exiter", "0", change={"cwd": cwd}))
    assert "not" not in w.execute("c", "/bin/names", "/")[1].split()


@rule
def a_process_is_bound_to_the_cpus_of_its_affinity(w: World) -> None:
    affinity = {"execCPUAffinity": {"initial": "0-1", "final": "1"}}
    w.start("c", change={"process": affinity})
    # It is of processes that are executed, never of the first one (config.md, execCPUAffinity).
    assert w.facts(change={"process": affinity})["Cpus_allowed_list"] == w.facts()["Cpus_allowed_list"]
    assert _facts(w, "c")["Cpus_allowed_list"] == "1"
    own = _document("/bin/facts", change={"execCPUAffinity": {"final": "0"}})
    assert _facts(w, "c", process=own)["Cpus_allowed_list"] == "0"


@rule
def cpus_that_the_kernel_would_leave_out_are_refused(w: World) -> None:
    w.start("c", change={"linux": {"resources": {"cpu": {"cpus": "0"}}}})
    for when, cpus in (("initial", "0,4095"), ("final", "0,4095"), ("final", "1"), ("final", "0-1")):
        change = {"execCPUAffinity": {when: cpus}}
        error = _refused(
            w, "c", "lacks one of the CPUs", process=_document("/bin/exiter", "0", change=change)
        )
        assert error.pointer == f"/process/execCPUAffinity/{when}"
    # The first ones are of the time before the cpuset counts.
    outside = _document("/bin/facts", change={"execCPUAffinity": {"initial": "1"}})
    assert _facts(w, "c", process=outside)["Cpus_allowed_list"] == "0"


@rule
def a_joined_process_has_a_scheduler_and_a_score_of_its_own(w: World) -> None:
    w.start("c")
    change = {
        "scheduler": {"policy": "SCHED_BATCH", "nice": 4},
        "oomScoreAdj": 700,
    }
    status, text = w.execute("c", process=_document("/bin/traits", change=change))
    assert status == 0, text
    found = dict(line.split("=", 1) for line in text.splitlines())
    assert (found["policy"], found["nice"]) == ("3", "4")
    assert _facts(w, "c", process=_document("/bin/facts", change=change))["oom"] == "700"
    assert _facts(w, "c")["oom"] != "700"
