"""Every step class is executed, to the effect that Linux gives it, and refused with its errno."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from tests.unit.fake.planned import IMAGE, Container, base, machine, made

from orlop_fake import Host, Resctrl
from orlop_fake.execute import HANDLERS
from orlop_fake.mounts import walk
from orlop_fake.traits import Traits
from orlop_fake.vfs import Device, Symlink
from orlop_hookspecs import steps
from orlop_hookspecs.errors import HookError, StepError
from orlop_hookspecs.steps import STEP_TYPES, Step

APART = {"ConfigureCriu", "DumpProcesses", "RestoreProcesses"}
"""Steps that are in no creation: tests/unit/fake/test_images.py."""

SAMPLES: dict[str, tuple[Step, ...]] = {
    "BringUpLoopback": (made(steps.BringUpLoopback),),
    "CheckExecutable": (made(steps.CheckExecutable, args=("sleep",), path="/bin", cwd="/new"),),
    "CreateCgroup": (made(steps.CreateCgroup, path="/a/b"),),
    "CreateDevice": (made(steps.CreateDevice, path="/dev/null", type="c", major=1, minor=3),),
    "CreateResctrlGroup": (made(steps.CreateResctrlGroup, clos_id="one", monitoring=True),),
    "CreateScope": (made(steps.CreateScope, unit="one.scope", slice="a-b.slice"),),
    "CreateSymlink": (made(steps.CreateSymlink, path="/dev/fd", target="/proc/self/fd"),),
    "DelegateCgroup": (made(steps.DelegateCgroup, uid=7),),
    "Execute": (made(steps.Execute, args=("/bin/true",)),),
    "JoinCgroup": (),
    "JoinNamespace": (made(steps.JoinNamespace, type="time", path="/proc/1/ns/time"),),
    "JoinResctrlGroup": (
        made(steps.CreateResctrlGroup, clos_id="one"),
        made(steps.JoinResctrlGroup, clos_id="one"),
    ),
    "KeepGroups": (made(steps.KeepGroups),),
    "LoadSeccomp": (made(steps.LoadSeccomp, default_action="SCMP_ACT_ALLOW"),),
    "MakeRootReadonly": (made(steps.MakeRootReadonly),),
    "MaskPath": (made(steps.MaskPath, path="/etc"), made(steps.MaskPath, path="/etc/passwd")),
    "MountBind": (made(steps.MountBind, destination="/tmp", source="/etc", attributes=("ro",)),),
    "MountCgroup": (made(steps.MountCgroup, destination="/sys/fs/cgroup"),),
    "MountFilesystem": (made(steps.MountFilesystem, destination="/tmp", type="tmpfs", tmpcopyup=True),),
    "MountProc": (made(steps.MountProc, destination="/proc"),),
    "MountSysfs": (made(steps.MountSysfs, destination="/sys"),),
    "MoveNetDevices": (made(steps.MoveNetDevices, devices=(("eth0", "eth0"),)),),
    "NewKeyring": (made(steps.NewKeyring, name="_ses"),),
    "NewNamespace": (
        made(steps.NewNamespace, type="time"),
        made(steps.NewNamespace, type="cgroup"),
    ),
    "NewSession": (made(steps.NewSession),),
    "OpenTerminal": (
        made(steps.MountFilesystem, destination="/dev/pts", type="devpts"),
        made(steps.OpenTerminal, height=24, width=80),
    ),
    "PrepareRoot": (),
    "ReadonlyPath": (made(steps.ReadonlyPath, path="/etc"),),
    "RequireSecurityModule": (made(steps.RequireSecurityModule, module="apparmor"),),
    "SetApparmorProfile": (made(steps.SetApparmorProfile, profile="box"),),
    "SetSelinuxLabel": (made(steps.SetSelinuxLabel, label="u:r:t"),),
    "RunHook": (made(steps.RunHook, kind="prestart", index=0, path="/bin/true"),),
    "SetCpuAffinity": (made(steps.SetCpuAffinity, cpus=((0, 1),)),),
    "SetCapabilities": (made(steps.SetCapabilities, bounding=("CAP_KILL",)),),
    "SetDeviceRules": (made(steps.SetDeviceRules, rules=((False, "a", None, None, "rwm"),)),),
    "SetDomainname": (made(steps.SetDomainname, name="domain"),),
    "SetHostname": (made(steps.SetHostname, name="host"),),
    "SetIdMappings": (
        made(steps.NewNamespace, type="user"),
        made(steps.SetIdMappings, uid=((0, 1000, 10),), gid=((0, 1000, 10),)),
    ),
    "SetIoPriority": (made(steps.SetIoPriority, class_="IOPRIO_CLASS_IDLE", priority=3),),
    "SetMemoryPolicy": (made(steps.SetMemoryPolicy, mode="MPOL_BIND", nodes=((0, 0),)),),
    "SetNoNewPrivileges": (made(steps.SetNoNewPrivileges),),
    "SetOomScore": (made(steps.SetOomScore, score=10),),
    "SetPersonality": (made(steps.SetPersonality, domain="LINUX32"),),
    "SetScheduler": (made(steps.SetScheduler, policy="SCHED_BATCH", nice=5),),
    "SetRlimits": (made(steps.SetRlimits, limits=(("RLIMIT_CORE", 0, 0),)),),
    "SetRootPropagation": (made(steps.SetRootPropagation, propagation="shared"),),
    "SetSysctl": (made(steps.SetSysctl, key="net.ipv4.ip_forward", value="1"),),
    "SetTimeOffset": (
        made(steps.NewNamespace, type="time"),
        made(steps.SetTimeOffset, clock="boottime", secs=10, nanosecs=0),
    ),
    "SetUmask": (made(steps.SetUmask, umask=0o27),),
    "SetUser": (made(steps.SetUser, uid=5, gid=6, groups=(7,)),),
    "SwitchRoot": (made(steps.SwitchRoot, method="move"),),
    "WriteCgroup": (
        made(steps.WriteCgroup, controller="pids", v1=(("pids.max", "3"),), v2=(("pids.max", "3"),)),
    ),
    "WriteSchemata": (
        made(steps.CreateResctrlGroup, clos_id="one"),
        made(steps.WriteSchemata, clos_id="one", lines=("L3:0=f",)),
    ),
}


def test_every_step_class_has_a_handler_and_a_sample() -> None:
    assert set(HANDLERS) == set(STEP_TYPES)
    assert set(SAMPLES) == set(STEP_TYPES) - APART


@pytest.mark.parametrize("cgroups", ["v1", "v2", "hybrid"])
@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_step_is_executed_and_undone(name: str, cgroups: str) -> None:
    kernel = machine(cgroups=cgroups, resctrl=Resctrl(), host=Host(apparmor=("box",), selinux=True))
    before = kernel.snapshot()
    one = Container(kernel, base(*SAMPLES[name])).create()
    assert kernel.status(one.record) == "created"
    one.start()
    one.delete()
    if "resctrl" in one.record.kernel:
        # A class that was asked for by its name outlives the container.
        assert kernel.resctrl is not None
        kernel.resctrl.remove("one")
    if name == "MoveNetDevices":
        # The kernel gives a physical device back, but does not bring it up.
        kernel.init.namespaces.network.links["eth0"].up = True
    assert kernel.leaks() == []
    assert kernel.snapshot() == before, before.diff(kernel.snapshot())


def test_kept_groups_are_those_of_the_runtime() -> None:
    user = made(steps.SetUser, uid=5, gid=6)
    for more, groups in (((), ()), ((made(steps.KeepGroups),), (5, 7))):
        box = Container(machine(groups=(5, 7)), base(user, *more)).create().start()
        assert box.process.credentials.groups == groups


def test_effects_of_the_whole() -> None:
    kernel = machine(resctrl=Resctrl(), host=Host(apparmor=("box",), selinux=True))
    # Groups that are kept are not those that are set.
    everything = [one for name, sample in SAMPLES.items() for one in sample if name != "KeepGroups"]
    skipped = {"user", "time"}
    chosen = []
    seen: set[str] = set()
    for one in everything:
        text = one.describe()
        if isinstance(one, steps.CreateResctrlGroup) and not one.monitoring:
            continue
        if text in seen or getattr(one, "type", "") in skipped or isinstance(one, steps.SetIdMappings):
            continue
        if type(one).__name__ in {"SetTimeOffset", "Execute", "CreateCgroup", "SwitchRoot", "JoinNamespace"}:
            continue
        seen.add(text)
        chosen.append(one)
    chosen.sort(key=lambda one: isinstance(one, steps.MountCgroup))  # below the sysfs
    box = Container(kernel, base(*chosen)).create().start()
    process = box.process
    spaces = process.namespaces
    assert (spaces.uts.hostname, spaces.uts.domainname) == ("host", "domain")
    assert [link.describe() for link in spaces.network.links.values()] == ["lo up", "eth0 up"]
    assert spaces.network.sysctls == {"net.ipv4.ip_forward": "1"}
    assert (process.umask, process.oom_score_adj, process.no_new_privs) == (0o27, 10, True)
    assert (process.credentials.uid, process.credentials.gid, process.credentials.groups) == (5, 6, (7,))
    assert process.credentials.bounding == {"CAP_KILL"}
    assert process.traits == Traits(
        policy="SCHED_BATCH",
        nice=5,
        io_class="IOPRIO_CLASS_IDLE",
        io_priority=3,
        domain="LINUX32",
        memory_mode="MPOL_BIND",
        memory_nodes=(0,),
        profile="box",
        label="u:r:t",
    )
    assert process.rlimits == {"RLIMIT_CORE": (0, 0)}
    assert (process.keyring, process.session) == ("_ses", process)
    assert len(process.filters) == 1
    assert process.root.mount.readonly
    assert process.root.mount.propagation == "shared"
    assert kernel.cgroup("one", "pids").read("pids.max") == "3"
    assert not kernel.device_allowed(process, "c", 1, 3, "r")
    assert kernel.resctrl is not None
    assert kernel.resctrl.groups["one"].schemata["L3"] == {0: "f", 1: "fffff"}
    terminal = kernel.terminals["one"]
    assert (terminal.height, terminal.width, terminal.name) == (24, 80, "/dev/pts/0")

    def node(path: str) -> Any:
        return walk(spaces.mount.tree, process.root, path, follow=False).node

    assert isinstance(node("/dev/null"), Device)
    assert isinstance(node("/dev/fd"), Symlink)
    assert node("/etc").names() == []
    assert "hosts" in node("/tmp").names()
    assert "1" in node("/proc").names()
    assert "pids.max" in node("/sys/fs/cgroup").names()
    box.delete()


REFUSED: list[tuple[Step, int]] = [
    (made(steps.MountBind, destination="/tmp", source="/nowhere"), errno.ENOENT),
    (made(steps.MountBind, destination="/etc/passwd", source="/etc"), errno.ENOTDIR),
    (made(steps.MountBind, destination="/etc", source="/etc/hosts"), errno.ENOTDIR),
    (made(steps.MountFilesystem, destination="/tmp", type="dreamfs"), errno.ENODEV),
    (made(steps.MountFilesystem, destination="/tmp", type="tmpfs", data=("colour=red",)), errno.EINVAL),
    (made(steps.MountFilesystem, destination="/tmp", type="tmpfs", attributes=("rosy",)), errno.EINVAL),
    (made(steps.MountFilesystem, destination="/tmp", type="ext4", source="/dev/null"), 15),
    (made(steps.MountFilesystem, destination="/tmp", type="overlay"), errno.EINVAL),
    (
        made(steps.MountFilesystem, destination="/tmp", type="overlay", data=("lowerdir=/nowhere",)),
        errno.ENOENT,
    ),
    (made(steps.MountFilesystem, destination="/tmp", type="tmpfs", propagation=("odd",)), errno.EINVAL),
    (made(steps.MountProc, destination="/etc/passwd"), errno.ENOTDIR),
    (
        made(steps.MountProc, destination="/proc", propagation=(), data=("hidepid=1", "x=1")),
        errno.EINVAL,
    ),
    (made(steps.CreateDevice, path="/etc/passwd", type="c", major=1, minor=3), errno.EEXIST),
    (made(steps.CreateDevice, path="/dev/x", type="c", major=5000, minor=3), errno.EINVAL),
    (made(steps.CreateSymlink, path="/etc/passwd", target="x"), errno.EEXIST),
    (made(steps.PrepareRoot, path="/nowhere"), errno.ENOENT),
    (made(steps.PrepareRoot, path="/etc/hosts"), errno.ENOTDIR),
    (made(steps.SetSysctl, key="kernel.dream", value="1"), errno.ENOENT),
    (made(steps.SetSysctl, key="net.ipv4.ip_forward", value="often"), errno.EINVAL),
    (made(steps.SetHostname, name="x" * 65), errno.EINVAL),
    (made(steps.JoinNamespace, type="network", path="/nowhere"), errno.ENOENT),
    (made(steps.JoinNamespace, type="network", path="/proc/1/ns/uts"), errno.EINVAL),
    (made(steps.JoinNamespace, type="network", path="/etc/hosts"), errno.EINVAL),
    (made(steps.NewNamespace, type="dream"), errno.EINVAL),
    (made(steps.SetOomScore, score=1001), errno.EINVAL),
    (made(steps.OpenTerminal), errno.ENOENT),
    (made(steps.CreateResctrlGroup, clos_id="absent", create=False), errno.ENOENT),
    (made(steps.CreateResctrlGroup, clos_id="info"), errno.EINVAL),
    (made(steps.WriteCgroup, controller="dream", v1=(), v2=()), errno.EOPNOTSUPP),
    (made(steps.WriteCgroup, controller="pids", v1=(("pids.max", "x"),), v2=None), errno.EOPNOTSUPP),
    (made(steps.WriteCgroup, controller="pids", v1=None, v2=(("pids.dream", "1"),)), errno.ENOENT),
    (made(steps.CheckExecutable, args=("absent",), path="/bin"), errno.ENOENT),
    (made(steps.CheckExecutable, args=("/etc",)), errno.EISDIR),
    (made(steps.CheckExecutable, args=("/etc/passwd",)), errno.EACCES),
    (made(steps.CheckExecutable, args=("/etc/passwd/x",)), errno.ENOTDIR),
]


@pytest.mark.parametrize(("step", "number"), REFUSED, ids=lambda one: str(one)[:60])
def test_linux_refusals(step: Step, number: int) -> None:
    kernel = machine(resctrl=Resctrl())
    one = Container(kernel, base(step))
    with pytest.raises(StepError) as caught:
        one.create()
    assert caught.value.errno == number
    assert caught.value.step == step.describe()
    assert caught.value.plugin == "test"
    assert caught.value.container == "one"
    one.delete()
    assert kernel.leaks() == []


AT_START: list[tuple[Step, int]] = [
    (made(steps.SetRlimits, limits=(("RLIMIT_DREAM", 1, 1),)), errno.EINVAL),
    (made(steps.SetRlimits, limits=(("RLIMIT_CORE", 2, 1),)), errno.EINVAL),
    (made(steps.SetRlimits, limits=(("RLIMIT_NOFILE", 1, 1 << 30),)), errno.EPERM),
    (made(steps.Execute, args=("/bin/absent",)), errno.ENOENT),
    (made(steps.Execute, args=("/bin/true",), cwd="/absent"), errno.ENOENT),
    (made(steps.Execute, args=("/bin/true",), cwd="/etc/passwd"), errno.ENOTDIR),
]


@pytest.mark.parametrize(("step", "number"), AT_START, ids=lambda one: str(one)[:60])
def test_refusals_at_start_end_the_process(step: Step, number: int) -> None:
    kernel = machine()
    one = Container(kernel, base(step)).create()
    with pytest.raises(StepError) as caught:
        one.start()
    assert caught.value.errno == number
    assert kernel.status(one.record) == "stopped"
    assert kernel.wait(one.record) == 1
    one.delete()
    assert kernel.leaks() == []


def test_seccomp_needs_a_privilege() -> None:
    kernel = machine()
    unprivileged = base(
        made(steps.SetUser, uid=1, gid=1),
        made(steps.SetCapabilities),
        made(steps.LoadSeccomp, default_action="SCMP_ACT_ALLOW"),
    )
    with pytest.raises(StepError) as caught:
        Container(kernel, unprivileged).create().start()
    assert caught.value.errno == errno.EACCES


@pytest.mark.parametrize("kind", ["prestart", "createContainer"])
def test_a_missing_hook_is_refused(kind: str) -> None:
    kernel = machine()
    hook = made(steps.RunHook, kind=kind, index=2, path="/nowhere/hook")
    with pytest.raises(HookError, match=f"{kind} hook 2: cannot run it: no such file or directory"):
        Container(kernel, base(hook)).create()


def test_proc_behind_a_link_is_refused() -> None:
    kernel = machine()
    kernel.add_files({f"{IMAGE}/linked": Symlink("/proc")})
    with pytest.raises(StepError) as caught:
        Container(kernel, base(made(steps.MountProc, destination="/linked"))).create()
    assert caught.value.errno == errno.ELOOP


def test_an_unprivileged_caller_needs_a_user_namespace() -> None:
    plain = [one for one in base() if type(one).__name__ not in {"CreateCgroup", "JoinCgroup"}]
    with pytest.raises(StepError) as caught:
        Container(machine(uid=1000), plain).create()
    assert caught.value.errno == errno.EPERM
    own = (
        made(steps.NewNamespace, type="user"),
        made(steps.SetIdMappings, uid=((0, 1000, 1),), gid=((0, 1000, 1),)),
    )
    kernel = machine(uid=1000)
    one = Container(kernel, [*plain, *own]).create().start()
    assert kernel.wait(one.record) == 0
    foreign = made(steps.SetIdMappings, uid=((0, 0, 1),), gid=((0, 1000, 1),))
    with pytest.raises(StepError) as caught:
        Container(kernel, [*plain, own[0], foreign], "two").create()
    assert caught.value.errno == errno.EPERM


def test_an_unprivileged_caller_has_denied_itself_supplementary_groups() -> None:
    plain = [one for one in base() if type(one).__name__ not in {"CreateCgroup", "JoinCgroup"}]
    maps = made(steps.SetIdMappings, uid=((0, 1000, 1),), gid=((0, 1000, 1),))
    groups = made(steps.SetUser, uid=0, gid=0, groups=(0,))
    with pytest.raises(StepError) as caught:
        Container(machine(uid=1000), [*plain, made(steps.NewNamespace, type="user"), maps, groups]).create()
    assert caught.value.errno == errno.EPERM


def test_an_unprivileged_caller_gets_the_hosts_nodes_as_they_are_or_none() -> None:
    plain = [one for one in base() if type(one).__name__ not in {"CreateCgroup", "JoinCgroup"}]
    maps = made(steps.SetIdMappings, uid=((0, 1000, 1),), gid=((0, 1000, 1),))
    plain += [made(steps.NewNamespace, type="user"), maps]
    null = {"path": "/dev/null", "type": "c", "major": 1, "minor": 3}
    Container(machine(uid=1000), [*plain, made(steps.CreateDevice, **null, exact=("mode",))]).create()
    for name, what in (("mode", "fileMode"), ("uid", "uid")):
        other = made(steps.CreateDevice, **{**null, "mode": 0o600}, exact=(name,))
        with pytest.raises(StepError, match=f"has another {what}") as caught:
            Container(machine(uid=1000), [*plain, other]).create()
        assert caught.value.errno == errno.EPERM
        assert caught.value.pointer.endswith(f"/{what}")


def test_mounts_in_a_shared_namespace_are_journalled() -> None:
    kernel = machine()
    shared = [one for one in base() if getattr(one, "type", "") != "mount"]
    shared = [one for one in shared if not isinstance(one, steps.PrepareRoot | steps.SwitchRoot)]
    one = Container(
        kernel,
        [
            *shared,
            made(steps.PrepareRoot, path=IMAGE, own_namespace=False),
            made(steps.MountFilesystem, destination="/tmp", type="tmpfs"),
            made(steps.SwitchRoot, method="chroot"),
        ],
    ).create()
    assert any(line.startswith("mount") for line in kernel.leaks())
    one.delete()
    assert kernel.leaks() == []


def test_without_systemd_there_are_no_scopes() -> None:
    kernel = machine(systemd=False)
    one = Container(kernel, base(made(steps.CreateScope, unit="one.scope")))
    with pytest.raises(StepError, match="not run by systemd") as caught:
        one.create()
    assert caught.value.errno == errno.EOPNOTSUPP


@pytest.mark.parametrize("cgroups", ["v1", "v2", "hybrid"])
@pytest.mark.parametrize("uid", [0, 1000])
def test_a_scope_is_below_its_slices(cgroups: str, uid: int) -> None:
    kernel = machine(cgroups=cgroups, uid=uid)
    first = [one for one in base() if not isinstance(one, steps.CreateCgroup)]
    scope = made(steps.CreateScope, unit="one.scope", slice="a-b.slice", description="of one")
    box = Container(kernel, [scope, *first])
    for planned in box.plan.steps("host"):
        box.sandbox.host(planned)
    assert kernel.units is not None
    paths = {group.path for group in kernel.units["one.scope"].groups}
    above = f"/user.slice/user-{uid}.slice/user@{uid}.service" if uid else ""
    assert paths == {f"{above}/a.slice/a-b.slice/one.scope"}
    assert kernel.leaks()[-2].startswith("unit one.scope")
    for kind, data in reversed(box.notes.entries):
        kernel.undo(box.record, kind, data)
    box.sandbox.close()
    assert kernel.leaks() == []


@pytest.mark.parametrize(
    ("unit", "slice_"), [("a", ""), ("a/b.scope", ""), ("a.scope", "x"), ("a.scope", "-a.slice")]
)
def test_impossible_scopes(unit: str, slice_: str) -> None:
    one = Container(machine(), base(made(steps.CreateScope, unit=unit, slice=slice_)))
    with pytest.raises(StepError):
        one.create()
