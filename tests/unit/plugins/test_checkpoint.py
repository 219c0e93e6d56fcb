"""What a checkpoint has to know of the host, planned from the config alone."""

from __future__ import annotations

from typing import Any

import pytest

from orlop_hookspecs.checkpoint import CheckpointOptions, RestoreOptions
from orlop_hookspecs.errors import ConfigError
from orlop_hookspecs.plan import Plan, PlannedStep
from orlop_hookspecs.steps import (
    CreateDevice,
    DumpProcesses,
    JoinNamespace,
    LoadSeccomp,
    MakeRootReadonly,
    MaskPath,
    MountBind,
    MountCgroup,
    MountFilesystem,
    MountProc,
    MountSysfs,
    NewNamespace,
    ReadonlyPath,
    RestoreProcesses,
    SetApparmorProfile,
    SetCapabilities,
    SetIdMappings,
    SetNoNewPrivileges,
    SetSelinuxLabel,
    SetUser,
    Step,
)
from orlop_linux.plugins import checkpoint as plugin

OWN = [NewNamespace(because="/linux/namespaces/0", type=kind) for kind in ("mount", "pid")]


def plan(*steps: Step) -> Plan:
    phases: dict[str, list[PlannedStep]] = {}
    for one in steps:
        phases.setdefault(one.phase, []).append(PlannedStep(one, one.phase, one.slot, "test"))
    return Plan({name: tuple(found) for name, found in phases.items()})


def dumped(*steps: Step, **options: Any) -> DumpProcesses:
    (step,) = plugin.orlop_checkpoint(plan(*OWN, *steps), CheckpointOptions(image="/i", **options))
    assert isinstance(step, DumpProcesses)
    return step


def restored(*steps: Step, **options: Any) -> RestoreProcesses:
    (step,) = plugin.orlop_restore(plan(*OWN, *steps), RestoreOptions(image="/i", **options))
    assert isinstance(step, RestoreProcesses)
    return step


def test_options_are_carried() -> None:
    options = dumped(tcp_established=True, empty_ns=("network",)).options
    assert options["image"] == "/i"
    assert options["tcp_established"] is True
    assert options["empty_ns"] == ("network",)
    assert restored(lsm_profile="apparmor:x").options["lsm_profile"] == "apparmor:x"


def test_what_comes_from_the_host_is_named() -> None:
    steps = (
        MountBind(because="/mounts/1", destination="/data", source="/srv", attributes=("ro",)),
        MountBind(because="/mounts/2", destination="/more", source="/opt", recursive=(("ro", True),)),
        MountBind(because="/mounts/3", destination="/free", source="/home"),
        MountProc(because="/mounts/0", destination="/proc"),
        MountFilesystem(because="/mounts/4", destination="/tmp", type="tmpfs"),
        MaskPath(because="/linux/maskedPaths/0", path="/proc/kcore"),
        CreateDevice(because="/linux/devices/0", path="/dev/fuse", type="c", major=10, minor=229),
        CreateDevice(because="/linux/devices/1", path="/run/pipe", type="p"),
        MountCgroup(because="/mounts/5", destination="/sys/fs/cgroup"),
        MakeRootReadonly(because="/root/readonly"),
    )
    outside = {
        ("/data", "/srv", "/mounts/1"),
        ("/more", "/opt", "/mounts/2"),
        ("/free", "/home", "/mounts/3"),
        ("/proc/kcore", "/dev/null", "/linux/maskedPaths/0"),
        ("/dev/fuse", "/dev/fuse", "/linux/devices/0"),
    }
    assert set(dumped(*steps).mounts) == set(restored(*steps).mounts) == outside
    assert dumped(*steps).cgroups == (("/sys/fs/cgroup", "/mounts/5"),)
    assert set(restored(*steps).places) == {"/data", "/more", "/free", "/proc", "/tmp", "/sys/fs/cgroup"}


def test_a_cgroup_namespace_of_its_own_needs_no_names() -> None:
    mount = MountCgroup(because="/mounts/5", destination="/sys/fs/cgroup", own_namespace=True)
    assert dumped(mount).cgroups == ()


def test_what_holds_the_processes_is_demanded() -> None:
    step = restored(
        SetCapabilities(because="/process/capabilities", bounding=("CAP_KILL", "CAP_CHOWN")),
        SetNoNewPrivileges(because="/process/noNewPrivileges"),
        LoadSeccomp(because="/linux/seccomp", default_action="SCMP_ACT_ALLOW"),
        SetIdMappings(because="/linux/uidMappings", uid=((0, 1000, 1),), gid=((0, 2000, 1),)),
    )
    assert step.bounding == ("CAP_CHOWN", "CAP_KILL")
    assert step.no_new_privileges
    assert step.filtered
    assert (step.uid, step.gid) == (((0, 1000, 1),), ((0, 2000, 1),))
    assert step.own == ("mount", "pid")
    free = restored()
    assert (free.bounding, free.no_new_privileges, free.filtered) == (None, False, False)


def test_what_mounts_must_not_allow() -> None:
    strict = ("ro", "nosuid", "noatime")
    found = restored(
        MountBind(because="/mounts/1", destination="/data", source="/srv", attributes=strict),
        MountBind(because="/mounts/2", destination="/more", source="/opt", recursive=(("ro", True),)),
        MountBind(
            because="/mounts/3",
            destination="/free",
            source="/home",
            attributes=("ro", "nodev"),
            recursive=(("ro", False), ("noexec", True), ("noatime", True)),
        ),
        MountSysfs(because="/mounts/4", destination="/sys", attributes=("ro",)),
        MountCgroup(because="/mounts/5", destination="/sys/fs/cgroup", attributes=("ro",)),
        MountFilesystem(because="/mounts/6", destination="/sys", type="tmpfs"),
        ReadonlyPath(because="/linux/readonlyPaths/0", path="/proc/sys"),
        MakeRootReadonly(because="/root/readonly"),
    )
    assert found.attributes == (
        ("/data", ("nosuid", "ro"), (), "/mounts/1"),
        ("/more", ("ro",), ("ro",), "/mounts/2"),
        ("/free", ("nodev", "noexec"), ("noexec",), "/mounts/3"),
        ("/sys", ("ro",), (), "/mounts/4"),
        ("/sys/fs/cgroup", ("ro",), ("ro",), "/mounts/5"),
        ("/sys", (), (), "/mounts/6"),
        ("/proc/sys", ("ro",), ("ro",), "/linux/readonlyPaths/0"),
        ("/", ("ro",), (), "/root/readonly"),
    )


def test_the_label_is_the_callers_or_the_configs() -> None:
    profile = SetApparmorProfile(because="/process/apparmorProfile", profile="box")
    context = SetSelinuxLabel(because="/process/selinuxLabel", label="u:r:t:s0")
    for steps, flag, label in (
        ((), "", None),
        ((profile,), "", ("apparmor", "box", "/process/apparmorProfile")),
        ((context,), "", ("selinux", "u:r:t:s0", "/process/selinuxLabel")),
        ((profile,), "apparmor:other", ("apparmor", "other", "")),
        ((), "selinux:a:b:c", ("selinux", "a:b:c", "")),
    ):
        step = restored(*steps, lsm_profile=flag)
        assert step.label == label
        assert step.options["lsm_profile"] == (f"{label[0]}:{label[1]}" if label else "")
    assert (dumped().module, dumped(profile).module, dumped(context).module) == ("", "apparmor", "selinux")


def test_a_user_is_demanded_where_it_cannot_change() -> None:
    user = SetUser(because="/process/user", uid=1000, gid=1000, groups=(5,))
    fixed = SetNoNewPrivileges(because="/process/noNewPrivileges")
    for steps, found in (
        ((user, fixed), (1000, 1000, (5,))),
        ((user, fixed, SetCapabilities(because="", bounding=("CAP_SETUID",))), (1000, 1000, (5,))),
        ((user, fixed, SetCapabilities(because="", ambient=("CAP_SETGID",))), None),
        ((user,), None),
        ((SetUser(because="", uid=0, gid=0), fixed), None),
    ):
        assert restored(*steps).user == found


def labelled(destination: str, context: str, kind: str = "tmpfs") -> MountFilesystem:
    data = ("size=1k", f"context={context}")
    return MountFilesystem(because=f"/mounts{destination}", destination=destination, type=kind, data=data)


def test_the_context_of_mounts_is_the_callers_or_the_configs() -> None:
    one, other = labelled("/a", "u:o:t"), labelled("/b", "u:o:x")
    queue = labelled("/q", "u:o:t", "mqueue")
    for steps, flag, contexts, option in (
        ((queue,), "", (), ""),
        ((one, queue), "", (("/a", "u:o:t", "/mounts/a"),), "u:o:t"),
        ((one, other), "", (("/a", "u:o:t", "/mounts/a"), ("/b", "u:o:x", "/mounts/b")), ""),
        ((one, other), "u:o:z", (("/a", "u:o:z", "/mounts/a"), ("/b", "u:o:z", "/mounts/b")), "u:o:z"),
    ):
        step = restored(*steps, lsm_mount_context=flag)
        assert (step.contexts, step.options["lsm_mount_context"]) == (contexts, option)


def test_mounts_with_other_owners_are_refused() -> None:
    mapped = MountBind(
        because="/mounts/1",
        destination="/data",
        source="/srv",
        idmap={"recursive": False, "uid": [], "gid": []},
    )
    for act in (dumped, restored):
        with pytest.raises(ConfigError, match="an id-mapped mount cannot be checkpointed") as caught:
            act(mapped)
        assert (caught.value.pointer, caught.value.value) == ("/mounts/1", "/data")


def test_namespaces_of_others() -> None:
    network = JoinNamespace(because="/linux/namespaces/2", type="network", path="/run/netns/a")
    assert dumped(network).joined == (("network", "/run/netns/a", "/linux/namespaces/2"),)
    for kind in ("user", "cgroup"):
        with pytest.raises(ConfigError, match=f"in the {kind} namespace of others") as caught:
            dumped(JoinNamespace(because="/linux/namespaces/2", type=kind, path="/run/x"))
        assert caught.value.pointer == "/linux/namespaces/2"


def test_without_a_mount_namespace_nothing_can_be_written() -> None:
    with pytest.raises(ConfigError, match="without a mount namespace of its own"):
        plugin.orlop_checkpoint(plan(NewNamespace(because="", type="pid")), CheckpointOptions(image="/i"))
    with pytest.raises(ConfigError, match="without a mount namespace of its own"):
        plugin.orlop_restore(plan(), RestoreOptions(image="/i"))


def test_engines_are_told() -> None:
    assert plugin.orlop_features() == {"annotations": {"org.opencontainers.runc.checkpoint.enabled": "true"}}
