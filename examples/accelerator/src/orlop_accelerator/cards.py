"""The cards of a machine, as the driver's daemon describes them; and what containers ask of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orlop_hookspecs.frozen import Frozen, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orlop_hookspecs.host import HostView

STATE = "/run/accelerator"
"""Directory of the daemon: one directory for each card."""

CARDS = "com.example.accelerator/cards"
MEMORY = "com.example.accelerator/memory"

_NAME = re.compile(r"accel[0-9]{1,2}")
_SIZE = re.compile(r"([1-9][0-9]{0,11})([kmg]?)")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def pointer(annotation: str) -> str:
    """Return the JSON pointer of an annotation."""
    return "/annotations/" + annotation.replace("/", "~1")


@frozen
class Wish(Frozen):
    """What a container asks for."""

    cards: tuple[str, ...] = ()
    memory: int = 0
    """Bytes on each card; 0: as much as there is."""


def faults(annotations: Mapping[str, str] | None) -> list[tuple[str, str, str]]:
    """Return what is wrong with the annotations: pointer, message and value of each fault."""
    known = annotations or {}
    found = []
    if CARDS in known and not _names(known[CARDS]):
        found.append((pointer(CARDS), "not a list of cards such as accel0,accel1", known[CARDS]))
    if MEMORY in known and not _SIZE.fullmatch(known[MEMORY]):
        found.append((pointer(MEMORY), "not a size such as 512m", known[MEMORY]))
    if MEMORY in known and CARDS not in known:
        found.append((pointer(MEMORY), "memory is asked for, but no card", known[MEMORY]))
    return found


def wish(annotations: Mapping[str, str] | None) -> Wish | None:
    """Return what *annotations* ask for; ``None``: nothing, or nonsense."""
    known = annotations or {}
    if CARDS not in known or faults(known):
        return None
    size = _SIZE.fullmatch(known.get(MEMORY, ""))
    return Wish(_names(known[CARDS]), int(size[1]) * _UNITS[size[2]] if size else 0)


def _names(text: str) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(text.split(",")))
    return words if all(_NAME.fullmatch(word) for word in words) else ()


def cards(view: HostView) -> list[str]:
    """Return the names of the machine's cards."""
    return [name for name in view.names(STATE) if _NAME.fullmatch(name)]


def memory_of(view: HostView, card: str) -> int:
    """Return the bytes of memory on *card*.

    Raises:
        OSError: There is no such card.
    """
    return _number(view.read(f"{STATE}/{card}/memory"))


def clients(view: HostView, card: str) -> dict[int, int]:
    """Return the processes that use *card*, each with the bytes that it has allocated."""
    place = f"{STATE}/{card}/clients"
    found = {}
    for name in view.names(place):
        if name.isascii() and name.isdigit():
            try:
                found[int(name)] = _number(view.read(f"{place}/{name}"))
            except FileNotFoundError:
                continue  # it has ended just now
    return found


def shares(view: HostView, names: Sequence[str], processes: Sequence[int]) -> dict[str, dict[str, int]]:
    """Return what *processes* use of each card in *names*."""
    mine = set(processes)
    made = {}
    for card in names:
        used = {pid: size for pid, size in clients(view, card).items() if pid in mine}
        made[card] = {
            "memoryTotal": memory_of(view, card),
            "memoryUsed": sum(used.values()),
            "processes": len(used),
        }
    return made


def _number(content: bytes) -> int:
    text = content.strip()
    return int(text) if text.isdigit() else 0
