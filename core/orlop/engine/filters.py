"""Explain a seccomp profile: which rule decides a call, and what in the profile has no effect here.

The rules of reading are those of docs/explanation/seccomp.md: rules with conditions come first, in the order
of the config; then the first rule without conditions; then calls behind a multiplexer; then the default, or
ENOSYS for a call that is newer than every call that the profile names.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from orlop_hookspecs.errors import UsageError
from orlop_hookspecs.frozen import Frozen, frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from orlop_hookspecs.calls import CallTable
    from orlop_hookspecs.documents import Seccomp, Syscall, SyscallArg

    Arguments = Sequence[int | None]
    """Values of the arguments; ``None`` and what is missing are not known."""

_WORD = (1 << 64) - 1
_RULES = "/linux/seccomp/syscalls"
_WITH_NUMBER = frozenset(("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"))
_STRICTNESS = (
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
"""Actions from the strictest to the mildest (seccomp(2))."""

_COMPARE: Mapping[str, tuple[str, Callable[[int, int, int], bool]]] = {
    "SCMP_CMP_NE": ("!=", lambda value, one, _: value != one),
    "SCMP_CMP_LT": ("<", lambda value, one, _: value < one),
    "SCMP_CMP_LE": ("<=", lambda value, one, _: value <= one),
    "SCMP_CMP_EQ": ("==", lambda value, one, _: value == one),
    "SCMP_CMP_GE": (">=", lambda value, one, _: value >= one),
    "SCMP_CMP_GT": (">", lambda value, one, _: value > one),
    "SCMP_CMP_MASKED_EQ": ("&", lambda value, one, two: value & one == two & one),
}


@frozen
class Outcome(Frozen):
    """One thing that can happen to a call."""

    action: str
    errno: int | None
    """What the call returns, or the tracer is told; ``None`` for actions without a number."""
    rule: str
    """JSON pointer of what decides."""
    because: str
    """Why, in words."""
    conditions: tuple[str, ...] = ()
    """What has to hold of arguments that are not known; empty: it happens for certain."""

    def as_data(self) -> dict[str, Any]:
        """Return the outcome as JSON data."""
        name = errno.errorcode.get(self.errno, "") if self.errno else ""
        return {
            "action": self.action,
            "errno": self.errno,
            "errnoName": name or None,
            "rule": self.rule,
            "because": self.because,
            "conditions": list(self.conditions),
        }

    def as_text(self) -> str:
        """Return the outcome as one line."""
        text = self.action
        if self.errno is not None:
            text += f" {errno.errorcode.get(self.errno, self.errno)}"
        when = f" if {' and '.join(self.conditions)}" if self.conditions else ""
        return f"{text}{when}: {self.because} [{self.rule}]"


@frozen
class _Rule(Frozen):
    """A rule, or one of its conditions that counts alone."""

    index: int
    names: frozenset[str]
    conditions: tuple[SyscallArg, ...]
    action: str
    errno: int | None

    @property
    def pointer(self) -> str:
        return f"{_RULES}/{self.index}"

    def outcome(self, because: str, conditions: tuple[str, ...] = ()) -> Outcome:
        return Outcome(self.action, self.errno, self.pointer, because, conditions)


def explain_call(
    profile: Seccomp, table: CallTable, call: str | int, arguments: Arguments = ()
) -> tuple[Outcome, ...]:
    """Return what can happen to *call*, in the order in which it is decided; the last one is for certain.

    Args:
        profile: The ``linux.seccomp`` section.
        table: The calls of the architecture, with all names of the profile and *call*.
        call: Its name or its number.
        arguments: Values of its arguments as far as they are known.

    Raises:
        UsageError: The architecture has no call of that name.
    """
    number = call if isinstance(call, int) else table.numbers.get(call)
    if number is None:
        where = table.hidden.get(str(call))
        hint = f"programs reach it through {where[0]} with {where[1]} as the first argument" if where else ""
        raise UsageError(f"{table.architecture} has no system call of this name", value=call, hint=hint)
    name = next((one for one, other in table.numbers.items() if other == number), "")
    rules = list(_rules(profile))
    return tuple(_decide(profile, rules, table, (name, number), arguments))


def _decide(
    profile: Seccomp, rules: Sequence[_Rule], table: CallTable, call: tuple[str, int], arguments: Arguments
) -> Iterator[Outcome]:
    name = call[0]
    for rule in rules:
        if name in rule.names and rule.conditions:
            open_questions = _open_questions(rule.conditions, arguments)
            if open_questions is None:
                continue
            yield rule.outcome(f"its conditions {'would hold' if open_questions else 'hold'}", open_questions)
            if not open_questions:
                return
    for rule in rules:
        if name in rule.names and not rule.conditions:
            yield rule.outcome("the first rule for this call without conditions")
            return
    yield from _rest(profile, rules, table, call, arguments)


def _rest(
    profile: Seccomp, rules: Sequence[_Rule], table: CallTable, call: tuple[str, int], arguments: Arguments
) -> Iterator[Outcome]:
    """Yield what happens to a call that no rule names."""
    name, number = call
    for hidden, (where, selector, mask) in table.hidden.items():
        if where != name:
            continue
        behind = _behind(profile, [rule for rule in rules if hidden in rule.names])
        if behind is None:
            continue
        first = arguments[0] if arguments else None
        if first is None:
            yield behind.evolve(because=f"it stands for {hidden}", conditions=(f"argument 0 is {selector}",))
        elif first & mask == selector:
            yield behind.evolve(because=f"it stands for {hidden}, whose own arguments cannot be seen")
            return
    named = {one for rule in rules for one in rule.names}
    named |= {table.hidden[one][0] for one in named if one in table.hidden}
    numbers = [table.numbers[one] for one in named if one in table.numbers]
    newest = max((one for one in numbers if one <= table.last), default=-1)
    if profile.default_action == "SCMP_ACT_ERRNO" and 0 <= newest < number <= table.last:
        because = (
            f"no rule names it, and its number {number} is above that of every call in the profile ({newest})"
        )
        yield Outcome("SCMP_ACT_ERRNO", errno.ENOSYS, "/linux/seccomp/defaultAction", because)
        return
    action = profile.default_action
    yield Outcome(
        action,
        _number(action, profile.default_errno_ret),
        "/linux/seccomp/defaultAction",
        "no rule names it" if not any(name in rule.names for rule in rules) else "no rule for it applies",
    )


def _behind(profile: Seccomp, rules: Sequence[_Rule]) -> Outcome | None:
    """Return the strictest of what can happen to a call whose arguments are not seen; ``None``: no rule."""
    possible = [rule.outcome("") for rule in rules if rule.conditions]
    plain = next((rule.outcome("") for rule in rules if not rule.conditions), None)
    if plain is None:
        if not possible:
            return None
        action = profile.default_action
        number = _number(action, profile.default_errno_ret)
        plain = Outcome(action, number, "/linux/seccomp/defaultAction", "")
    return min([*possible, plain], key=lambda one: _STRICTNESS.index(one.action))


def _rules(profile: Seccomp) -> Iterator[_Rule]:
    """Yield the rules; conditions of one rule on the same argument count each alone."""
    for index, rule in enumerate(profile.syscalls or ()):
        conditions = rule.args or ()
        made = _Rule(
            index, frozenset(rule.names), conditions, rule.action, _number(rule.action, rule.errno_ret)
        )
        if len({one.index for one in conditions}) < len(conditions):
            for one in conditions:
                yield made.evolve(conditions=(one,))
        else:
            yield made


def _number(action: str, wanted: int | None) -> int | None:
    if action not in _WITH_NUMBER:
        return None
    return errno.EPERM if wanted is None else wanted


def _open_questions(conditions: Sequence[SyscallArg], arguments: Arguments) -> tuple[str, ...] | None:
    """Return what has to hold of unknown arguments; ``None`` when a known one does not fit."""
    questions: list[str] = []
    for one in conditions:
        value = arguments[one.index] if one.index < len(arguments) else None
        if value is None:
            questions.append(spell(one))
        elif not _COMPARE[one.op][1](value & _WORD, one.value & _WORD, (one.value_two or 0) & _WORD):
            return None
    return tuple(questions)


def spell(condition: SyscallArg) -> str:
    """Return a condition in words."""
    if condition.op == "SCMP_CMP_MASKED_EQ":
        return f"argument {condition.index} & {condition.value:#x} == {(condition.value_two or 0):#x}"
    return f"argument {condition.index} {_COMPARE[condition.op][0]} {condition.value}"


# -- the profile as a whole


def unreachable(profile: Seccomp) -> Iterator[tuple[str, str]]:
    """Yield pointer and reason of each name in a rule that never decides anything."""
    plain: dict[str, int] = {}
    for index, rule in enumerate(profile.syscalls or ()):
        for place, name in enumerate(rule.names):
            if rule.args:
                continue
            earlier = plain.setdefault(name, index)
            if earlier != index:
                yield f"{_RULES}/{index}/names/{place}", f"rule {earlier} decides about {name} before"


def names_of(profile: Seccomp) -> tuple[str, ...]:
    """Return every name in the profile once, in its order."""
    return tuple(dict.fromkeys(name for rule in profile.syscalls or () for name in rule.names))


def places_of(profile: Seccomp, names: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Yield pointer and name wherever one of *names* stands."""
    rules: Sequence[Syscall] = profile.syscalls or ()
    for index, rule in enumerate(rules):
        for place, name in enumerate(rule.names):
            if name in names:
                yield f"{_RULES}/{index}/names/{place}", name
