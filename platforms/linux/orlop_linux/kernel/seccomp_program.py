"""Classic BPF for seccomp: from what shall happen to each system call to the instructions that see to it.

A program judges one struct seccomp_data (seccomp(2)): first the architecture, then the number, then the
arguments, which are 64 bits wide and are loaded in halves. The numbers of an architecture become intervals
with one outcome each and are found by halving, so a program has a few comparisons for each call instead of
hundreds. A jump reaches 255 instructions (BPF in the kernel's networking documentation); farther ones go by
way of an unconditional one.
"""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Condition = tuple[int, str, int, int]
    """Argument, operator (``SCMP_CMP_...``) and its two values."""
    Alternative = tuple[tuple[Condition, ...], int]
    """Conditions that must all hold, and what then is returned."""
    Code = list[tuple[int, int, int, int]]

MOST = 4096
"""Instructions of the longest program that the kernel takes (BPF_MAXINSNS)."""
X32_BIT = 0x40000000
"""In the number of every call by the x32 ABI (seccomp(2))."""

_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_JUMP, _EQUAL, _GREATER, _GREATER_OR_EQUAL = 0x05, 0x15, 0x25, 0x35
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_FAR = 255
_HALF = 0xFFFFFFFF
_LOW = 0 if sys.byteorder == "little" else 4
_FAIL = -1  # stands for a jump to the next alternative until its distance is known
_CHAIN = 200  # comparisons that share one return: all of them must reach it


class Outcome:
    """What happens to a call: the first alternative that holds, otherwise the rest."""

    __slots__ = ("alternatives", "otherwise")

    def __init__(self, alternatives: tuple[Alternative, ...], otherwise: int) -> None:
        """Keep the parts; all values are SECCOMP_RET_* with their data."""
        self.alternatives = alternatives
        self.otherwise = otherwise


class Section:
    """The calls of one architecture, as the kernel counts them."""

    __slots__ = ("default", "newer", "outcomes")

    def __init__(
        self, outcomes: dict[int, Outcome], default: int, newer: tuple[int, int, int] | None
    ) -> None:
        """Keep the parts.

        Args:
            outcomes: By number.
            default: What happens to all other numbers.
            newer: First and last number of an interval with a default of its own, and that default.
        """
        self.outcomes = outcomes
        self.default = default
        self.newer = newer


def assemble(sections: dict[int, list[tuple[int, Section]]], foreign: int) -> bytes:
    """Return the program, an array of struct sock_filter.

    Args:
        sections: For each architecture (AUDIT_ARCH_*) its sections with the number at which each begins.
        foreign: What happens to calls of other architectures, and to numbers before the first section.
    """
    code: Code = []
    for token, parts in reversed(sections.items()):
        block = _section(parts, foreign)
        code = (
            [*_branch(_EQUAL, token, len(block)), *block, *code]
            if code
            else [
                *_branch(_EQUAL, token, len(block)),
                *block,
                (_RETURN, 0, 0, foreign),
            ]
        )
    code.insert(0, (_LOAD, 0, 0, _ARCHITECTURE))
    return b"".join(struct.pack("=HBBI", *one) for one in code)


def _branch(jump: int, value: int, length: int) -> Code:
    """Return a test that goes on when it holds, otherwise past the next *length* instructions."""
    if length <= _FAR:
        return [(jump, 0, length, value)]
    return [(jump, 1, 0, value), (_JUMP, 0, 0, length)]


def _section(parts: Iterable[tuple[int, Section]], foreign: int) -> Code:
    intervals: list[tuple[int, Outcome]] = [(0, Outcome((), foreign))]

    def begin(number: int, outcome: Outcome) -> None:
        if intervals[-1][0] == number:
            intervals.pop()
        if not intervals or not _same(intervals[-1][1], outcome):
            intervals.append((number, outcome))

    for first, section in sorted(parts, key=lambda part: part[0]):
        default = Outcome((), section.default)
        ranges = [(number, number, outcome) for number, outcome in section.outcomes.items()]
        if section.newer is not None:
            ranges.append((section.newer[0], section.newer[1], Outcome((), section.newer[2])))
        begin(first, default)
        for number, last, outcome in sorted(ranges, key=lambda one: one[0]):
            begin(number, outcome)
            begin(last + 1, default)
    return [(_LOAD, 0, 0, _NUMBER), *_search(intervals)]


def _same(one: Outcome, other: Outcome) -> bool:
    return one.otherwise == other.otherwise and one.alternatives == other.alternatives


def _search(intervals: Sequence[tuple[int, Outcome]]) -> Code:
    if len(intervals) == 1:
        return _outcome(intervals[0][1])
    middle = len(intervals) // 2
    low, high = _search(intervals[:middle]), _search(intervals[middle:])
    start = intervals[middle][0]
    if len(low) <= _FAR:
        return [(_GREATER_OR_EQUAL, len(low), 0, start), *low, *high]
    return [(_GREATER_OR_EQUAL, 0, 1, start), (_JUMP, 0, 0, len(low)), *low, *high]


# --- arguments


def _outcome(outcome: Outcome) -> Code:
    code: Code = []
    place, alternatives = 0, outcome.alternatives
    while place < len(alternatives):
        run = _run(alternatives, place)
        if run > 1:
            code += _values(alternatives[place : place + run])
        else:
            code += _alternative(*alternatives[place])
        place += run
    code.append((_RETURN, 0, 0, outcome.otherwise))
    return code


def _run(alternatives: Sequence[Alternative], place: int) -> int:
    """Return how many alternatives from *place* on differ in nothing but the value of one argument."""
    conditions, verdict = alternatives[place]
    if len(conditions) != 1 or conditions[0][1] != "SCMP_CMP_EQ":
        return 1
    end = place + 1
    while end < len(alternatives):
        others, other = alternatives[end]
        if other != verdict or len(others) != 1 or others[0][:2] != conditions[0][:2]:
            break
        end += 1
    return end - place


def _values(alternatives: Sequence[Alternative]) -> Code:
    """Return what compares one argument with many values, of which any one suffices."""
    argument, verdict = alternatives[0][0][0][0], alternatives[0][1]
    halves: dict[int, dict[int, None]] = {}
    for conditions, _ in alternatives:
        value = conditions[0][2]
        halves.setdefault(value >> 32, {})[value & _HALF] = None
    low, high = _places(argument)
    code: Code = []
    for upper, lowers in halves.items():
        values = list(lowers)
        for first in range(0, len(values), _CHAIN):
            chain = values[first : first + _CHAIN]
            code += [(_LOAD, 0, 0, high), (_EQUAL, 0, len(chain) + 3, upper), (_LOAD, 0, 0, low)]
            code += [(_EQUAL, len(chain) - index, 0, value) for index, value in enumerate(chain)]
            code += [(_JUMP, 0, 0, 1), (_RETURN, 0, 0, verdict)]
    return code


def _places(argument: int) -> tuple[int, int]:
    """Return where the lower and the upper half of an argument are."""
    start = _ARGUMENTS + 8 * argument
    return start + _LOW, start + 4 - _LOW


def _alternative(conditions: Iterable[Condition], verdict: int) -> Code:
    code: Code = []
    for condition in conditions:
        code += _condition(*condition)
    code.append((_RETURN, 0, 0, verdict))
    end = len(code)
    return [
        (
            op,
            end - index - 1 if yes == _FAIL else yes,
            end - index - 1 if no == _FAIL else no,
            value,
        )
        for index, (op, yes, no, value) in enumerate(code)
    ]


def _condition(argument: int, operator: str, one: int, two: int) -> Code:
    """Return a test that goes on when the condition holds."""
    low, high = _places(argument)
    upper, lower = one >> 32, one & _HALF
    if operator == "SCMP_CMP_MASKED_EQ":
        two &= one
        return [
            (_LOAD, 0, 0, high),
            (_AND, 0, 0, upper),
            (_EQUAL, 0, _FAIL, two >> 32),
            (_LOAD, 0, 0, low),
            (_AND, 0, 0, lower),
            (_EQUAL, 0, _FAIL, two & _HALF),
        ]
    if operator == "SCMP_CMP_EQ":
        return [(_LOAD, 0, 0, high), (_EQUAL, 0, _FAIL, upper), (_LOAD, 0, 0, low), (_EQUAL, 0, _FAIL, lower)]
    if operator == "SCMP_CMP_NE":
        return [(_LOAD, 0, 0, high), (_EQUAL, 0, 2, upper), (_LOAD, 0, 0, low), (_EQUAL, _FAIL, 0, lower)]
    # The upper halves decide unless they are equal.
    last = _GREATER if operator in ("SCMP_CMP_GT", "SCMP_CMP_LE") else _GREATER_OR_EQUAL
    if operator in ("SCMP_CMP_GT", "SCMP_CMP_GE"):
        above, below = 3, _FAIL
        final = (last, 0, _FAIL, lower)
    else:
        above, below = _FAIL, 2
        final = (last, _FAIL, 0, lower)
    return [
        (_LOAD, 0, 0, high),
        (_GREATER, above, 0, upper),
        (_EQUAL, 0, below, upper),
        (_LOAD, 0, 0, low),
        final,
    ]
