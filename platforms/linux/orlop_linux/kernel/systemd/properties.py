"""What systemd calls the control files of cgroup v2 (systemd.resource-control(5)).

systemd writes the files of its units by itself, also long after they were made: what it is not told it takes
back. What it has no property for it leaves alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop_linux.kernel.cgroups.devices import normalize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from orlop_hookspecs.steps import DeviceRule

Property = tuple[str, tuple[str, Any]]
"""Name, and a variant: D-Bus signature and value."""

INFINITY = (1 << 64) - 1
_SECOND = 1_000_000
_PERIOD = 100_000
_STEP = 100
_SUFFIXES = {"K": 10, "M": 20, "G": 30, "T": 40}
_MOST_CPUS = 1 << 16


def unit_properties(pairs: Iterable[tuple[str, str]]) -> list[Property]:
    """Return the properties for *pairs* of file and text of cgroup v2; a later pair wins.

    Files without a property, and values that a property cannot say, are left out.
    """
    found: dict[str, tuple[str, Any]] = {}
    for file, text in pairs:
        convert = _FILES.get(file)
        if convert is not None:
            found.update(convert(text.strip()))
    return list(found.items())


def device_properties(rules: Sequence[DeviceRule]) -> list[Property]:
    """Return the properties for device *rules*.

    Rules that systemd cannot say are left to the kernel alone: then the unit allows every device.
    """
    try:
        lines = normalize(rules)
    except ValueError:
        lines = []
    allowed = []
    for allow, text in lines[1:]:
        kind, numbers, access = text.split(" ")
        major, _, minor = numbers.partition(":")
        word = "char" if kind == "c" else "block"
        if not allow or (major == "*" and minor != "*"):
            lines = []
            break
        if minor != "*":
            allowed.append((f"/dev/{word}/{numbers}", access))
        else:
            allowed.append((f"{word}-{major}", access))
    strict = lines[:1] == [(False, "a")]
    return [
        ("DevicePolicy", ("s", "strict" if strict else "auto")),
        ("DeviceAllow", ("a(ss)", allowed if strict else [])),
    ]


def _size(text: str) -> int | None:
    """Return a number of bytes, with a suffix as the kernel takes it; ``max`` is infinite."""
    if text == "max":
        return INFINITY
    shift = _SUFFIXES.get(text[-1:].upper(), 0)
    digits = text[:-1] if shift else text
    return int(digits) << shift if digits.isascii() and digits.isdigit() else None


def _limit(name: str, *, least: int = 0) -> Callable[[str], list[Property]]:
    def convert(text: str) -> list[Property]:
        size = _size(text)
        return [(name, ("t", size))] if size is not None and least <= size <= INFINITY else []

    return convert


def _weight(name: str) -> Callable[[str], list[Property]]:
    def convert(text: str) -> list[Property]:
        number = text.removeprefix("default ")
        return [(name, ("t", int(number)))] if number.isascii() and number.isdigit() else []

    return convert


def _bandwidth(text: str) -> list[Property]:
    quota, _, period = text.partition(" ")
    length = int(period) if period.isdigit() else _PERIOD
    if quota == "max":
        per_second = INFINITY
    elif quota.isdigit() and length:
        # systemd keeps hundredths of a per cent in its unit files: at least as much as was asked for.
        per_second = -(-int(quota) * _SECOND // length // _STEP) * _STEP
    else:
        return []
    return [("CPUQuotaPerSecUSec", ("t", per_second)), ("CPUQuotaPeriodUSec", ("t", length))]


def _numbers(name: str) -> Callable[[str], list[Property]]:
    """Return a conversion of a list such as ``0-3,7`` to a bit mask, the lowest byte first."""

    def convert(text: str) -> list[Property]:
        mask = 0
        for part in text.split(",") if text else ():
            first, _, last = part.strip().partition("-")
            if not (first.isdigit() and (last or first).isdigit() and int(last or first) < _MOST_CPUS):
                return []
            low, high = int(first), int(last or first)
            mask |= ((1 << max(0, high - low + 1)) - 1) << low
        return [(name, ("ay", mask.to_bytes((mask.bit_length() + 7) // 8, "little")))]

    return convert


_FILES: dict[str, Callable[[str], list[Property]]] = {
    "cpu.max": _bandwidth,
    "cpu.weight": _weight("CPUWeight"),
    "cpuset.cpus": _numbers("AllowedCPUs"),
    "cpuset.mems": _numbers("AllowedMemoryNodes"),
    "io.weight": _weight("IOWeight"),
    "memory.high": _limit("MemoryHigh"),
    "memory.low": _limit("MemoryLow"),
    "memory.max": _limit("MemoryMax", least=1),
    "memory.min": _limit("MemoryMin"),
    "memory.swap.max": _limit("MemorySwapMax"),
    "pids.max": _limit("TasksMax", least=1),
}
