"""The parts of the machine, each on its own: cgroups, resctrl, seccomp, files, mounts, namespaces, clock."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orlop_fake import Device, Directory, FakeKernel, File, Host, Resctrl, Symlink
from orlop_fake.cgroups import Cgroup, hierarchies
from orlop_fake.clock import Clock
from orlop_fake.mounts import Location, Mount, MountNamespace, walk
from orlop_fake.namespaces import UserNamespace
from orlop_fake.seccomp import Filter, judge
from orlop_fake.vfs import grow
from orlop_hookspecs.steps import LoadSeccomp


def refused(number: int, act: Callable[..., Any], *args: Any, **named: Any) -> None:
    with pytest.raises(OSError, match=r"\w") as caught:
        act(*args, **named)
    assert caught.value.errno == number


# cgroups


def group(mode: str, controller: str, **host: Any) -> Cgroup:
    made = hierarchies(Host(**host), mode)
    found = next(one for one in made.values() if controller in one.controllers)
    if mode == "v2":
        found.root.write("cgroup.subtree_control", " ".join(f"+{name}" for name in found.controllers))
    return found.root.make("one")


@pytest.mark.parametrize(
    ("mode", "file", "text", "kept"),
    [
        ("v2", "pids.max", "7\n", "7"),
        ("v2", "memory.max", "8193", "8192"),
        ("v2", "cpu.max", "50000", "50000 100000"),
        ("v2", "cpu.max", "max 20000", "max 20000"),
        ("v2", "cpu.weight", "1", "1"),
        ("v2", "io.weight", "200", "default 200"),
        ("v2", "io.max", "8:0 rbps=1024", "8:0 rbps=1024"),
        ("v2", "rdma.max", "mlx5_0 hca_handle=2", "mlx5_0 hca_handle=2 hca_object=max"),
        ("v2", "hugetlb.2MB.max", "2097152", "2097152"),
        ("v2", "cpuset.cpus", "0-2", "0-2"),
        ("v1", "memory.limit_in_bytes", "-1", "9223372036854771712"),
        ("v1", "cpu.shares", "1", "2"),
        ("v1", "cpu.cfs_quota_us", "-1", "-1"),
        ("v1", "cpuset.cpus", "1,3", "1,3"),
        ("v1", "devices.deny", "c 1:3 rwm", ""),
        ("v1", "net_prio.ifpriomap", "lo 3", "lo 3"),
        ("v1", "blkio.throttle.read_bps_device", "8:0 100", "8:0 100"),
        ("v1", "net_cls.classid", "0x100001", "1048577"),
    ],
)
def test_cgroup_files_accept(mode: str, file: str, text: str, kept: str) -> None:
    one = group(mode, file.partition(".")[0])
    one.write(file, text)
    assert one.read(file if kept else "devices.list") == (kept or "deny c 1:3 rwm")


@pytest.mark.parametrize(
    ("mode", "file", "text", "number"),
    [
        ("v2", "pids.max", "-1", errno.EINVAL),
        ("v2", "pids.dream", "1", errno.ENOENT),
        ("v2", "memory.max", "many", errno.EINVAL),
        ("v2", "cpu.weight", "0", errno.ERANGE),
        ("v2", "cpu.weight", "10001", errno.ERANGE),
        ("v2", "cpu.max", "10", errno.EINVAL),
        ("v2", "cpu.max", "10000 10", errno.EINVAL),
        ("v2", "cpu.max.burst", "-1", errno.EINVAL),
        ("v2", "io.max", "9:9 rbps=1", errno.ENODEV),
        ("v2", "io.max", "8:0 speed=1", errno.EINVAL),
        ("v2", "rdma.max", "absent hca_handle=2", errno.ENODEV),
        ("v2", "rdma.max", "mlx5_0 dreams=2", errno.EINVAL),
        ("v2", "hugetlb.64KB.max", "1", errno.ENOENT),
        ("v2", "cpuset.cpus", "0-", errno.EINVAL),
        ("v2", "cpuset.cpus", "9", errno.ERANGE),
        ("v2", "memory.current", "1", errno.ENOENT),
        ("v2", "cgroup.type", "threaded", errno.EACCES),
        ("v1", "memory.limit_in_bytes", "-2", errno.EINVAL),
        ("v1", "cpu.cfs_quota_us", "10", errno.EINVAL),
        ("v1", "cpuset.cpus", "9", errno.ERANGE),
        ("v1", "memory.swappiness", "201", errno.EINVAL),
        ("v1", "devices.allow", "x 1:3 r", errno.EINVAL),
        ("v1", "net_prio.ifpriomap", "wlan0 3", errno.ENODEV),
        ("v1", "blkio.weight", "5", errno.ERANGE),
        ("v1", "freezer.state", "COLD", errno.EINVAL),
    ],
)
def test_cgroup_files_refuse(mode: str, file: str, text: str, number: int) -> None:
    refused(number, group(mode, file.partition(".")[0].replace("cgroup", "pids")).write, file, text)


def test_memory_may_not_exceed_memory_and_swap() -> None:
    one = group("v1", "memory")
    one.write("memory.limit_in_bytes", "8192")
    one.write("memory.memsw.limit_in_bytes", "8192")
    refused(errno.EINVAL, one.write, "memory.limit_in_bytes", "16384")


def test_controllers_must_be_enabled_above() -> None:
    root = hierarchies(Host(), "v2")[""].root
    one = root.make("one")
    refused(errno.ENOENT, one.write, "pids.max", "1")
    refused(errno.ENOENT, root.write, "cgroup.subtree_control", "+dream")
    root.write("cgroup.subtree_control", "+pids")
    one.write("pids.max", "1")
    assert one.read("cgroup.controllers") == "pids"
    root.write("cgroup.subtree_control", "-pids")
    refused(errno.ENOENT, one.read, "pids.max")


def test_cgroups_are_directories() -> None:
    root = hierarchies(Host(), "v2")[""].root
    one = root.make("one")
    refused(errno.EEXIST, root.make, "one")
    one.make("two")
    refused(errno.EBUSY, one.remove)
    assert root.find("/one/two") is one.children["two"]
    assert one.children["two"].path == "/one/two"


def test_inner_groups_may_not_have_processes() -> None:
    kernel = FakeKernel()
    root = kernel.hierarchies[""].root
    root.write("cgroup.subtree_control", "+pids")
    one = root.make("one")
    child = kernel.scheduler.fork(kernel.init)
    one.join(child)
    refused(errno.EBUSY, one.write, "cgroup.subtree_control", "+pids")
    two = root.make("two")
    two.write("cgroup.subtree_control", "+pids")
    refused(errno.EBUSY, two.join, child)


def test_an_empty_cpuset_lets_nobody_in() -> None:
    kernel = FakeKernel(cgroups="v1")
    one = kernel.hierarchies["cpuset"].root.make("one")
    refused(errno.ENOSPC, one.join, kernel.scheduler.fork(kernel.init))


def test_the_last_device_rule_that_matches_decides() -> None:
    one = group("v1", "devices")
    assert one.allows_device("c", 1, 3, "rw")
    one.device_rules = (
        (False, "a", None, None, "rwm"),
        (True, "c", 1, None, "rw"),
        (False, "c", 1, 5, "w"),
    )
    assert one.allows_device("c", 1, 3, "rw")
    assert not one.allows_device("c", 1, 3, "m")
    assert not one.allows_device("c", 1, 5, "w")
    assert one.allows_device("c", 1, 5, "r")
    assert not one.allows_device("b", 1, 3, "r")


# resctrl


def test_classes_of_service_are_few() -> None:
    rdt = Resctrl(closids=2)
    one = rdt.make("one")
    refused(errno.ENOSPC, rdt.make, "two")
    refused(errno.EEXIST, rdt.make, "one")
    rdt.write(one, "L3:0=ff0;1=1")
    rdt.write(one, "MB:0=15")
    assert one.text() == "L3:0=ff0;1=1\nMB:0=20;1=100\n"
    assert rdt.matches(one, ["L3:0=ff", "L3:0=ff0", "MB:0=11"])
    assert not rdt.matches(one, ["L3:0=ff"])
    rdt.remove("one")
    rdt.make("two")


@pytest.mark.parametrize(
    "line", ["", "L3", "L9:0=f", "L3:7=f", "L3:0=5", "L3:0=0", "L3:0=fffffff", "L3:0=x", "MB:0=5", "MB:0=101"]
)
def test_impossible_schemata(line: str) -> None:
    refused(errno.EINVAL, Resctrl().parse, line)


def test_a_change_is_whole_or_not_at_all() -> None:
    rdt = Resctrl()
    refused(errno.EINVAL, rdt.change, rdt.root, ["L3:0=f", "MB:0=5"])
    assert rdt.root.text() == "L3:0=fffff;1=fffff\nMB:0=100;1=100\n"
    rdt.change(rdt.root, ["L3:0=f", "MB:0=50"])
    assert rdt.root.text() == "L3:0=f;1=fffff\nMB:0=50;1=100\n"


def test_monitoring_groups_are_few() -> None:
    rdt = Resctrl(rmids=2)
    rdt.make_monitor(rdt.root, "one")
    refused(errno.ENOSPC, rdt.make_monitor, rdt.root, "two")
    refused(errno.EOPNOTSUPP, Resctrl(rmids=0).make_monitor, rdt.root, "one")


# seccomp


def filtered(default: str = "SCMP_ACT_ALLOW", *rules: dict[str, Any]) -> Filter:
    return Filter(LoadSeccomp(because="", default_action=default, syscalls=rules))


def test_filters_decide_call_by_call() -> None:
    one = filtered(
        "SCMP_ACT_ERRNO",
        {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW", "errno": None, "args": []},
        {
            "names": ["personality"],
            "action": "SCMP_ACT_ALLOW",
            "errno": None,
            "args": [{"index": 0, "value": 8, "value_two": 0, "op": "SCMP_CMP_EQ"}],
        },
        {
            "names": ["clone"],
            "action": "SCMP_ACT_ALLOW",
            "errno": None,
            "args": [{"index": 0, "value": 0x7E020000, "value_two": 0, "op": "SCMP_CMP_MASKED_EQ"}],
        },
    )
    assert one.verdict("read", ()) == ("SCMP_ACT_ALLOW", errno.EPERM)
    assert one.verdict("personality", (8,))[0] == "SCMP_ACT_ALLOW"
    assert one.verdict("personality", (9,))[0] == "SCMP_ACT_ERRNO"
    assert one.verdict("clone", (17,))[0] == "SCMP_ACT_ALLOW"
    assert one.verdict("clone", (0x10000000,))[0] == "SCMP_ACT_ERRNO"
    assert one.verdict("chmod", ()) == ("SCMP_ACT_ERRNO", errno.EPERM)


def test_calls_that_are_newer_than_a_profile_are_not_implemented() -> None:
    rule = {"names": ["statx", "no_such_call"], "action": "SCMP_ACT_ALLOW", "errno": None, "args": []}
    for default, newer in (("SCMP_ACT_ERRNO", errno.ENOSYS), ("SCMP_ACT_KILL", errno.EPERM)):
        one = filtered(default, rule)
        assert one.verdict("statx", ())[0] == "SCMP_ACT_ALLOW"
        assert one.verdict("mount", ()) == (default, errno.EPERM)
        # One that the machine has, and one that it does not have either.
        assert one.verdict("openat2", ()) == one.verdict("no_such_call", ()) == (default, newer)


def test_the_strictest_of_several_filters_counts() -> None:
    allow, kill = filtered("SCMP_ACT_ALLOW"), filtered("SCMP_ACT_KILL_PROCESS")
    assert judge([allow, kill, allow], "read", ())[0] == "SCMP_ACT_KILL_PROCESS"
    assert judge([], "read", ())[0] == "SCMP_ACT_ALLOW"


def test_filters_that_libseccomp_refuses() -> None:
    refused(errno.EINVAL, filtered, "SCMP_ACT_DREAM")
    odd = {
        "names": ["read"],
        "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}],
    }
    refused(errno.EINVAL, filtered, "SCMP_ACT_ALLOW", odd)


# files and mounts


def tree(seed: dict[str, Any]) -> tuple[MountNamespace, Location]:
    mount = Mount("tmpfs", "tmpfs", grow(seed))
    return MountNamespace(mount), Location(mount, mount.root)


def test_paths_stay_inside_the_root() -> None:
    spaces, root = tree(
        {
            "etc": {"passwd": "inside"},
            "up": Symlink("../../../etc/passwd"),
            "absolute": Symlink("/etc"),
            "loop": Symlink("loop"),
            "chain": {"a": Symlink("../absolute/passwd")},
        }
    )
    for path in ("/etc/passwd", "/../../etc/passwd", "up", "/absolute/passwd", "chain/a", "/etc/./passwd"):
        node = walk(spaces, root, path).node
        assert isinstance(node, File)
        assert node.read() == b"inside"
    refused(errno.ELOOP, walk, spaces, root, "/loop")
    refused(errno.ELOOP, walk, spaces, root, "/absolute/passwd", links=False)
    refused(errno.ENOENT, walk, spaces, root, "/nowhere")
    refused(errno.ENOTDIR, walk, spaces, root, "/etc/passwd/x")
    refused(errno.ENAMETOOLONG, walk, spaces, root, "/" + "x" * 256)
    refused(errno.ENAMETOOLONG, walk, spaces, root, "/x" * 2048)
    refused(errno.EINVAL, walk, spaces, root, "/a\0b")
    assert isinstance(walk(spaces, root, "/loop", follow=False).node, Symlink)


def test_missing_parts_are_made_where_writing_is_allowed() -> None:
    spaces, root = tree({"link": Symlink("/made")})
    assert isinstance(walk(spaces, root, "/link/a/b", make="dir").node, Directory)
    assert isinstance(walk(spaces, root, "/made/a/c/d", make="file").node, File)
    spaces.root.attributes = frozenset({"ro"})
    refused(errno.EROFS, walk, spaces, root, "/other", make="dir")


def test_mounts_cover_and_uncover() -> None:
    spaces, root = tree({"a": {"b": {"old": ""}}, "file": ""})
    first = Mount("tmpfs", "one", grow({"new": {}}))
    spaces.attach(first, walk(spaces, root, "/a/b"), "/a/b")
    assert walk(spaces, root, "/a/b").node is first.root
    second = Mount("tmpfs", "two", grow({"newer": ""}))
    spaces.attach(second, walk(spaces, root, "/a/b/new"), "/a/b/new")
    assert list(spaces.below(first)) == [first, second]
    copied = spaces.copy()
    assert isinstance(walk(copied, Location(copied.root, root.node), "/a/b/new/newer").node, File)
    spaces.detach(first)
    assert isinstance(walk(spaces, root, "/a/b/old").node, File)
    assert isinstance(walk(copied, Location(copied.root, root.node), "/a/b/new/newer").node, File)
    refused(errno.ENOTDIR, spaces.attach, Mount("tmpfs", "", File()), walk(spaces, root, "/a"), "/a")


def test_binds_take_along_what_is_below_only_if_asked_to() -> None:
    spaces, root = tree({"a": {"b": {}}, "c": {}})
    spaces.attach(Mount("tmpfs", "one", grow({"new": ""})), walk(spaces, root, "/a/b"), "/a/b")
    for recursive in (False, True):
        made, inside = spaces.bind(walk(spaces, root, "/a"), recursive=recursive)
        spaces.attach(made, walk(spaces, root, "/c"), "/c")
        spaces.adopt(copied for _, copied in inside)
        found = walk(spaces, root, "/c/b").node
        assert isinstance(found, Directory)
        assert found.names() == (["new"] if recursive else [])
    root.mount.set_propagation("unbindable")
    refused(errno.EINVAL, spaces.bind, Location(root.mount, root.node), recursive=False)


def test_mounts_propagate_to_slaves_only() -> None:
    kernel = FakeKernel()
    listening = kernel.scheduler.fork(kernel.init)
    deaf = kernel.scheduler.fork(kernel.init)
    for process, kind in ((listening, "rslave"), (deaf, "rprivate")):
        spaces = process.namespaces.copy()
        spaces.mount = type(spaces.mount)(1, spaces.user, spaces.mount.tree.copy())
        spaces.mount.tree.set_propagation(spaces.mount.tree.root, kind)
        process.namespaces = spaces
    kernel.mount(grow({"disk": ""}), "/tmp")
    assert isinstance(listening.namespaces.mount.tree.find("/tmp/disk").node, File)
    refused(errno.ENOENT, deaf.namespaces.mount.tree.find, "/tmp/disk")


def test_the_real_disk_is_read_and_never_written(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/file").write_text("from disk")
    (tmp_path / "escape").symlink_to("/etc")
    kernel = FakeKernel()
    refused(errno.ENOENT, kernel.host_find, str(tmp_path))
    kernel.show_disk(str(tmp_path))
    node = kernel.host_find(f"{tmp_path}/dir/file").node
    assert isinstance(node, File)
    assert node.read() == b"from disk"
    node.write(b"changed")
    assert node.read() == b"changed"
    directory = kernel.host_find(f"{tmp_path}/dir").node
    assert isinstance(directory, Directory)
    directory.put("made", Device("c", 1, 3))
    directory.drop("file")
    assert directory.names() == ["made"]
    assert kernel.host_find(f"{tmp_path}/escape/hostname").node is kernel.host_find("/etc/hostname").node
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["dir", "escape", "file"]
    assert (tmp_path / "dir/file").read_text() == "from disk"


# namespaces and time


def test_id_maps() -> None:
    host = UserNamespace(1, None)
    inner = UserNamespace(2, host)
    refused(errno.EINVAL, inner.write_map, "uid", [])
    refused(errno.EINVAL, inner.write_map, "uid", [(0, 0, 0)])
    refused(errno.EINVAL, inner.write_map, "uid", [(0, 100, 10), (5, 200, 10)])
    refused(errno.EINVAL, inner.write_map, "uid", [(0, 100, 10), (20, 105, 10)])
    inner.write_map("uid", [(0, 100000, 10), (10, 5, 1)])
    refused(errno.EPERM, inner.write_map, "uid", [(0, 1, 1)])
    assert [inner.to_host("uid", number) for number in (0, 9, 10, 11)] == [100000, 100009, 5, None]
    nested = UserNamespace(3, inner)
    refused(errno.EPERM, nested.write_map, "uid", [(0, 5, 20)])
    nested.write_map("uid", [(0, 5, 2)])
    assert nested.to_host("uid", 1) == 100006


def test_the_clock_jumps_from_one_timer_to_the_next() -> None:
    clock = Clock()
    seen: list[float] = []
    for seconds in (3, 1, 2):
        clock.call_after(seconds, lambda: seen.append(clock.seconds))
    clock.call_after(1.5, lambda: seen.append(0)).cancel()
    while (due := clock.next_due()) is not None:
        clock.jump(due)
    assert seen == [2.0, 3.0, 4.0]
    assert clock.rfc3339() == "2000-01-01T00:00:04.000000000Z"
