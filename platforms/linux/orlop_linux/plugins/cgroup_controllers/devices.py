"""``linux.resources.devices``: which nodes may be made and opened (config-linux.md, Allowed Device list)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.hooks.capability import Problem
from orlop_hookspecs.steps.cgroups import DeviceRule, SetDeviceRules

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orlop_hookspecs.documents import DeviceCgroup

POINTER = "/linux/resources/devices"
TYPES = frozenset({"a", "b", "c"})
ACCESS = "rwm"
MAJOR_MAX = (1 << 12) - 1
MINOR_MAX = (1 << 20) - 1

DENY_ALL: DeviceRule = (False, "a", None, None, ACCESS)
"""The first rule of every container: what no later rule allows is denied, whatever the config begins with."""

DEFAULTS: tuple[DeviceRule, ...] = (
    (True, "c", None, None, "m"),
    (True, "b", None, None, "m"),
    (True, "c", 1, 3, ACCESS),
    (True, "c", 1, 5, ACCESS),
    (True, "c", 1, 7, ACCESS),
    (True, "c", 1, 8, ACCESS),
    (True, "c", 1, 9, ACCESS),
    (True, "c", 5, 0, ACCESS),
    (True, "c", 5, 2, ACCESS),
    (True, "c", 136, None, ACCESS),
)
"""The last rules of every container, as peers have them.

Making any node is allowed (opening it is another matter), and the default devices null, zero, full, random,
urandom and tty, and pseudoterminals (ptmx and /dev/pts/*)."""


def problems(rules: Sequence[DeviceCgroup]) -> Iterator[Problem]:
    """Yield the *rules* that name no device or no access."""
    for index, rule in enumerate(rules):
        here = f"{POINTER}/{index}"
        if rule.type and rule.type not in TYPES:
            yield Problem(f"{here}/type", "the type must be a, b or c", rule.type)
        for name, number, highest in (("major", rule.major, MAJOR_MAX), ("minor", rule.minor, MINOR_MAX)):
            if number is not None and not -1 <= number <= highest:
                yield Problem(f"{here}/{name}", f"the number must be from 0 to {highest}", number)
        access = rule.access
        if access is not None and (not set(access) <= set(ACCESS) or (rule.allow and not access)):
            yield Problem(f"{here}/access", "the access must consist of r, w and m", access)


def steps(rules: Sequence[DeviceCgroup]) -> Iterator[SetDeviceRules]:
    """Yield the one step: deny all, then the rules of the config in order, then the default ones."""
    own = tuple(_rule(rule) for rule in rules)
    first = () if own[:1] == (DENY_ALL,) else (DENY_ALL,)
    yield SetDeviceRules(because=POINTER, rules=(*first, *own, *DEFAULTS))


def _rule(rule: DeviceCgroup) -> DeviceRule:
    """Return *rule* with what it leaves open made explicit; engines write -1 for any number as well."""
    access = rule.access or ACCESS
    kind = rule.type or "a"
    return (
        rule.allow,
        kind,
        None if rule.major in {None, -1} else rule.major,
        None if rule.minor in {None, -1} else rule.minor,
        "".join(letter for letter in ACCESS if letter in access),
    )
