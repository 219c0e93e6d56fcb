"""Cgroups that systemd makes: names of units, and properties that annotations ask for.

``linux.cgroupsPath`` is then ``slice:prefix:name``, as engines write it, and stands for the unit
``prefix-name.scope`` in that slice. Source: systemd.unit(5), systemd.slice(5), systemd.scope(5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.hooks.capability import Problem
from orlop_hookspecs.steps.cgroups import CreateScope
from orlop_linux.plugins.shared import token

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orlop_hookspecs.documents import Config
    from orlop_hookspecs.launch import PlanContext

PATH = "/linux/cgroupsPath"
PREFIX = "orlop"
"""Prefix of units whose path leaves it to the runtime."""

UNIT_MAX = 255
"""Longest name of a unit (systemd.unit(5))."""

_DIGITS = frozenset("0123456789")
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_PLAIN = _LETTERS | _DIGITS | frozenset(":-_.")
"""What a name may have besides ``\\`` and ``@``, which mean something."""

ANNOTATION = "org.systemd.property."
"""Annotations that begin so set a property of the unit, in the text form of GVariant."""

VALUE_MAX = 4096

PROPERTIES: Mapping[str, str] = {
    "After": "as",
    "Before": "as",
    "CollectMode": "s",
    "DefaultDependencies": "b",
    "KillSignal": "i",
    "RuntimeMaxUSec": "t",
    "TimeoutStopUSec": "t",
}
"""The properties that an annotation may set, with their types on D-Bus: order and end of the unit.

No other one, because an annotation is often not its author's to decide (CVE-2024-3154): limits come from
``linux.resources``, and nothing may start other units or programs."""

_RANGES: Mapping[str, tuple[int, int]] = {"i": (1, 64), "t": (0, (1 << 64) - 1)}
_WORDS: Mapping[str, tuple[str, ...]] = {"CollectMode": ("inactive", "inactive-or-failed")}

Value = str | int | bool | tuple[str, ...]


def parts(path: str, context: PlanContext) -> tuple[str, str, str]:
    """Return slice, prefix and name of *path*; what it leaves open gets its default.

    As below the cgroups that the runtime makes itself, containers of different stores have different names.

    Raises:
        ValueError: The path does not have this form.
    """
    if not path:
        return "", f"{PREFIX}-{context.store}" if context.store else PREFIX, context.container
    words = path.split(":")
    if len(words) != 3 or not words[2]:
        msg = "with systemd the path must be slice:prefix:name"
        raise ValueError(msg)
    return words[0], words[1], words[2]


def escape(text: str) -> str:
    r"""Return *text* as part of a unit's name: each byte that a name cannot have becomes ``\xNN``.

    Unlike systemd-escape(1) it leaves ``-`` alone: engines know their units by the plain name.
    """
    if _PLAIN.issuperset(text):
        return text
    return "".join(
        letter if letter in _PLAIN else "".join(f"\\x{byte:02x}" for byte in letter.encode())
        for letter in text
    )


def unit_name(prefix: str, name: str) -> str:
    """Return the name of the scope."""
    return f"{escape(prefix)}-{escape(name)}.scope" if prefix else f"{escape(name)}.scope"


def slice_fault(name: str) -> str:
    """Return why *name* is no slice, or an empty string; an empty name is the default slice."""
    if name in {"", "-.slice"}:
        return ""
    stem = name.removesuffix(".slice")
    if stem == name:
        return "a slice must end in .slice"
    if not (_PLAIN | frozenset("\\")).issuperset(stem):
        return "a slice must consist of letters, digits, and : - _ . \\"
    if "" in stem.split("-") or stem[0] == ".":
        return "each - in a slice must have a name on both sides"
    if len(name) > UNIT_MAX:
        return f"the slice's name is longer than {UNIT_MAX} bytes"
    return ""


def _name_fault(prefix: str, name: str) -> str:
    """Return why prefix and name cannot make a unit, or an empty string."""
    for text in (prefix, name):
        if not text.isprintable() or "/" in text or text in {".", ".."}:
            return "a unit's name may not have slashes and control characters, nor be . or .."
        if text.startswith("-"):
            return "a unit's name may not begin with -"
    if name.endswith(".slice"):
        return "a container is a scope, and a slice has no processes"
    if len(unit_name(prefix, name)) > UNIT_MAX:
        return f"the unit's name is longer than {UNIT_MAX} bytes"
    return ""


def problems(config: Config, context: PlanContext) -> Iterator[Problem]:
    """Yield paths that are no slice, prefix and name, and annotations that ask for what is not allowed."""
    path = (config.linux and config.linux.cgroups_path) or ""
    try:
        slice_, prefix, name = parts(path, context)
    except ValueError as error:
        yield Problem(
            PATH,
            str(error),
            path,
            "such as system.slice:prefix:name; or do without --systemd-cgroup",
        )
    else:
        fault = slice_fault(slice_) or _name_fault(prefix, name)
        if fault:
            yield Problem(PATH, fault, path)
    for key, text in (config.annotations or {}).items():
        if key.startswith(ANNOTATION):
            try:
                _property(key.removeprefix(ANNOTATION), text)
            except ValueError as error:
                yield Problem(f"/annotations/{token(key)}", str(error), text)


def _property(name: str, text: str) -> tuple[str, str, Value]:
    """Return name, type and value of the property that an annotation sets.

    ``TimeoutStopSec`` is ``TimeoutStopUSec`` in seconds, as in unit files.

    Raises:
        ValueError: It may not be set, or not to this.
    """
    seconds = name.endswith("Sec") and not name.endswith("USec")
    known = f"{name.removesuffix('Sec')}USec" if seconds else name
    kind = PROPERTIES.get(known)
    if kind is None:
        msg = f"an annotation may not set this property; it may set {', '.join(PROPERTIES)}"
        raise ValueError(msg)
    if len(text) > VALUE_MAX or not text.isprintable():
        msg = f"the value must be one line of at most {VALUE_MAX} characters"
        raise ValueError(msg)
    value = _value(text.strip(), kind)
    if seconds and isinstance(value, int):
        value *= 1_000_000
    if isinstance(value, int) and not isinstance(value, bool):
        low, high = _RANGES[kind]
        if not low <= value <= high:
            msg = f"the number must be from {low} to {high}"
            raise ValueError(msg)
    if known in _WORDS and value not in _WORDS[known]:
        msg = f"the value must be one of {', '.join(_WORDS[known])}"
        raise ValueError(msg)
    return known, kind, value


def _value(text: str, kind: str) -> Value:
    """Return the value that *text* is in the text form of GVariant, as far as :data:`PROPERTIES` need it."""
    if kind == "b":
        if text in {"true", "false"}:
            return text == "true"
        msg = "the value must be true or false"
        raise ValueError(msg)
    if kind == "s":
        return _string(text)
    if kind == "as":
        if text[:1] != "[" or text[-1:] != "]":
            msg = "the value must be a list such as ['one.service']"
            raise ValueError(msg)
        return tuple(_unit(_string(part.strip())) for part in text[1:-1].split(",") if part.strip())
    for prefix in ("uint64 ", "int64 ", "uint32 ", "int32 ", "uint16 ", "int16 "):
        text = text.removeprefix(prefix)
    if not (text and _DIGITS.issuperset(text) and len(text) <= 20):
        msg = "the value must be a number"
        raise ValueError(msg)
    return int(text)


def _string(text: str) -> str:
    inside = text[1:-1]
    if len(text) < 2 or text[0] not in "'\"" or text[-1] != text[0] or text[0] in inside or "\\" in inside:
        msg = "the value must be a string in quotation marks"
        raise ValueError(msg)
    return inside


def _unit(name: str) -> str:
    stem, dot, kind = name.rpartition(".")
    allowed = _PLAIN | frozenset("\\@")
    if not (dot and stem and kind.isalpha() and allowed.issuperset(name)) or len(name) > UNIT_MAX:
        msg = f"{name!r} is not the name of a unit"
        raise ValueError(msg)
    return name


def step(config: Config, context: PlanContext) -> CreateScope:
    """Return the step that makes the scope, for a config without problems."""
    path = (config.linux and config.linux.cgroups_path) or ""
    slice_, prefix, name = parts(path, context)
    return CreateScope(
        because=PATH,
        unit=unit_name(prefix, name),
        slice=slice_,
        description=f"orlop container {context.container}",
        properties=tuple(
            _property(key.removeprefix(ANNOTATION), text)
            for key, text in (config.annotations or {}).items()
            if key.startswith(ANNOTATION)
        ),
    )
