"""Network devices of a network namespace that the test has made, moved into real containers."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.linux.faults.points import run
from tests.linux.faults.rig import NAMESPACES, Rig
from tests.linux.network.stage import Host, Space
from tests.linux.network.support import ADDRESSES, create, devices, full, good

import orlop


@pytest.fixture
def inside(rig: Rig, host: Host) -> Callable[[], dict[str, Any]]:
    """Return what there is in the network namespace of the container."""

    def look() -> dict[str, Any]:
        pid = int(good(rig, host, "state", "box").state["pid"])
        space = Space.of(pid)
        try:
            return space.snapshot()
        finally:
            space.close()

    return look


@pytest.fixture(autouse=True)
def _removed(rig: Rig, host: Host) -> Iterator[None]:
    yield
    run(rig, "delete", "--force", "box", arm=host.enter_all)


@pytest.mark.every_lane
def test_a_device_is_moved_with_its_attributes_and_addresses(
    rig: Rig, host: Host, inside: Callable[[], dict[str, Any]]
) -> None:
    host.add_veth("test0", "peer0", *ADDRESSES)
    host.call(lambda api: api.link("set", index=api.link_lookup(ifname="test0")[0], mtu=1400, ifalias="mine"))
    before = host.snapshot()["links"]["test0"]
    assert len(before["addresses"]) == len(ADDRESSES)
    rig.write(devices(rig, test0={}))
    assert create(rig, host).status == 0
    assert set(host.snapshot()["links"]) == {"lo", "peer0"}
    assert inside()["links"]["test0"] == before
    good(rig, host, "start", "box")
    assert inside()["links"]["test0"] == before
    good(rig, host, "delete", "--force", "box")


def test_a_device_is_renamed_and_brought_up(
    rig: Rig, host: Host, inside: Callable[[], dict[str, Any]]
) -> None:
    host.add_veth("test0", "peer0", "192.0.2.7/24", up=False)
    before = host.snapshot()["links"]["test0"]
    assert not before["up"]
    rig.write(devices(rig, test0={"name": "eth0"}))
    assert create(rig, host).status == 0
    there = inside()["links"]
    assert set(there) == {"lo", "eth0"}
    assert there["eth0"]["up"]
    assert [one[0] for one in there["eth0"]["addresses"]] == ["192.0.2.7"]
    assert there["eth0"]["addresses"][0][3] == "eth0"  # the label follows the name


def test_names_can_be_exchanged_and_patterns_are_filled_in(
    rig: Rig, host: Host, inside: Callable[[], dict[str, Any]]
) -> None:
    host.add_veth("a", "b", "192.0.2.1/32")
    host.add_veth("c", "d", "192.0.2.3/32")
    wanted = {"a": {"name": "b"}, "b": {"name": "a"}, "c": {"name": "eth%d"}, "d": {"name": "eth%d"}}
    rig.write(devices(rig, **wanted))
    assert create(rig, host).status == 0
    there = inside()["links"]
    assert set(there) == {"lo", "a", "b", "eth0", "eth1"}
    assert there["b"]["addresses"][0][0] == "192.0.2.1"
    assert there["eth0"]["addresses"][0][0] == "192.0.2.3"
    assert set(host.snapshot()["links"]) == {"lo"}


def test_only_permanent_addresses_of_global_scope_go_along(
    rig: Rig, host: Host, inside: Callable[[], dict[str, Any]]
) -> None:
    host.add_veth("test0", "peer0", "192.0.2.1/32")

    def more(api: Any) -> None:
        index = api.link_lookup(ifname="test0")[0]
        api.addr("add", index=index, address="192.0.2.2", prefixlen=32, scope=253)
        api.addr("add", index=index, address="192.0.2.3", prefixlen=32, preferred_lft=500, valid_lft=500)

    host.call(more)
    rig.write(devices(rig, test0={}))
    assert create(rig, host).status == 0
    pid = int(good(rig, host, "state", "box").state["pid"])
    space = Space.of(pid)
    found = space.call(lambda api: [a.get_attr("IFA_LOCAL") for a in api.get_addr(family=2, label="test0")])
    space.close()
    assert found == ["192.0.2.1"]


def test_a_joined_namespace_keeps_the_device(rig: Rig, host: Host, tmp_path: Path) -> None:
    """Its owner has it until the end: the runtime may not take devices out (config-linux.md)."""
    there = Space.new()
    try:
        there.add_veth("x", "y")
        host.add_veth("test0", "peer0", *ADDRESSES)
        before = host.snapshot()["links"]["test0"]
        assert before["index"] in {one["index"] for one in there.snapshot()["links"].values()}
        others = [{"type": kind} for kind in NAMESPACES if kind != "network"]
        path = f"/proc/{os.getpid()}/fd/{there.fd}"
        config = rig.config(
            linux={
                "namespaces": [*others, {"type": "network", "path": path}],
                "netDevices": {"test0": {"name": "eth0"}},
            }
        )
        rig.write(config)
        assert create(rig, host).status == 0
        moved = there.snapshot()["links"]["eth0"]
        assert moved["address"] == before["address"]
        assert [one[0] for one in moved["addresses"]] == [one[0] for one in before["addresses"]]
        good(rig, host, "delete", "--force", "box")
        assert set(there.snapshot()["links"]) == {"lo", "x", "y", "eth0"}
        assert set(host.snapshot()["links"]) == {"lo", "peer0"}
    finally:
        there.close()


REFUSED: dict[str, tuple[dict[str, dict[str, str]], str]] = {
    "missing": ({"test0": {}, "absent": {}}, "absent: there is no such network device"),
    "in a bridge": ({"test0": {}, "port": {}}, "port of bridge0"),
    "the bridge itself": ({"test0": {}, "bridge0": {}}, "bridge0"),
    "another name": ({"test0": {}, "second": {}}, "another name of the network device test1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_device_that_cannot_be_moved_leaves_all_as_they_were(rig: Rig, host: Host, case: str) -> None:
    full(host)

    def more(api: Any) -> None:
        api.link("add", ifname="bridge0", kind="bridge")
        api.link("add", ifname="port", kind="veth", peer="other")
        bridge = api.link_lookup(ifname="bridge0")[0]
        api.link("set", index=api.link_lookup(ifname="port")[0], master=bridge)
        api.link("property_add", index=api.link_lookup(ifname="test1")[0], altname="second")

    host.call(more)
    before = host.snapshot()
    wanted, text = REFUSED[case]
    rig.write(devices(rig, **wanted))
    outcome = create(rig, host)
    assert outcome.status == 1, outcome
    assert text in outcome.err, outcome
    assert "/linux/netDevices/" in outcome.err, outcome
    assert outcome.err.count("\n") == 1, outcome
    assert host.snapshot() == before
    assert rig.left() + host.left() == []


@pytest.mark.every_lane
def test_a_name_that_is_taken_inside_is_refused_before_anything_moves(rig: Rig, host: Host) -> None:
    there = Space.new()
    try:
        there.add_veth("eth0", "y")
        before = full(host), there.snapshot()
        others = [{"type": kind} for kind in NAMESPACES if kind != "network"]
        space = {"type": "network", "path": f"/proc/{os.getpid()}/fd/{there.fd}"}
        wanted = {"test1": {}, "test0": {"name": "eth0"}}
        rig.write(rig.config(linux={"namespaces": [*others, space], "netDevices": wanted}))
        outcome = create(rig, host)
        assert outcome.status == 1
        assert "test0: the container's network namespace has a device eth0 already" in outcome.err, outcome
        assert (host.snapshot(), there.snapshot()) == before
        wanted["test0"]["name"] = "eth%d"
        rig.write(rig.config(linux={"namespaces": [*others, space], "netDevices": wanted}))
        assert create(rig, host).status == 0
        assert set(there.snapshot()["links"]) == {"lo", "y", "eth0", "eth1", "test1"}
    finally:
        there.close()


def test_the_runtimes_own_namespace_is_no_place_to_move_to(rig: Rig, host: Host) -> None:
    before = full(host)
    others = [{"type": kind} for kind in NAMESPACES if kind != "network"]
    space = {"type": "network", "path": f"/proc/{os.getpid()}/fd/{host.fd}"}
    rig.write(rig.config(linux={"namespaces": [*others, space], "netDevices": {"test0": {"name": "x"}}}))
    outcome = create(rig, host)
    assert outcome.status == 1
    assert "the runtime's own" in outcome.err
    assert host.snapshot() == before


def test_an_address_that_the_namespace_does_not_take_is_an_error(
    rig: Rig, host: Host, tmp_path: Path
) -> None:
    """Without IPv6 in the joined namespace an address of that family cannot be kept."""
    there = Space.new()

    def without_ipv6(_: Any) -> None:
        Path("/proc/thread-self/net").exists()
        for name in ("all", "default"):
            Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")

    try:
        there.call(without_ipv6)
        before = full(host)
        others = [{"type": kind} for kind in NAMESPACES if kind != "network"]
        space = {"type": "network", "path": f"/proc/{os.getpid()}/fd/{there.fd}"}
        rig.write(rig.config(linux={"namespaces": [*others, space], "netDevices": {"test0": {}}}))
        outcome = create(rig, host)
        assert outcome.status == 1, outcome
        assert "cannot keep the address 2001:db8::7/64 of the network device test0" in outcome.err, outcome
        assert host.snapshot() == before
        assert set(there.snapshot()["links"]) == {"lo"}
    finally:
        there.close()


def test_a_container_with_users_of_its_own_gets_devices(
    rig: Rig, host: Host, inside: Callable[[], dict[str, Any]]
) -> None:
    host.add_veth("test0", "peer0", *ADDRESSES)
    before = host.snapshot()["links"]["test0"]
    config = devices(rig, test0={})
    config["mounts"].append({"destination": "/dev", "type": "tmpfs", "source": "tmpfs"})
    maps = [{"containerID": 0, "hostID": 100_000, "size": 1000}]
    config["linux"]["namespaces"] = [{"type": kind} for kind in (*NAMESPACES, "user")]
    config["linux"] |= {"uidMappings": maps, "gidMappings": maps}
    rig.write(config)
    assert create(rig, host).status == 0
    assert inside()["links"]["test0"] == before


def test_a_program_with_an_event_loop_can_move_devices(rig: Rig, host: Host) -> None:
    """pyroute2 has an event loop, of which one thread can run only one."""
    host.add_veth("test0", "peer0", *ADDRESSES)
    rig.write(devices(rig, test0={}))
    found: list[set[str]] = []

    def arm() -> None:
        host.enter_all()

        async def act() -> None:
            runtime = orlop.Runtime.compose(platform="linux", root=str(rig.root))
            made = runtime.create("box", str(rig.bundle))
            space = Space.of(made.pid)
            found.append(set(space.snapshot()["links"]))
            made.delete(force=True)
            runtime.close()

        asyncio.run(act())
        assert found == [{"lo", "test0"}]

    outcome = run(rig, "list", "--quiet", arm=arm)
    assert outcome.status == 0, outcome


WITHOUT = """
import os, sys
sys.path[:0] = {path!r}
import orlop
from orlop_hookspecs.launch import LaunchOptions
null = os.open("/dev/null", os.O_RDWR)
runtime = orlop.Runtime.compose(platform="linux", root={root!r})
made = runtime.create("box", {bundle!r}, LaunchOptions(stdio=(null, null, null)))
made.start()
made.delete(force=True)
runtime.close()
print(*[name for name in sys.modules if name.partition(".")[0] == "pyroute2"])
"""


def test_a_config_without_devices_never_loads_pyroute2(rig: Rig) -> None:
    rig.write(rig.config())
    program = WITHOUT.format(
        path=[one for one in sys.path if one], root=str(rig.root), bundle=str(rig.bundle)
    )
    command = [sys.executable, "-I", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)
    assert done.stdout == "\n"
