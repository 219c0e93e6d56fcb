"""What the tests of network devices share: configs that ask for them, commands, a furnished host."""

from __future__ import annotations

from typing import Any

from tests.linux.faults.points import run
from tests.linux.faults.rig import Outcome, Rig
from tests.linux.network.stage import Host

ADDRESSES = ("192.0.2.7/24", "192.0.2.8/24", "198.51.100.1/32", "2001:db8::7/64")


def devices(rig: Rig, **devices: dict[str, str]) -> dict[str, Any]:
    """Return a config that asks for *devices*."""
    return rig.config(linux={"netDevices": devices})


def creation(rig: Rig) -> tuple[str, ...]:
    return ("create", "--bundle", str(rig.bundle), "box")


def create(rig: Rig, host: Host) -> Outcome:
    """Create the container in the network namespace of the test."""
    return run(rig, *creation(rig), arm=host.enter_all)


def good(rig: Rig, host: Host, *command: str) -> Outcome:
    """Run a command in the network namespace of the test, which must succeed silently."""
    outcome = run(rig, *command, arm=host.enter_all)
    assert outcome.status == 0, outcome
    assert outcome.err == "", outcome
    return outcome


def full(host: Host) -> dict[str, Any]:
    """Furnish the host with two devices, routes over them and addresses of both families."""
    host.add_veth("test0", "peer0", *ADDRESSES)
    host.add_veth("test1", "peer1", "203.0.113.1/24", up=False)

    def more(api: Any) -> None:
        api.route("add", dst="10.9.0.0/16", gateway="192.0.2.99", priority=7)
        api.route("add", dst="default", gateway="192.0.2.98")
        api.route("add", dst="10.10.0.0/16", oif=api.link_lookup(ifname="test0")[0], table=77, scope="link")

    host.call(more)
    return host.snapshot()
