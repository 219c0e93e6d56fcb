"""Seccomp filters, evaluated call by call: seccomp(2), config-linux.md "Seccomp"."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from orlop_fake.refusals import refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orlop_hookspecs.steps import LoadSeccomp

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
_WORD = (1 << 64) - 1

_COMPARE: Mapping[str, Callable[[int, int, int], bool]] = {
    "SCMP_CMP_NE": lambda value, one, _: value != one,
    "SCMP_CMP_LT": lambda value, one, _: value < one,
    "SCMP_CMP_LE": lambda value, one, _: value <= one,
    "SCMP_CMP_EQ": lambda value, one, _: value == one,
    "SCMP_CMP_GE": lambda value, one, _: value >= one,
    "SCMP_CMP_GT": lambda value, one, _: value > one,
    "SCMP_CMP_MASKED_EQ": lambda value, one, two: value & one == two,
}

Verdict = tuple[str, int]
"""An action and its errno."""


class Filter:
    """One loaded filter."""

    __slots__ = ("_default", "_rules", "flags")

    def __init__(self, step: LoadSeccomp) -> None:
        """Compile *step*; EINVAL for what libseccomp and the kernel refuse."""
        if not set(step.flags) <= FLAGS:
            raise refusal(errno.EINVAL, message=f"unknown seccomp flag in {step.flags!r}")
        self.flags = step.flags
        self._default = _verdict(step.default_action, step.default_errno)
        self._rules: dict[str, list[tuple[tuple[dict[str, Any], ...], Verdict]]] = {}
        for rule in step.syscalls:
            verdict = _verdict(rule["action"], rule.get("errno"))
            conditions = tuple(rule.get("args") or ())
            for one in conditions:
                if one["op"] not in _COMPARE or not 0 <= one["index"] < 6:
                    raise refusal(errno.EINVAL, message=f"invalid seccomp argument {one!r}")
            for name in rule["names"]:
                self._rules.setdefault(name, []).append((conditions, verdict))
        for rules in self._rules.values():
            # A rule with conditions says more than one without, whatever their order.
            rules.sort(key=lambda rule: not rule[0])

    def verdict(self, name: str, args: Sequence[int]) -> Verdict:
        """Return what happens to the call *name* with *args*."""
        for conditions, verdict in self._rules.get(name, ()):
            if _all_hold(conditions, args):
                return verdict
        return self._default


def _all_hold(conditions: Sequence[dict[str, Any]], args: Sequence[int]) -> bool:
    # One argument that is compared more than once means any of the values, for a filter cannot compare it
    # twice.
    held: dict[int, bool] = {}
    for one in conditions:
        index = one["index"]
        value = (args[index] if index < len(args) else 0) & _WORD
        true = _COMPARE[one["op"]](value, one["value"] & _WORD, (one.get("value_two") or 0) & _WORD)
        held[index] = held.get(index, False) or true
    return all(held.values())


def _verdict(action: str, number: int | None) -> Verdict:
    if action not in ACTIONS:
        raise refusal(errno.EINVAL, message=f"unknown seccomp action {action!r}")
    return action, errno.EPERM if number is None else number


def judge(filters: Sequence[Filter], name: str, args: Sequence[int]) -> Verdict:
    """Return the strictest verdict of all *filters*; without filters everything is allowed."""
    verdicts = [one.verdict(name, args) for one in filters]
    return min(verdicts, key=lambda verdict: ACTIONS.index(verdict[0]), default=("SCMP_ACT_ALLOW", 0))
