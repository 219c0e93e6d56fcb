"""What the journal keeps of a network device, as it is read back."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from orlop_hookspecs.errors import StoreError
from orlop_linux.kernel.links import Device

DATA: dict[str, Any] = {
    "name": "eth0",
    "inside": "net%d",
    "index": 4,
    "there": 5,
    "mark": "02:00:00:00:00:01",
    "kind": "veth",
    "up": True,
    "addresses": [{"family": 2, "prefixlen": 24, "IFA_LOCAL": "192.0.2.1"}],
    "routes": [{"family": 2, "RTA_OIF": 4, "RTA_DST": None}],
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
        {"addresses": [{"family": [2]}]},
        {"routes": [{"RTA_DST": {"a": 1}}]},
        {"routes": None},
        {"more": 1},
    ],
)
def test_anything_else_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(StoreError, match="malformed"):
        Device(copy.deepcopy(DATA) | change)
    with pytest.raises(StoreError, match="malformed"):
        Device({})
