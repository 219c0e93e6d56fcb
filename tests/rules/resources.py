"""Rules of cgroups and their limits (config-linux.md, Control groups)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.rules.world import PATIENCE, World, needs, rule

from orlop_hookspecs.errors import OrlopError

_MIB = 1 << 20


def _limits(**resources: Any) -> dict[str, Any]:
    return {"linux": {"resources": resources}}


@rule
def the_pids_limit_is_set(w: World) -> None:
    w.create("c", change=_limits(pids={"limit": 17}))
    assert w.cgroup_value("c", "pids", "pids.max", "pids.max") == "17"


@rule
def the_pids_limit_refuses_forks(w: World) -> None:
    c = w.start("c", "/bin/bomb", change=_limits(pids={"limit": 6}))
    w.until_output("c", "refused after some")
    assert len(c.processes()) <= 6
    c.delete(force=True)
    assert w.left() == []


@rule
def the_memory_limit_is_set(w: World) -> None:
    w.create("c", change=_limits(memory={"limit": 64 * _MIB}))
    assert w.cgroup_value("c", "memory", "memory.limit_in_bytes", "memory.max") == str(64 * _MIB)


@rule
def the_memory_limit_kills_and_is_counted(w: World) -> None:
    c = w.start("c", "/bin/hungry", change=_limits(memory={"limit": 32 << 20, "swap": 32 << 20}))
    w.until_output("c", "ended 137")
    events = w.cgroup_value("c", "memory", v1="memory.oom_control", v2="memory.events")
    assert "oom_kill 1" in events.splitlines()
    assert c.stats()["memory"]["events"]["oom_kill"] == 1
    assert c.state()["status"] == "running"
    c.delete(force=True)
    assert w.left() == []


@rule
def the_cpu_quota_is_set(w: World) -> None:
    w.create("c", change=_limits(cpu={"quota": 50000, "period": 200000}))
    assert w.cgroup_value("c", "cpu", "cpu.cfs_quota_us", "cpu.max") in ("50000", "50000 200000")


@rule
def cpu_shares_are_set(w: World) -> None:
    w.create("c", change=_limits(cpu={"shares": 512}))
    assert w.cgroup_value("c", "cpu", "cpu.shares", "cpu.weight") in ("512", "20", "59")


@rule
def cpus_are_set(w: World) -> None:
    w.create("c", change=_limits(cpu={"cpus": "0", "mems": "0"}))
    assert w.cgroup_value("c", "cpuset", "cpuset.cpus", "cpuset.cpus") == "0"


@rule
def cpus_that_the_host_lacks_are_refused(w: World) -> None:
    with pytest.raises(OrlopError):
        w.create("c", change=_limits(cpu={"cpus": "4000-4001"}))
    assert w.left() == []


@rule
def unified_limits_need_a_unified_controller(w: World) -> None:
    with pytest.raises(OrlopError):
        w.create("c", change=_limits(unified={"no_such_controller.max": "1"}))
    assert w.left() == []


@rule
def limits_can_be_changed(w: World) -> None:
    c = w.start("c", change=_limits(pids={"limit": 17}))
    c.update({"pids": {"limit": 23}})
    assert w.cgroup_value("c", "pids", "pids.max", "pids.max") == "23"


@rule
def the_processes_are_known(w: World) -> None:
    c = w.create("c")
    assert list(c.processes()) == [c.state()["pid"]]


@rule
def denying_all_devices_leaves_the_default_ones(w: World) -> None:
    deny = {"allow": False, "access": "rwm"}
    paths = ("/dev/null", "/dev/zero")
    _, text = w.run("/bin/try-write", *paths, change=_limits(devices=[deny]))
    assert text == "".join(f"{path}: written\n" for path in paths)


@rule
def a_taken_cgroup_is_refused(w: World) -> None:
    path = f"/{w.name}-shared"
    first = w.start("first", change={"linux": {"cgroupsPath": path}})
    with pytest.raises(OrlopError):
        w.create("second", change={"linux": {"cgroupsPath": path}})
    assert first.state()["status"] == "running"


@rule
def a_cgroup_of_a_container_that_has_stopped_is_still_its_own(w: World) -> None:
    path = f"/{w.name}-shared"
    first = w.start("first", change={"linux": {"cgroupsPath": path}})
    first.kill("KILL")
    first.wait(timeout=PATIENCE)
    with pytest.raises(OrlopError, match="the cgroup is that of the container first"):
        w.create("second", change={"linux": {"cgroupsPath": path}})
    first.delete()
    assert w.create("second", change={"linux": {"cgroupsPath": path}}).state()["status"] == "created"


@rule
def a_cgroup_namespace_hides_the_path(w: World) -> None:
    spaces = [{"type": kind} for kind in ("pid", "mount", "uts", "ipc", "network", "cgroup")]
    _, text = w.run("/bin/show", "/proc/self/cgroup", change={"linux": {"namespaces": spaces}})
    paths = {line.split(":", 2)[2] for line in text.splitlines() if line.split(":", 2)[1] in {"pids", ""}}
    assert paths == {"/"}


@rule
def a_change_is_whole_or_not_at_all(w: World) -> None:
    c = w.start("c", change=_limits(pids={"limit": 17}, cpu={"shares": 512}))
    before = [
        w.cgroup_value("c", "pids", "pids.max", "pids.max"),
        w.cgroup_value("c", "cpu", "cpu.shares", "cpu.weight"),
    ]
    with pytest.raises(OrlopError):
        c.update({"cpu": {"shares": 700, "cpus": "4000-4001"}, "pids": {"limit": 23}})
    assert before == [
        w.cgroup_value("c", "pids", "pids.max", "pids.max"),
        w.cgroup_value("c", "cpu", "cpu.shares", "cpu.weight"),
    ]


@rule
def the_period_can_be_changed_alone(w: World) -> None:
    c = w.create("c", change=_limits(cpu={"quota": 50000, "period": 200000}))
    c.update({"cpu": {"period": 100000}})
    assert w.cgroup_value("c", "cpu", "cpu.cfs_quota_us", "cpu.max") in ("50000", "50000 100000")
    assert w.cgroup_value("c", "cpu", "cpu.cfs_period_us", "cpu.max") in ("100000", "50000 100000")


@rule
def an_rdma_device_that_is_not_there_is_refused(w: World) -> None:
    with pytest.raises(OrlopError) as caught:
        w.create("c", change=_limits(rdma={"nothing0": {"hcaHandles": 3}}))
    assert caught.value.pointer == "/linux/resources/rdma/nothing0"
    assert w.left() == []


@rule
def rules_for_devices_are_replaced_by_an_update(w: World) -> None:
    fuse = {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}
    c = w.create("c", change=_limits(devices=[{"allow": False, "access": "rwm"}, fuse]))
    assert w.device_rule("c", 10, 229) in {"rw", ""}
    c.update({"devices": [{"allow": False, "access": "rwm"}, {**fuse, "access": "r"}]})
    assert w.device_rule("c", 10, 229) in {"r", ""}
    c.update({"pids": {"limit": 100}})
    assert w.device_rule("c", 10, 229) in {"r", ""}


_NAMESPACES = [{"type": kind} for kind in ("pid", "mount", "uts", "ipc", "network", "cgroup")]
_GROUP = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}


def _delegated(w: World, *options: str, namespaces: list[dict[str, str]]) -> list[int] | None:
    """Create a container of user 5, mapped to 100005, with its cgroup mounted; return who owns what."""
    from tests.rules.world import BASE

    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    change: dict[str, Any] = {
        "process": {"user": {"uid": 5, "gid": 5}},
        "mounts": [*BASE["mounts"], {**_GROUP, "options": ["nosuid", "nodev", "noexec", *options]}],
        "linux": {
            "namespaces": [*namespaces, {"type": "user"}],
            "uidMappings": mapping,
            "gidMappings": mapping,
        },
    }
    w.create("c", change=change)
    return w.cgroup_owners("c", "cgroup.procs", "cgroup.subtree_control", "memory.max", "cgroup.freeze")


@rule
def a_cgroup_that_can_be_written_to_is_the_users(w: World) -> None:
    assert _delegated(w, namespaces=_NAMESPACES) in (None, [100005, 100005, 100005, 0, 0])


@rule
def a_cgroup_that_is_read_only_is_nobodys(w: World) -> None:
    assert _delegated(w, "ro", namespaces=_NAMESPACES) in (None, [0, 0, 0, 0, 0])


@rule
def a_cgroup_without_its_namespace_is_nobodys(w: World) -> None:
    assert _delegated(w, namespaces=_NAMESPACES[:-1]) in (None, [0, 0, 0, 0, 0])


@rule
def figures_have_the_same_names_everywhere(w: World) -> None:
    c = w.start("c", change=_limits(pids={"limit": 17}, memory={"limit": 64 * _MIB}, cpu={"shares": 512}))
    figures = c.stats()
    assert figures["pids"]["current"] == 1
    assert figures["pids"]["max"] == 17
    assert figures["memory"]["max"] == 64 * _MIB
    assert figures["memory"]["current"] >= 0
    assert {"usage_usec", "user_usec", "system_usec"} <= set(figures["cpu"])
    assert figures["cpuset"]["cpus"][:1] == "0" if "cpuset" in figures else True


@rule
def a_limit_of_no_tasks_at_all_is_one(w: World) -> None:
    # The container's first process is there already: a limit only keeps others from being made.
    c = w.create("c", change=_limits(pids={"limit": 0}))
    assert w.cgroup_value("c", "pids", "pids.max", "pids.max") == "0"
    assert list(c.processes()) == [c.state()["pid"]]


def _rdma_limits(w: World) -> set[str]:
    return set(w.cgroup_value("c", "rdma", "rdma.max", "rdma.max").splitlines())


@rule
@needs("rdma")
def rdma_limits_are_set_and_changed(w: World) -> None:
    device = w.rdma_device()
    c = w.create("c", change=_limits(rdma={device: {"hcaHandles": 3, "hcaObjects": 2000}}))
    assert f"{device} hca_handle=3 hca_object=2000" in _rdma_limits(w)
    # What an update does not set stays as it is.
    c.update({"rdma": {device: {"hcaHandles": 5}}})
    assert f"{device} hca_handle=5 hca_object=2000" in _rdma_limits(w)
    c.update({"rdma": {device: {"hcaObjects": 0}}})
    assert f"{device} hca_handle=5 hca_object=0" in _rdma_limits(w)
    assert c.stats()["rdma"]["max"][device] == {"hca_handle": 5, "hca_object": 0}


@rule
@needs("rdma")
def rdma_limits_are_changed_all_or_none(w: World) -> None:
    device = w.rdma_device()
    c = w.create("c", change=_limits(rdma={device: {"hcaHandles": 3, "hcaObjects": 2000}}))
    with pytest.raises(OrlopError) as caught:
        c.update({"rdma": {device: {"hcaHandles": 5}, "nothing0": {"hcaHandles": 1}}})
    assert caught.value.pointer == "/linux/resources/rdma/nothing0"
    assert f"{device} hca_handle=3 hca_object=2000" in _rdma_limits(w)


@rule
def a_limit_of_kernel_memory_is_applied_or_refused(w: World) -> None:
    refused: OrlopError | None = None
    try:
        w.create("c", change=_limits(memory={"limit": 64 * _MIB, "kernel": 16 * _MIB}))
    except OrlopError as error:
        refused = error
    if refused is None:
        assert w.cgroup_value("c", "memory", "memory.kmem.limit_in_bytes", "") == str(16 * _MIB)
    else:
        # Since Linux 5.16 the file takes any value and keeps none.
        assert refused.pointer == "/linux/resources/memory/kernel"
        assert w.left() == []
