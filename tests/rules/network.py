"""Rules of network devices (config-linux.md, Network Devices)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.rules.world import ADDRESS, World, rule

from orlop_hookspecs.errors import OrlopError


def _wanted(**devices: dict[str, str]) -> dict[str, Any]:
    return {"linux": {"netDevices": devices}}


@rule
def a_network_device_is_moved_in_renamed_and_brought_up(w: World) -> None:
    w.add_device("test0")
    assert w.run("/bin/devices", change=_wanted(test0={"name": "inside"})) == (0, "inside up\nlo up\n")
    assert "test0" not in w.devices()


@rule
def a_network_device_keeps_its_name_if_none_is_given(w: World) -> None:
    w.add_device("test0")
    assert w.run("/bin/devices", change=_wanted(test0={})) == (0, "lo up\ntest0 up\n")


@rule
def the_kernel_numbers_a_device_whose_name_is_a_pattern(w: World) -> None:
    w.add_device("test0")
    assert w.run("/bin/devices", change=_wanted(test0={"name": "net%d"})) == (0, "lo up\nnet0 up\n")


@rule
def a_creation_that_fails_gives_network_devices_back(w: World) -> None:
    w.add_device("test0")
    before = w.devices()
    assert before["test0"] == [ADDRESS]
    bundle = w.hooked({"createRuntime": {"status": 3}}, change=_wanted(test0={"name": "inside"}))
    with pytest.raises(OrlopError):
        w.create("c", bundle=bundle)
    assert w.devices() == before
    with pytest.raises(OrlopError, match="no such network device") as caught:
        w.create("c", change=_wanted(test0={"name": "inside"}, absent={}))
    assert caught.value.pointer == "/linux/netDevices/absent"
    assert w.devices() == before
