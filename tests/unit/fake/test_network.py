"""Network devices of the fake kernel: moved, given back, released with their namespace."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from tests.unit.fake.planned import Container, base, machine, made

import orlop
from orlop_fake import Address, FakeKernel, FakePlatform, every_fault
from orlop_fake.namespaces import NetworkNamespace
from orlop_hookspecs import steps
from orlop_hookspecs.errors import StepError
from orlop_hookspecs.steps import Step

ROOTFS = "/image"
JOINED = "/run/netns/blue"


def moved(*devices: tuple[str, str]) -> Step:
    return made(steps.MoveNetDevices, devices=devices)


def lines(space: Any) -> list[str]:
    assert isinstance(space, NetworkNamespace)
    return [link.describe() for link in space.links.values()]


def host(kernel: FakeKernel) -> list[str]:
    return lines(kernel.init.namespaces.network)


def joining(*more: Step) -> list[Step]:
    """Return the steps of a container in the network namespace that is kept at :data:`JOINED`."""
    join = made(steps.JoinNamespace, type="network", path=JOINED)
    return [one for one in base(*more, join) if (type(one).__name__, getattr(one, "type", "")) != NEW]


NEW = ("NewNamespace", "network")


def test_permanent_global_addresses_go_along_and_the_device_is_brought_up() -> None:
    kernel = machine()
    kernel.add_link(
        "net0",
        "192.0.2.1/24",
        "2001:db8::1/64",
        Address("192.0.2.9/24", permanent=False),
        Address("fe80::1/64", "link"),
        up=False,
    )
    one = Container(kernel, base(moved(("net0", "in%d"), ("eth0", "net0")))).create()
    inside = one.process.namespaces.network
    assert lines(inside) == ["lo down", "in0 up 192.0.2.1/24 2001:db8::1/64", "net0 up"]
    assert host(kernel) == ["lo up"]
    assert kernel.leaks() != []
    one.delete()
    assert host(kernel) == ["lo up", "in0 down", "net0 down"]
    assert kernel.leaks() == []


def test_the_end_of_a_namespace_gives_physical_devices_back_and_destroys_virtual_ones() -> None:
    kernel = machine()
    kernel.add_link("veth1", kind="veth")
    one = Container(kernel, base(moved(("veth1", "a"), ("eth0", "b")))).create()
    kernel.add_link("b")
    one.delete()
    assert host(kernel) == ["lo up", "b up", "dev0 down"]


def test_a_namespace_that_is_kept_keeps_the_devices() -> None:
    kernel = machine()
    kept = kernel.add_namespace("network", JOINED)
    assert isinstance(kept, NetworkNamespace)
    kernel.add_link("eth0", kind="veth", path=JOINED)
    one = Container(kernel, joining(moved(("eth0", "eth%d")))).create()
    assert lines(kept) == ["lo down", "eth0 up", "eth1 up"]
    assert kept.links["eth1"].index not in {link.index for name, link in kept.links.items() if name != "eth1"}
    one.delete()
    assert lines(kept) == ["lo down", "eth0 up", "eth1 up"]


@pytest.mark.parametrize(
    ("devices", "number"),
    [
        ((("eth0", "x"), ("eth7", "y")), errno.ENODEV),
        ((("eth0", "x"), ("lo", "y")), errno.EINVAL),
        ((("eth0", "x"), ("br0", "y")), errno.EINVAL),
        ((("eth0", "x"), ("port", "y")), errno.EBUSY),
        ((("eth0", "taken"),), errno.EEXIST),
        ((("eth0", "x"), ("net0", "x")), errno.EEXIST),
        ((("eth0", "a/b"),), errno.EINVAL),
        ((("eth0", "%d%d"),), errno.EINVAL),
        ((("eth0", "n" * 16),), errno.EINVAL),
        ((("net0", "x"), ("six", "y")), errno.EACCES),
    ],
)
def test_refusals_leave_the_host_as_it_was(devices: tuple[tuple[str, str], ...], number: int) -> None:
    kernel = machine()
    kept = kernel.add_namespace("network", JOINED)
    assert isinstance(kept, NetworkNamespace)
    kept.sysctls["net.ipv6.conf.default.disable_ipv6"] = "1"
    kernel.add_link("taken", path=JOINED)
    kernel.add_link("net0", "192.0.2.1/24")
    kernel.add_link("six", "2001:db8::1/64")
    kernel.add_link("br0", kind="bridge")
    kernel.add_link("port", kind="veth").master = "br0"
    before = kernel.snapshot(), lines(kept)
    one = Container(kernel, joining(moved(*devices)))
    with pytest.raises(StepError) as caught:
        one.create()
    assert caught.value.errno == number
    one.delete()
    kernel.memory.free_unused()
    assert sorted(host(kernel)) == sorted(before[0].sections["links"])
    assert lines(kept) == before[1]
    assert kernel.leaks() == []


def test_an_unprivileged_runtime_moves_nothing() -> None:
    kernel = machine(uid=1000)
    user = made(steps.NewNamespace, type="user")
    maps = made(steps.SetIdMappings, uid=((0, 1000, 1),), gid=((0, 1000, 1),))
    one = Container(kernel, base(user, maps, moved(("eth0", "x"))), manage_cgroups=False)
    with pytest.raises(StepError) as caught:
        one.create()
    assert caught.value.errno in {errno.EPERM, errno.EACCES}


CONFIG: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "root": {"path": ROOTFS},
    "process": {"user": {"uid": 0, "gid": 0}, "args": ["/bin/sleep", "5"], "cwd": "/"},
    "linux": {
        "namespaces": [{"type": kind} for kind in ("mount", "pid", "network")],
        "netDevices": {"net0": {"name": "inside"}, "net1": {}},
    },
}


def test_no_device_is_lost_whatever_fails() -> None:
    kernels: list[FakeKernel] = []

    def kernel() -> FakeKernel:
        made = FakeKernel()
        made.add_rootfs(ROOTFS)
        made.add_link("net0", "192.0.2.1/24", Address("192.0.2.2/24", "link"))
        made.add_link("net1", up=False)
        kernels.append(made)
        return made

    def prepare(runtime: orlop.Runtime) -> None:
        # An earlier container that came to life has released its devices: who owns the host restores them.
        links = kernels[-1].init.namespaces.network.links
        if "inside" in links:
            links["net0"] = links.pop("inside")
            links["net0"].name = "net0"
        assert {"net0", "net1"} <= set(links)

    reports = every_fault(
        lambda runtime: runtime.create("box", CONFIG),
        lambda kernel: orlop.Runtime.compose(platform=FakePlatform(kernel)),
        prepare=prepare,
        kernel=kernel,
    )
    assert len(reports) > 30


def test_a_failed_creation_gives_back_addresses_and_flags() -> None:
    kernel = machine()
    kernel.add_link("net0", "192.0.2.1/24", Address("192.0.2.2/24", "link"))
    kernel.add_link("net1", up=False)
    before = sorted(host(kernel))
    runtime = orlop.Runtime.compose(platform=FakePlatform(kernel))
    for point in ("clone", "build", "commit"):
        kernel.faults.crash_after(point)
        with pytest.raises(BaseException, match="killed"):
            runtime.create("box", CONFIG)
        kernel.faults.clear()
        runtime = orlop.Runtime.compose(platform=FakePlatform(kernel))
        committed = point == "commit"
        runtime.get("box").delete(force=True)
        assert kernel.leaks() == []
        assert (sorted(host(kernel)) == before) is not committed
