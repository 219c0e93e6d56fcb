"""Configs and cards that make the plugin do something, for `orlop plugin check` and for the tests."""

from __future__ import annotations

from typing import Any

from orlop_accelerator.cards import CARDS, MEMORY, STATE, pointer

GIB = 1 << 30
FILES: dict[str, str] = {
    f"{STATE}/accel0/memory": f"{4 * GIB}\n",
    f"{STATE}/accel0/clients/7": "4096\n",
    f"{STATE}/accel1/memory": f"{8 * GIB}\n",
}
"""What the daemon has written; the nodes are devices, which only a machine of a test can be given."""

SAMPLES: list[dict[str, Any]] = [
    {"name": "no card", "config": {"annotations": {CARDS: "all"}}, "refused": pointer(CARDS)},
    {
        "name": "no size",
        "config": {"annotations": {CARDS: "accel0", MEMORY: "much"}},
        "refused": pointer(MEMORY),
    },
    {"name": "only memory", "config": {"annotations": {MEMORY: "1g"}}, "refused": pointer(MEMORY)},
    {
        "name": "a card that is not there",
        "config": {"annotations": {CARDS: "accel7"}},
        "files": FILES,
        "refused": pointer(CARDS),
    },
]
