"""The fake kernel refuses the mounts that Linux refuses, with the same errno, and maps owners as it does."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from tests.unit.fake.planned import IMAGE, Container, base, machine, made

from orlop_fake import FakeKernel
from orlop_fake.ownership import OVERFLOW, shown, stored
from orlop_fake.vfs import Symlink
from orlop_hookspecs import steps
from orlop_hookspecs.errors import StepError
from orlop_hookspecs.steps import Step

IDS = {"recursive": False, "uid": ((0, 1000, 10),), "gid": ((0, 2000, 10),)}
OWN = {"recursive": False, "uid": (), "gid": ()}
USER = (
    made(steps.NewNamespace, type="user"),
    made(steps.SetIdMappings, uid=((0, 100_000, 65_536),), gid=((0, 100_000, 65_536),)),
)


def tmpfs(destination: str = "/tmp", **fields: Any) -> Step:
    return made(steps.MountFilesystem, destination=destination, **({"type": "tmpfs"} | fields))


def bind(source: str, destination: str = "/tmp", **fields: Any) -> Step:
    return made(steps.MountBind, destination=destination, source=source, **fields)


def refusal(*more: Step, kernel: FakeKernel | None = None) -> StepError:
    one = Container(kernel or machine(), base(*more))
    with pytest.raises(StepError) as caught:
        one.create()
    one.delete()
    return caught.value


@pytest.mark.parametrize(
    ("step", "number"),
    [
        (tmpfs("/"), errno.EBUSY),
        (tmpfs("/.."), errno.EBUSY),
        (tmpfs("/self"), errno.EBUSY),
        (bind("/etc", "/self"), errno.EBUSY),
        (tmpfs("/proc"), errno.EPERM),
        (tmpfs("/proc/sys"), errno.EPERM),
        (tmpfs("/detour/sys"), errno.EPERM),
        (bind("/etc/hostname", "/proc/version"), errno.EPERM),
        (bind("/etc/hostname", "/detour/uptime"), errno.EPERM),
        (bind("/etc", "/proc"), errno.EPERM),
        (bind("/proc/sys", "/proc"), errno.EPERM),
        (tmpfs(data=(f"mpol={'x' * 5000}",)), errno.E2BIG),
        (tmpfs(data=tuple(f"size={n:04}" for n in range(1000)), superblock=("iversion",)), errno.E2BIG),
        (tmpfs(type="ramfs", idmap=IDS), errno.EINVAL),
        (tmpfs(type="mqueue", idmap=IDS), errno.EINVAL),
        (tmpfs(idmap=OWN), errno.EINVAL),
        (bind("/proc", idmap=IDS), errno.EINVAL),
        (tmpfs(idmap={"recursive": False, "uid": ((0, 0, 0),), "gid": ()}), errno.EINVAL),
    ],
)
def test_refusals(step: Step, number: int) -> None:
    kernel = machine()
    kernel.add_files(
        {f"{IMAGE}/self": Symlink("/"), f"{IMAGE}/detour": Symlink("/proc"), "/etc/hostname": "x"}
    )
    error = refusal(made(steps.MountProc, destination="/proc"), step, kernel=kernel)
    assert error.errno == number
    assert kernel.leaks() == []


@pytest.mark.parametrize(
    ("step", "destination"),
    [
        (bind("/etc/hostname", "/proc/uptime"), "/proc/uptime"),
        (bind("/proc", "/proc"), "/proc"),
        (bind("/etc", "/detour/../tmp"), "/tmp"),
        (made(steps.MountProc, destination="/proc"), "/proc"),
    ],
)
def test_what_may_cover_a_procfs(step: Step, destination: str) -> None:
    kernel = machine()
    kernel.add_files({"/etc/hostname": "x", f"{IMAGE}/detour": Symlink("/etc")})
    Container(kernel, base(made(steps.MountProc, destination="/proc"), step)).create()
    tree = kernel.container_process("one").namespaces.mount.tree
    assert destination in {mount.path for mount in tree.mounts} or destination == "/tmp"


def test_a_missing_source_is_said_of_the_source() -> None:
    one = steps.MountBind(because="/mounts/3", destination="/tmp", source="/absent")
    error = refusal(one)
    assert (error.pointer, error.errno) == ("/mounts/3/source", errno.ENOENT)


def test_only_what_has_no_medium_is_mapped_in_a_user_namespace() -> None:
    overlay = tmpfs(type="overlay", data=("lowerdir=/etc",), idmap=IDS)
    assert refusal(*USER, overlay).errno == errno.EPERM
    assert refusal(overlay).errno == errno.EINVAL


def test_nothing_is_mapped_twice() -> None:
    kernel = machine()
    kernel.add_files({"/data": {"file": "x"}})
    place = kernel.host_find("/data")
    place.mount.idmap = {"uid": ((0, 5, 1),), "gid": ((0, 5, 1),)}
    assert refusal(bind("/data", idmap=IDS), kernel=kernel).errno == errno.EPERM


@pytest.mark.parametrize("late", [{"attributes": ("ro",)}, {"recursive": (("ro", True),)}])
def test_read_only_comes_last_where_more_is_to_be_made(late: dict[str, Any]) -> None:
    device = made(steps.CreateDevice, path="/dev/null", type="c", major=1, minor=3)
    kernel = machine()
    Container(kernel, base(tmpfs("/dev", **late), tmpfs("/dev/shm"), device)).create()
    tree = kernel.container_process("one").namespaces.mount.tree
    readonly = {mount.path: mount.readonly for mount in tree.mounts}
    assert readonly["/dev"]
    assert not readonly["/dev/shm"]


def test_a_file_system_with_a_medium_is_read_only_at_once() -> None:
    kernel = machine()
    kernel.add_files({"/lower": {}})
    overlay = tmpfs(type="overlay", data=("lowerdir=/lower",), attributes=("ro",))
    assert refusal(overlay, tmpfs("/tmp/below"), kernel=kernel).errno == errno.EROFS


def test_owners_through_an_id_mapped_mount() -> None:
    kernel = machine()
    kernel.add_files({"/data": {"file": "x", "other": "y"}})
    kernel.host_find("/data/other").node.uid = 50
    Container(kernel, base(*USER, bind("/data", idmap=IDS | {"uid": ((0, 100_007, 1),)}))).create()
    process = kernel.container_process("one")
    user = process.namespaces.user
    file, other = (
        process.namespaces.mount.tree.find(f"/tmp/{name}", process.root) for name in ("file", "other")
    )
    # The group becomes the host's 2000, which the container's user namespace does not have.
    assert shown(file, user) == (7, OVERFLOW)
    assert shown(other, user) == (OVERFLOW, OVERFLOW)
    with pytest.raises(OSError, match="value too large") as caught:
        stored(file.mount, user, 7, 0)
    assert caught.value.errno == errno.EOVERFLOW
    host = kernel.init.namespaces.user
    assert stored(file.mount, host, 100_007, 2003) == (0, 3)
    assert shown(kernel.host_find("/data/other"), host) == (50, 0)


def test_a_sysfs_of_the_callers_network_namespace() -> None:
    sysfs = made(steps.MountSysfs, destination="/sys")
    kernel = machine()
    plan = [one for one in base(*USER, sysfs) if getattr(one, "type", "") != "network"]
    Container(kernel, plan).create()
    kernel = machine()
    kernel.add_namespace("network", "/run/net")
    joined = made(steps.JoinNamespace, type="network", path="/run/net")
    with pytest.raises(StepError) as caught:
        Container(kernel, [*plan, joined]).create()
    assert caught.value.errno == errno.EPERM


def test_ten_thousand_mounts() -> None:
    kernel = machine()
    kernel.add_files({"/data": {"file": "x"}})
    mounts = [
        bind("/data", f"/tmp/{number}", recursive=(("ro", True),), propagation=("rprivate",))
        if number % 2
        else tmpfs(f"/tmp/{number}", attributes=("ro",), propagation=("rslave",))
        for number in range(10_000)
    ]
    one = Container(kernel, base(tmpfs("/tmp"), *mounts)).create()
    tree = kernel.container_process("one").namespaces.mount.tree
    assert sum(mount.readonly for mount in tree.mounts) == 10_000
    one.delete()
    assert kernel.leaks() == []
