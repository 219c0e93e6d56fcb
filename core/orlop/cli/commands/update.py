"""``orlop update``: change the resource limits of a live container."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from orlop.documents.codec import decode
from orlop.documents.reader import parse, read_file
from orlop.lifecycle.site import find
from orlop.lifecycle.update import update
from orlop.plugins.compose import compose_for_record
from orlop_hookspecs.documents.linux_resources import Resources
from orlop_hookspecs.errors import DocumentError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.cli.context import Context
    from orlop.cli.flags import Parsed

INTEGERS: Mapping[str, tuple[str, str]] = {
    "blkio-weight": ("blockIO", "weight"),
    "cpu-period": ("cpu", "period"),
    "cpu-quota": ("cpu", "quota"),
    "cpu-burst": ("cpu", "burst"),
    "cpu-share": ("cpu", "shares"),
    "cpu-rt-period": ("cpu", "realtimePeriod"),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime"),
    "cpu-idle": ("cpu", "idle"),
    "pids-limit": ("pids", "limit"),
}
"""Flags whose value is a number, and the property of ``linux.resources`` that each sets."""

WORDS: Mapping[str, tuple[str, str]] = {"cpuset-cpus": ("cpu", "cpus"), "cpuset-mems": ("cpu", "mems")}

SIZES: Mapping[str, tuple[str, str]] = {
    "memory": ("memory", "limit"),
    "memory-reservation": ("memory", "reservation"),
    "memory-swap": ("memory", "swap"),
}
"""Flags whose value is a number of bytes, with a unit if one likes."""

SCHEMATA: Mapping[str, str] = {"l3-cache-schema": "l3CacheSchema", "mem-bw-schema": "memBwSchema"}
"""Flags whose value is a line of schemata, and the property of ``linux.intelRdt`` that each sets."""

OBSOLETE = ("kernel-memory", "kernel-memory-tcp")
"""Limits that kernels have no more; engines still name them."""

UNCHANGED_BY_ZERO: Mapping[str, tuple[str, ...]] = {
    "memory": ("limit", "reservation", "swap", "kernel", "kernelTCP"),
    "cpu": ("shares", "quota", "period", "realtimeRuntime", "realtimePeriod", "cpus", "mems"),
    "blockIO": ("weight", "leafWeight"),
}
"""Properties for which a zero, or an empty list, says that they stay as they are: Docker sends one for each
limit that it has no wish about, as no kernel takes a zero for one of them but as an error or a verdict."""

_UNITS = {unit: 1 << 10 * power for power, unit in enumerate("bkmgtp")}
_DIGITS = frozenset("0123456789")
_INPUT_MAX = 16 << 20
"""Most bytes that are read from standard input, as of any document."""


def run(context: Context) -> int:
    """Change what the line asks for, by the plugins that made the container; all of it or nothing."""
    if context.parts is None:
        from orlop.cli.paths import complete

        complete()
    line = context.line
    source = line.text("resources")
    data = _read(source) if source else _asked(line)
    _leave_out_zeros(data)
    wanted = decode(data, Resources)
    for name in OBSOLETE:
        if not source and line.text(name):
            _verify_size(name, line.text(name))
            context.report.warning(f"--{name} is ignored: kernels have no limit for it any more")
    site = context.site()
    record, _ = find(site, context.id)
    schemata = {} if source else {key: line.text(name) for name, key in SCHEMATA.items() if line.text(name)}
    update(compose_for_record(record), site, context.id, wanted, schemata)
    return 0


def _read(source: str) -> dict[str, Any]:
    """Return the ``linux.resources`` object in a file, or on standard input for ``-``.

    Raises:
        DocumentError: It cannot be read, or is no JSON object.
    """
    if source == "-":
        return parse(_standard_input(), path="standard input")
    try:
        text = read_file(source)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise DocumentError(f"cannot read the resources: {why}", path=source) from error
    return parse(text, path=source)


def _leave_out_zeros(data: dict[str, Any]) -> None:
    """Remove from a ``linux.resources`` object what says by a zero that it says nothing."""
    for family, keys in UNCHANGED_BY_ZERO.items():
        values = data.get(family)
        if not isinstance(values, dict):
            continue
        # False is no zero: whoever reads the rest refuses it.
        silent = [k for k in keys if values.get(k) == "" or (type(values.get(k)) is int and not values[k])]
        for key in silent:
            del values[key]
        if silent and not values:
            del data[family]


def _standard_input() -> bytes:
    text = bytearray()
    while block := os.read(0, 1 << 16):
        text += block
        if len(text) > _INPUT_MAX:
            raise DocumentError(f"more than {_INPUT_MAX} bytes", path="standard input")
    return bytes(text)


def _asked(line: Parsed) -> dict[str, Any]:
    """Return the ``linux.resources`` object that the flags describe.

    Raises:
        UsageError: The value of a flag is none.
    """
    made: dict[str, Any] = {}
    for table, read in ((INTEGERS, integer), (WORDS, _word), (SIZES, size)):
        for name, (family, key) in table.items():
            text = line.text(name)
            if text:
                try:
                    made.setdefault(family, {})[key] = _in_range(read(text))
                except ValueError as error:
                    raise UsageError(f"--{name}: {error}", value=text) from None
    memory = made.get("memory", {})
    if memory.get("limit") == -1:
        # No kernel has a swap limit below that of the memory.
        memory.setdefault("swap", -1)
    return made


def _word(text: str) -> str:
    return text


def _verify_size(name: str, text: str) -> None:
    try:
        _in_range(size(text))
    except ValueError as error:
        raise UsageError(f"--{name}: {error}", value=text) from None


def _in_range(value: int | str) -> int | str:
    """Return *value*; a number that no property takes is refused here, where the flag is known."""
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        raise ValueError("the number is out of range")
    return value


def integer(text: str) -> int:
    """Return the number that *text* is, in ASCII digits with a sign if one likes.

    Raises:
        ValueError: It is none.
    """
    digits = text.removeprefix("-").removeprefix("+")
    if not digits or not _DIGITS.issuperset(digits) or len(digits) > 20 or text.startswith(("-+", "+-")):
        raise ValueError("expected a number")
    return int(text)


def size(text: str) -> int:
    """Return the bytes that *text* says: a number with one of the units b, k, m, g, t, p; -1 is no limit.

    Raises:
        ValueError: It says no number of bytes.
    """
    if text == "-1":
        return -1
    low = text.lower()
    # 64m, 64mb and 64mib are the same: units are powers of 1024, as engines have them.
    for tail in ("ib", "b"):
        if low.endswith(tail) and low[: -len(tail)][-1:] in _UNITS:
            low = low[: -len(tail)]
            break
    number, factor = (low[:-1], _UNITS[low[-1]]) if low[-1:] in _UNITS else (low, 1)
    whole, point, part = number.partition(".")
    if not whole or not _DIGITS.issuperset(whole + part) or (point and not part) or len(number) > 20:
        raise ValueError("expected a number of bytes such as 512m")
    return int(whole) * factor + (int(part) * factor // 10 ** len(part) if part else 0)
