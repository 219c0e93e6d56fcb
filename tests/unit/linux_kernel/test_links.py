"""What the journal keeps of a network device, as it is read back."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest

from orlop_hookspecs.errors import StoreError
from orlop_linux.kernel.links import Device, _join

ADDRESS: dict[str, Any] = {
    "family": 2,
    "prefixlen": 24,
    "scope": 0,
    "flags": 0,
    "preferred": 1,
    "IFA_LOCAL": "192.0.2.1",
    "IFA_LABEL": "eth0",
    "device": "eth0",
}
ROUTE: dict[str, Any] = {
    **dict.fromkeys(("family", "dst_len", "src_len", "tos", "table", "proto", "scope", "type", "flags"), 0),
    "RTA_OIF": 4,
    "RTA_DST": "192.0.2.0",
}
DATA: dict[str, Any] = {
    "name": "eth0",
    "inside": "net%d",
    "index": 4,
    "there": 5,
    "mark": "02:00:00:00:00:01",
    "kind": "veth",
    "up": True,
    "addresses": [ADDRESS],
    "routes": [ROUTE],
}


def test_a_device_is_kept_as_plain_data() -> None:
    assert Device(DATA).to_data() == DATA


@pytest.mark.parametrize(
    "change",
    [
        {"name": 1},
        {"index": "4"},
        {"up": 1},
        {"up": None},
        {"addresses": {}},
        {"addresses": [[]]},
        {"addresses": [ADDRESS | {"family": [2]}]},
        {"addresses": [ADDRESS | {"preferred": True}]},
        {"addresses": [{"IFA_LOCAL": "192.0.2.1"}]},
        {"addresses": [ADDRESS | {"IFA_LABEL": 1}]},
        {"addresses": [{name: value for name, value in ADDRESS.items() if name != "device"}]},
        {"routes": [ROUTE | {"RTA_DST": {"a": 1}}]},
        {"routes": [{"RTA_DST": "192.0.2.0"}]},
        {"routes": None},
        {"more": 1},
    ],
)
def test_anything_else_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(StoreError, match="malformed"):
        Device(copy.deepcopy(DATA) | change)
    with pytest.raises(StoreError, match="malformed"):
        Device({})


def test_an_interruption_waits_for_devices_that_are_on_their_way() -> None:
    """Ctrl-C in a program that uses the library: what is given back must have arrived."""
    moved = []
    go = threading.Event()

    class Interrupted(threading.Thread):
        def run(self) -> None:
            moved.append(go.wait(60))

        def join(self, timeout: float | None = None) -> None:
            if not go.is_set():
                go.set()
                raise KeyboardInterrupt
            super().join(timeout)

    thread = Interrupted()
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        _join(thread)
    assert moved == [True]
