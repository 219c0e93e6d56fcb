"""Rules of the process: what the program sees of itself (config.md, Process; config-linux.md, Namespaces)."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from tests.rules.world import World, rule

from orlop_hookspecs.errors import OrlopError

_KILL = 1 << 5
_BIND = 1 << 10
_AUDIT = 1 << 29


@rule
def the_program_gets_its_arguments(w: World) -> None:
    assert w.facts("one", "two  three", "-x")["args"] == "one two  three -x"


@rule
def the_program_gets_exactly_its_environment(w: World) -> None:
    env = ["PATH=/bin", "HOME=/data", "EMPTY=", "A=b=c", "SPACE=a b"]
    facts = w.facts(change={"process": {"env": env}})
    assert {name: value for name, value in facts.items() if name.startswith("env_")} == {
        "env_PATH": "/bin",
        "env_HOME": "/data",
        "env_EMPTY": "",
        "env_A": "b=c",
        "env_SPACE": "a b",
    }


@rule
def a_missing_home_comes_from_the_image(w: World) -> None:
    bundle = w.bundle("/bin/facts", change={"process": {"user": {"uid": 12, "gid": 0}}})
    (bundle / "rootfs/etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nfoo:x:12:0::/home/foo:/bin/sh\n")
    w.create("c", bundle=bundle).start()
    w.settle("c")
    assert "env_HOME=/home/foo\n" in w.output("c")
    assert w.facts()["env_HOME"] == "/"


@rule
def a_missing_working_directory_is_made(w: World) -> None:
    assert w.facts(change={"process": {"cwd": "/new/place"}})["cwd"] == "/new/place"


@rule
def root_enters_a_working_directory_that_the_user_may_not_enter(w: World) -> None:
    change = {"process": {"cwd": "/private", "user": {"uid": 12, "gid": 12}}}
    bundle = w.bundle("/bin/facts", change=change)
    (bundle / "rootfs/private").mkdir(mode=0o700)
    w.create("c", bundle=bundle).start()
    w.settle("c")
    assert "cwd=/private\n" in w.output("c")


@rule
def without_a_path_programs_are_found_in_the_usual_places(w: World) -> None:
    assert w.run("exiter", "6", change={"process": {"env": []}})[0] == 6


@rule
def the_program_starts_in_its_directory(w: World) -> None:
    assert w.facts(change={"process": {"cwd": "/usr/bin"}})["cwd"] == "/usr/bin"


@rule
def the_program_is_root_by_default(w: World) -> None:
    facts = w.facts()
    assert (facts["uid"], facts["gid"]) == ("0", "0")


@rule
def the_program_gets_its_user_and_groups(w: World) -> None:
    facts = w.facts(change={"process": {"user": {"uid": 1000, "gid": 100, "additionalGids": [7, 8]}}})
    assert (facts["uid"], facts["gid"], facts["groups"]) == ("1000", "100", "100 7 8")


@rule
def the_groups_of_the_caller_are_kept_for_who_asks(w: World) -> None:
    asking = {"annotations": {"run.oci.keep_original_groups": "1"}}
    user = {"process": {"user": {"uid": 1000, "gid": 100}}}
    with w.caller_groups(7, 4321):
        assert w.facts(change=user)["groups"] == "100"
        assert w.facts(change=user | asking)["groups"] == "100 7 4321"
        w.start("c", change=user | asking)
        assert "groups=100 7 4321\n" in w.execute("c", "/bin/facts")[1]


@rule
def the_program_gets_its_umask(w: World) -> None:
    assert w.facts(change={"process": {"user": {"umask": 0o077}}})["umask"] == "0077"


@rule
def the_default_umask_is_0022(w: World) -> None:
    assert w.facts()["umask"] == "0022"


@rule
def the_program_is_the_first_process_of_its_pid_namespace(w: World) -> None:
    facts = w.facts()
    assert (facts["pid"], facts["ppid"]) == ("1", "0")


@rule
def without_a_pid_namespace_the_program_has_the_hosts_pid(w: World) -> None:
    c = w.create("c", "/bin/facts", change={"linux": {"namespaces": [{"type": "mount"}]}, "hostname": None})
    pid = c.state()["pid"]
    c.start()
    w.settle("c")
    assert f"pid={pid}\n" in w.output("c")


@rule
def the_hostname_is_set(w: World) -> None:
    before = w.hostname()
    assert w.facts(change={"hostname": "in-the-hold"})["hostname"] == "in-the-hold"
    assert w.hostname() == before


@rule
def no_new_privileges_is_set_when_asked_for(w: World) -> None:
    assert w.facts(change={"process": {"noNewPrivileges": True}})["NoNewPrivs"] == "1"
    assert w.facts(change={"process": {"noNewPrivileges": False}})["NoNewPrivs"] == "0"


@rule
def root_has_the_capabilities_of_the_config(w: World) -> None:
    facts = w.facts()
    wanted = f"{_KILL | _BIND | _AUDIT:016x}"
    assert (facts["CapEff"], facts["CapPrm"], facts["CapBnd"]) == (wanted, wanted, wanted)
    assert (facts["CapInh"], facts["CapAmb"]) == ("0" * 16, "0" * 16)


@rule
def others_have_no_capabilities_without_ambient_ones(w: World) -> None:
    facts = w.facts(change={"process": {"user": {"uid": 1000, "gid": 1000}}})
    assert facts["CapEff"] == "0" * 16
    assert facts["CapBnd"] == f"{_KILL | _BIND | _AUDIT:016x}"


@rule
def ambient_capabilities_survive_the_user_and_the_exec(w: World) -> None:
    kinds = ("bounding", "effective", "permitted", "inheritable", "ambient")
    sets = {kind: ["CAP_NET_BIND_SERVICE"] for kind in kinds}
    facts = w.facts(change={"process": {"user": {"uid": 1000, "gid": 1000}, "capabilities": sets}})
    assert (facts["CapEff"], facts["CapAmb"]) == (f"{_BIND:016x}", f"{_BIND:016x}")


@rule
def without_capabilities_there_are_none(w: World) -> None:
    facts = w.facts(change={"process": {"capabilities": {"bounding": [], "effective": [], "permitted": []}}})
    assert (facts["CapEff"], facts["CapBnd"]) == ("0" * 16, "0" * 16)


@rule
def a_capability_that_is_not_known_is_left_out_with_a_warning(w: World) -> None:
    sets = {
        "bounding": ["CAP_DREAM", "CAP_KILL"],
        "effective": ["CAP_KILL", "dream\n"],
        "permitted": ["CAP_KILL", "CAP_DREAM"],
        "inheritable": [""],
        "ambient": ["CAP_DREAM"],
    }
    facts = w.facts(change={"process": {"capabilities": sets}})
    assert (facts["CapEff"], facts["CapBnd"]) == (f"{_KILL:016x}", f"{_KILL:016x}")
    assert (facts["CapInh"], facts["CapAmb"]) == ("0" * 16, "0" * 16)
    why, at = "is left out: no capability of this name is known", "/process/capabilities"
    assert [text.partition(": ")[2] for text in w.warnings] == [
        f"capability 'CAP_DREAM' {why} ({at}/bounding/0, {at}/permitted/1, {at}/ambient/0)",
        f"capability 'dream\\n' {why} ({at}/effective/1)",
        f"capability '' {why} ({at}/inheritable/0)",
    ]


@rule
def an_ambient_capability_that_no_kernel_raises_is_left_out_with_a_warning(w: World) -> None:
    one = ["CAP_KILL"]
    sets = {"bounding": one, "permitted": one, "effective": [], "ambient": one}
    assert w.facts(change={"process": {"capabilities": sets}})["CapAmb"] == "0" * 16
    (text,) = w.warnings
    assert text.endswith(
        "capability CAP_KILL is left out: it is not both permitted and inheritable"
        " (/process/capabilities/ambient/0)"
    )


@rule
def resource_limits_are_set(w: World) -> None:
    limits = [{"type": "RLIMIT_NOFILE", "soft": 123, "hard": 456}]
    assert w.facts(change={"process": {"rlimits": limits}})["nofile"] == "123"


@rule
def a_doubled_resource_limit_is_refused(w: World) -> None:
    limits = [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}] * 2
    with pytest.raises(OrlopError):
        w.create("c", change={"process": {"rlimits": limits}})
    assert w.left() == []


@rule
def the_oom_score_is_set(w: World) -> None:
    assert w.facts(change={"process": {"oomScoreAdj": 500}})["oom"] == "500"


@rule
def without_a_filter_seccomp_is_off(w: World) -> None:
    assert w.facts()["Seccomp"] == "0"


@rule
def a_seccomp_filter_refuses_with_its_errno(w: World) -> None:
    seccomp = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
    }
    assert w.run("/bin/maker", "/data/x")[1] == "made\n"
    assert w.run("/bin/maker", "/data/x", change={"linux": {"seccomp": seccomp}})[1] == "refused\n"
    assert w.facts(change={"linux": {"seccomp": seccomp}})["Seccomp"] == "2"


@rule
def a_seccomp_filter_works_without_no_new_privileges(w: World) -> None:
    seccomp = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
    }
    change = {"linux": {"seccomp": seccomp}, "process": {"noNewPrivileges": False}}
    assert w.run("/bin/maker", "/data/x", change=change)[1] == "refused\n"


def _notifying(path: str, **more: Any) -> dict[str, Any]:
    rules = [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}]
    listener = {"listenerPath": path, "listenerMetadata": "rules"}
    seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules, **listener}
    return {"linux": {"seccomp": seccomp}, **more}


@rule
def a_seccomp_agent_decides(w: World) -> None:
    for late in (True, False):
        for number, expected in ((0, "made\n"), (1, "refused\n")):
            with w.agent(number) as (path, _):
                change = _notifying(path, process={"noNewPrivileges": late})
                assert w.run("/bin/maker", f"/data/{late}", change=change)[1] == expected


@rule
def a_seccomp_agent_is_told_of_the_container(w: World) -> None:
    with w.agent(0) as (path, first_state):
        made = w.start("c", change=_notifying(path, annotations={"org.example": "rules"}))
        pid, state = made.pid, first_state()
        assert set(state) == {"ociVersion", "fds", "pid", "metadata", "state"}
        assert (state["fds"], state["pid"], state["metadata"]) == (["seccompFd"], pid, "rules")
        inner = state["state"]
        assert (inner["id"], inner["status"], inner["pid"]) == ("c", "created", pid)
        assert inner["annotations"] == {"org.example": "rules"}
        made.delete(force=True)


@rule
def a_container_can_be_started_again_when_its_seccomp_agent_is_back(w: World) -> None:
    with w.agent(0) as (path, _):
        made = w.create("c", "/bin/maker", "/data/x", change=_notifying(path))
    with pytest.raises(OrlopError, match="seccomp agent"):
        made.start()
    assert made.status == "created"
    with w.agent(0):
        made.start()
        w.settle("c")
    assert w.output("c") == "made\n"


@rule
def without_a_seccomp_agent_nothing_is_created(w: World) -> None:
    with w.agent(0) as (path, _):
        bundle = w.bundle(change=_notifying(path))
    with pytest.raises(OrlopError, match="seccomp agent") as caught:
        w.create("c", bundle=bundle)
    assert caught.value.pointer == "/linux/seccomp/listenerPath"
    assert w.left() == []


@rule
def setting_the_hostname_needs_a_capability(w: World) -> None:
    assert w.run("/bin/rename-host", "other")[1] == "refused\nrules\n"


@rule
def a_relative_executable_is_found_by_path(w: World) -> None:
    assert w.run("exiter", "6")[0] == 6


@rule
def a_missing_executable_is_refused_at_create(w: World) -> None:
    with pytest.raises(OrlopError, match=r'exec: "absent": executable file not found in \$PATH'):
        w.create("c", "absent")
    with pytest.raises(OrlopError, match='exec: "/bin/absent": stat /bin/absent: no such file or directory'):
        w.create("c", "/bin/absent")
    assert w.left() == []


@rule
def a_directory_is_no_executable(w: World) -> None:
    with pytest.raises(OrlopError, match='exec: "/etc": is a directory: permission denied'):
        w.create("c", "/etc")
    assert w.left() == []


@rule
def a_file_without_x_is_no_executable(w: World) -> None:
    with pytest.raises(OrlopError, match="permission denied"):
        w.create("c", "/etc/plain")
    assert w.left() == []


@rule
def a_process_without_arguments_is_refused(w: World) -> None:
    with pytest.raises(OrlopError):
        w.create("c", change={"process": {"args": []}})
    assert w.left() == []


@rule
def a_relative_working_directory_is_refused(w: World) -> None:
    with pytest.raises(OrlopError):
        w.create("c", change={"process": {"cwd": "data"}})
    assert w.left() == []


@rule
def namespaces_that_are_not_asked_for_are_the_hosts(w: World) -> None:
    pid_only = {"linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}]}, "hostname": None}
    looks = [w.run("/bin/namespaces", change=pid_only)[1] for _ in range(2)]
    for kind in ("cgroup", "ipc", "net", "uts"):
        lines = {line for look in looks for line in look.splitlines() if line.startswith(f"{kind}=")}
        assert len(lines) == 1


@rule
def a_joined_namespace_is_the_same_for_all_who_join(w: World) -> None:
    first = w.start("first")
    pid = first.state()["pid"]
    joined = [
        {"type": "pid"},
        {"type": "mount"},
        {"type": "uts", "path": f"/proc/{pid}/ns/uts"},
        {"type": "ipc"},
        {"type": "network", "path": f"/proc/{pid}/ns/net"},
    ]
    first_look, second_look, other = (
        dict(line.split("=", 1) for line in w.run("/bin/namespaces", change=change)[1].splitlines())
        for change in (
            {"linux": {"namespaces": joined}, "hostname": None},
            {"linux": {"namespaces": joined}, "hostname": None},
            {},
        )
    )
    for kind in ("uts", "net"):
        assert first_look[kind] == second_look[kind] != other[kind]


@rule
def mappings_beside_a_joined_user_namespace_are_its_own(w: World) -> None:
    """Engines that share the user namespace of a container repeat its mappings in the config."""
    kinds = [{"type": kind} for kind in ("pid", "mount", "uts", "ipc", "network")]
    ids = [{"containerID": 0, "hostID": 100000, "size": 10}, {"containerID": 10, "hostID": 200000, "size": 5}]
    own = {"namespaces": [*kinds, {"type": "user"}], "uidMappings": ids, "gidMappings": ids}
    first = w.start("first", change={"linux": own})
    joined = [*kinds, {"type": "user", "path": f"/proc/{first.state()['pid']}/ns/user"}]
    same = {"namespaces": joined, "uidMappings": ids[::-1], "gidMappings": ids}
    assert w.run("exiter", "6", change={"linux": same})[0] == 6
    for name in ("uid", "gid"):
        words = f"the user namespace that is joined has another {name}_map"
        with pytest.raises(OrlopError, match=words) as caught:
            w.create("second", change={"linux": {**same, f"{name}Mappings": ids[:1]}})
        assert caught.value.errno == errno.EINVAL


@rule
def a_joined_uts_namespace_has_its_name(w: World) -> None:
    first = w.start("first", change={"hostname": "first-name"})
    pid = first.state()["pid"]
    spaces = [{"type": "pid"}, {"type": "mount"}, {"type": "uts", "path": f"/proc/{pid}/ns/uts"}]
    assert (
        w.facts(change={"linux": {"namespaces": spaces}, "hostname": None, "mounts": _proc()})["hostname"]
        == "first-name"
    )


def _proc() -> list[dict[str, str]]:
    return [{"destination": "/proc", "type": "proc", "source": "proc"}]


@rule
def a_joined_pid_namespace_shows_its_processes(w: World) -> None:
    first = w.start("first")
    pid = first.state()["pid"]
    spaces = [{"type": "pid", "path": f"/proc/{pid}/ns/pid"}, {"type": "mount"}]
    facts = w.facts(change={"linux": {"namespaces": spaces}, "hostname": None, "mounts": _proc()})
    assert int(facts["pid"]) > 1
    assert first.state()["status"] == "running"


@rule
def a_namespace_of_another_kind_is_refused(w: World) -> None:
    first = w.start("first")
    pid = first.state()["pid"]
    spaces = [{"type": "pid"}, {"type": "mount"}, {"type": "uts", "path": f"/proc/{pid}/ns/ipc"}]
    with pytest.raises(OrlopError):
        w.create("c", change={"linux": {"namespaces": spaces}, "hostname": None})
    first.delete(force=True)
    assert w.left() == []


@rule
def a_missing_namespace_is_refused(w: World) -> None:
    spaces = [{"type": "pid"}, {"type": "mount"}, {"type": "network", "path": "/nonexistent/net"}]
    with pytest.raises(OrlopError, match="no such file or directory"):
        w.create("c", change={"linux": {"namespaces": spaces}, "hostname": None})
    assert w.left() == []


@rule
def a_doubled_namespace_is_refused(w: World) -> None:
    with pytest.raises(OrlopError):
        w.create("c", change={"linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "pid"}]}})
    assert w.left() == []


@rule
def a_user_namespace_maps_ids(w: World) -> None:
    maps = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    spaces = [{"type": kind} for kind in ("pid", "mount", "uts", "ipc", "network", "user")]
    change = {"linux": {"namespaces": spaces, "uidMappings": maps, "gidMappings": maps}}
    facts = w.facts(change=change)
    assert (facts["uid"], facts["gid"]) == ("0", "0")
    _, text = w.run("/bin/show", "/proc/self/uid_map", change=change)
    assert text.split() == ["0", "100000", "65536"]


@rule
def overlapping_id_mappings_are_refused(w: World) -> None:
    maps = [
        {"containerID": 0, "hostID": 100000, "size": 10},
        {"containerID": 5, "hostID": 200000, "size": 10},
    ]
    spaces = [{"type": kind} for kind in ("pid", "mount", "uts", "ipc", "network", "user")]
    with pytest.raises(OrlopError):
        w.create("c", change={"linux": {"namespaces": spaces, "uidMappings": maps, "gidMappings": maps}})
    assert w.left() == []
