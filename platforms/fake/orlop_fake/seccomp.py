"""Seccomp filters, evaluated call by call: seccomp(2), config-linux.md "Seccomp".

This is the plain reading of a profile: no instructions, no tables that are halved, one rule after the other.
Compiled filters are compared with it.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from orlop_fake.refusals import refusal
from orlop_fake.syscall_numbers import X86_64
from orlop_hookspecs.calls import CallTable
from orlop_hookspecs.documents.vocabulary import SECCOMP_ARCHITECTURES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from orlop_fake.agents import Listener
    from orlop_hookspecs.steps import LoadSeccomp

    Conditions = tuple[Mapping[str, Any], ...]

# From the strictest to the mildest: with several filters the strictest verdict counts (seccomp(2)).
ACTIONS = (
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_LOG",
    "SCMP_ACT_ALLOW",
)
FLAGS = frozenset(
    {
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
        "SECCOMP_FILTER_FLAG_NEW_LISTENER",
        "SECCOMP_FILTER_FLAG_TSYNC_ESRCH",
    }
)
X32_BIT = 0x40000000
_NO_CALL = 0xFFFFFFFF
_WORD = (1 << 64) - 1
_LARGEST = 0x7FFFFFFF

_COMPARE: Mapping[str, Callable[[int, int, int], bool]] = {
    "SCMP_CMP_NE": lambda value, one, _: value != one,
    "SCMP_CMP_LT": lambda value, one, _: value < one,
    "SCMP_CMP_LE": lambda value, one, _: value <= one,
    "SCMP_CMP_EQ": lambda value, one, _: value == one,
    "SCMP_CMP_GE": lambda value, one, _: value >= one,
    "SCMP_CMP_GT": lambda value, one, _: value > one,
    # Both sides are masked (seccomp_rule_add(3)).
    "SCMP_CMP_MASKED_EQ": lambda value, one, two: value & one == two & one,
}

Verdict = tuple[str, int]
"""An action and its errno."""

_FOREIGN: Verdict = ("SCMP_ACT_KILL_THREAD", errno.EPERM)
_NEWER: Verdict = ("SCMP_ACT_ERRNO", errno.ENOSYS)


class Calls:
    """The system calls of one architecture."""

    __slots__ = ("hidden", "last", "names", "numbers")

    def __init__(
        self,
        numbers: Mapping[str, int],
        hidden: Mapping[str, tuple[str, int, int]] | None = None,
        last: int = _LARGEST,
    ) -> None:
        """Keep the parts.

        Args:
            numbers: Number by name.
            hidden: Calls behind a multiplexer by name: its name, the selector in its first argument, and the
                mask of that argument.
            last: The largest number that a future call can have.
        """
        self.numbers = dict(numbers)
        self.names = {number: name for name, number in numbers.items()}
        self.hidden = dict(hidden or {})
        self.last = last


MACHINE = "SCMP_ARCH_X86_64"
TABLES: Mapping[str, Calls] = {MACHINE: Calls(X86_64, last=X32_BIT - 1)}
"""What the fake machine knows: its own architecture."""


def call_table(
    architecture: str, names: Sequence[str], tables: Mapping[str, Calls] = TABLES
) -> CallTable | None:
    """Return what *tables* know of *names* on *architecture* (empty: the machine's own)."""
    calls = tables.get(architecture or MACHINE)
    if calls is None:
        return None
    hidden = {name: calls.hidden[name] for name in names if name in calls.hidden}
    wanted = {*names, *(where for where, _, _ in hidden.values())}
    numbers = {name: calls.numbers[name] for name in wanted if name in calls.numbers}
    return CallTable(architecture or MACHINE, numbers, hidden, calls.last)


class Filter:
    """One loaded filter."""

    __slots__ = ("_default", "_newest", "_rules", "_tables", "flags", "listener")

    def __init__(self, step: LoadSeccomp, tables: Mapping[str, Calls] = TABLES) -> None:
        """Read *step*; EINVAL for what Linux refuses.

        The machine's library knows every name: a strict step is refused by its planner only.
        """
        if not set(step.flags) <= FLAGS:
            raise refusal(errno.EINVAL, message=f"unknown seccomp flag in {step.flags!r}")
        if not set(step.architectures) <= set(SECCOMP_ARCHITECTURES):
            raise refusal(errno.EINVAL, message=f"unknown architecture in {step.architectures!r}")
        self.flags = step.flags
        self.listener: Listener | None = None
        """Who decides the calls with SCMP_ACT_NOTIFY."""
        self._default = _verdict(step.default_action, step.default_errno)
        self._rules = tuple(_rules(step))
        # An architecture that the machine cannot execute has no calls here.
        self._tables = {name: tables[name] for name in (MACHINE, *step.architectures) if name in tables}
        self._newest = {name: self._newest_of(calls) for name, calls in self._tables.items()}

    def verdict(self, name: str, args: Sequence[int]) -> Verdict:
        """Return what happens to the machine's own call *name* with *args*.

        A name that the machine does not know is a call that is newer than all that it knows.
        """
        calls = self._tables[MACHINE]
        return self.judge(MACHINE, calls.numbers.get(name, calls.last), args)

    def judge(self, architecture: str, number: int, args: Sequence[int]) -> Verdict:
        """Return what happens to call *number* of *architecture* with *args*.

        As in struct seccomp_data, x32 is x86_64 with a bit in the number.
        """
        if architecture == MACHINE and X32_BIT <= number < _NO_CALL:
            architecture = "SCMP_ARCH_X32"
        calls = self._tables.get(architecture)
        if calls is None:
            return _FOREIGN
        name = calls.names.get(number, "")
        found = self._by_conditions(name, args) or self._plain(name)
        if found is None:
            found = self._hidden(calls, name, args)
        if found is None and self._default[0] == "SCMP_ACT_ERRNO":
            newest = self._newest[architecture]
            if 0 <= newest < number <= calls.last:
                return _NEWER
        return found or self._default

    def _by_conditions(self, name: str, args: Sequence[int]) -> Verdict | None:
        for names, conditions, verdict in self._rules:
            if name in names and conditions and _holds(conditions, args):
                return verdict
        return None

    def _plain(self, name: str) -> Verdict | None:
        return next((verdict for names, rest, verdict in self._rules if name in names and not rest), None)

    def _hidden(self, calls: Calls, multiplexer: str, args: Sequence[int]) -> Verdict | None:
        """Return what happens to a call through *multiplexer*, whose own arguments nobody can see."""
        for name, (where, selector, mask) in calls.hidden.items():
            if where == multiplexer and (args[0] if args else 0) & mask == selector:
                possible = [verdict for names, rest, verdict in self._rules if name in names and rest]
                plain = self._plain(name)
                if plain is not None or possible:
                    return min([*possible, plain or self._default], key=_strictness)
        return None

    def _newest_of(self, calls: Calls) -> int:
        """Return the largest number that the profile names; -1: it names no call of the architecture."""
        named = {name for names, _, _ in self._rules for name in names}
        named |= {calls.hidden[name][0] for name in named if name in calls.hidden}
        numbers = (calls.numbers.get(name, -1) for name in named)
        return max((number for number in numbers if number <= calls.last), default=-1)


def _rules(step: LoadSeccomp) -> Iterable[tuple[frozenset[str], Conditions, Verdict]]:
    """Yield names, conditions that must all hold, and verdict of each rule."""
    for rule in step.syscalls:
        names, verdict = frozenset(rule["names"]), _verdict(rule["action"], rule.get("errno"))
        conditions = tuple(rule.get("args") or ())
        for one in conditions:
            if one["op"] not in _COMPARE or not 0 <= one["index"] < 6:
                raise refusal(errno.EINVAL, message=f"invalid seccomp argument {one!r}")
        if len({one["index"] for one in conditions}) < len(conditions):
            # Two of them are about one argument: each is a rule of its own.
            for one in conditions:
                yield names, (one,), verdict
        else:
            yield names, conditions, verdict


def _holds(conditions: Conditions, args: Sequence[int]) -> bool:
    for one in conditions:
        index = one["index"]
        value = (args[index] if index < len(args) else 0) & _WORD
        if not _COMPARE[one["op"]](value, one["value"] & _WORD, (one.get("value_two") or 0) & _WORD):
            return False
    return True


def _verdict(action: str, number: int | None) -> Verdict:
    if action not in ACTIONS:
        raise refusal(errno.EINVAL, message=f"unknown seccomp action {action!r}")
    return action, errno.EPERM if number is None else number


def _strictness(verdict: Verdict) -> int:
    return ACTIONS.index(verdict[0])


def judge(filters: Sequence[Filter], name: str, args: Sequence[int]) -> Verdict:
    """Return the strictest verdict of all *filters*; without filters everything is allowed."""
    verdicts = [one.verdict(name, args) for one in filters]
    return min(verdicts, key=_strictness, default=("SCMP_ACT_ALLOW", 0))
