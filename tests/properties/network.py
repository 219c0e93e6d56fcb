"""The case of network devices (config-linux.md, Network Devices)."""

from __future__ import annotations

import os
from pathlib import Path

from tests.linux.network.stage import Space
from tests.properties.case import Seen, case

_SPACES: list[Space] = []


def _enter(_: Path) -> None:
    """Go to a network namespace of the test, where a device is."""
    _SPACES[:] = [Space.of(os.getpid()), Space.new()]
    _SPACES[1].add_veth("case0", "peer", "192.0.2.7/24", "2001:db8::7/64")
    _SPACES[1].enter()


def _is_moved(seen: Seen) -> None:
    there = Space.of(seen.pid)
    inside = there.snapshot()["links"]
    there.close()
    assert set(inside) == {"lo", "renamed"}
    assert inside["renamed"]["up"]
    assert {one[1] for one in inside["renamed"]["addresses"]} == {"192.0.2.7", "2001:db8::7"}
    assert set(_SPACES[1].snapshot()["links"]) == {"lo", "peer"}


def _leave() -> None:
    while _SPACES:
        space = _SPACES.pop()
        if not _SPACES:
            space.enter()
        space.close()


case(
    "linux.netDevices.*.name",
    config={"linux": {"netDevices": {"case0": {"name": "renamed"}}}},
    prepare=_enter,
    host=_is_moved,
    last=_leave,
    alone=True,
)
