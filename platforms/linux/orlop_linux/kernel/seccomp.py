"""Compile the config's system call filter to BPF; the container process only loads the bytes.

libseccomp says which number a call has on which architecture (:mod:`orlop_linux.kernel.seccomp_tables`). The
rest is ours (:mod:`orlop_linux.kernel.seccomp_program`), because what libseccomp compiles is not always what
a profile says: it drops conditions beside a rule without any, and it takes no rule with the action of the
default (docs/decisions/0012).

What a profile says, rule by rule (docs/explanation/seccomp.md has it in prose):

- For each call, rules with conditions come first, in the order of the config; the first one that holds
  decides. Then the first rule without conditions decides, and then the default.
- Conditions of one rule must all hold. If two of them are about one argument, each is a rule of its own.
- A rule for a call that an architecture has behind a multiplexer (socketcall(2), ipc(2)) is one for the
  multiplexer with that selector. Conditions cannot be told there, because the arguments are behind a pointer:
  the strictest of what could happen does. Rules that name the multiplexer itself come first.
- A call that is newer than the newest one that the profile names gets ENOSYS in place of the default's errno.
"""

from __future__ import annotations

import errno
from _thread import allocate_lock
from typing import TYPE_CHECKING, Any

from orlop_hookspecs.errors import shorten
from orlop_linux.init import syscalls
from orlop_linux.kernel.refusal import refuse
from orlop_linux.kernel.seccomp_program import MOST, X32_BIT, Outcome, Section, assemble
from orlop_linux.kernel.seccomp_tables import (
    FLAGS,
    LITTLE_ENDIAN,
    UNKNOWN,
    X32_TOKEN,
    X86_64,
    architecture,
    native,
    table,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orlop_hookspecs.steps import LoadSeccomp
    from orlop_linux.kernel.seccomp_program import Alternative
    from orlop_linux.kernel.seccomp_tables import Table

_ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_WITH_VALUE = frozenset({"SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"})
_TSYNC, _NEW_LISTENER, _TSYNC_ESRCH, _WAIT_KILLABLE = 1 << 0, 1 << 3, 1 << 4, 1 << 5
_OPERATORS = frozenset(
    {
        "SCMP_CMP_NE",
        "SCMP_CMP_LT",
        "SCMP_CMP_LE",
        "SCMP_CMP_EQ",
        "SCMP_CMP_GE",
        "SCMP_CMP_GT",
        "SCMP_CMP_MASKED_EQ",
    }
)
_SINCE_2_6 = frozenset({"SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_M68K", "SCMP_ARCH_SH", "SCMP_ARCH_SHEB"})
"""Architectures that libseccomp 2.6 added; no machine of another kind executes their programs."""
_ARGUMENTS = 6
_WORD = (1 << 64) - 1
_FOREIGN = _ACTIONS["SCMP_ACT_KILL_THREAD"]  # what libseccomp does to other architectures
_NOT_IMPLEMENTED = _ACTIONS["SCMP_ACT_ERRNO"] | errno.ENOSYS
_ARM_TOKEN, _ARM_PRIVATE = 0x40000028, 0x0F0000  # calls of its own above all others: cacheflush, set_tls
_LARGEST = 0x7FFFFFFF
_NOTHING = 0xFFFFFFFF
"""The call -1: a tracer's way to skip one, which is not a call by x32 (seccomp(2))."""
_KEPT = 16
_SHOWN = 20


class Compiled:
    """A filter that is ready to load."""

    __slots__ = ("flags", "program", "warnings")

    def __init__(self, program: bytes, flags: int, warnings: tuple[str, ...]) -> None:
        """Keep the parts.

        Args:
            program: Array of struct sock_filter, eight bytes each.
            flags: SECCOMP_FILTER_FLAG_* bits for seccomp(2).
            warnings: What was left out.
        """
        self.program = program
        self.flags = flags
        self.warnings = warnings


class _Named:
    """What the profile says about one name."""

    __slots__ = ("alternatives", "plain")

    def __init__(self) -> None:
        self.alternatives: list[Alternative] = []
        self.plain: int | None = None


_lock = allocate_lock()
_cache: dict[str, Compiled] = {}


def compile_filter(step: LoadSeccomp, plugin: str) -> Compiled:
    """Return the filter that *step* asks for; equal filters are compiled once in a process.

    Names that libseccomp does not know on any architecture are left out with a warning: profiles name calls
    that are newer than the host. A strict step is refused for them.

    Raises:
        PlatformError: libseccomp is not installed.
        StepError: A word is unknown, the kernel does not have a flag, or the program is too long for it.
    """
    key = repr(
        (
            step.default_action,
            step.default_errno,
            step.architectures,
            step.flags,
            step.syscalls,
            bool(step.listener_path),
            step.strict,
        )
    )
    with _lock:
        found = _cache.pop(key, None)
        if found is None:
            found = _compile(step, plugin)
        _cache[key] = found  # at the end: the first one is the one that was not used for longest
        while len(_cache) > _KEPT:
            del _cache[next(iter(_cache))]
    return found


def _compile(step: LoadSeccomp, plugin: str) -> Compiled:
    flags = _flags(step, plugin)
    default = _action(step, plugin, step.default_action, step.default_errno)
    tables = [table(token) for token in _tokens(step, plugin)]
    names = _names(step, plugin)
    unknown = [name for name in names if all(one.number(name) == UNKNOWN for one in tables)]
    listed = ", ".join(shorten(name).strip("'") for name in unknown[:_SHOWN])
    more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
    if unknown and step.strict:
        raise refuse(
            step,
            plugin,
            f"libseccomp does not know these system calls: {listed}{more}",
            hint="the config asks for a refusal instead of leaving them out",
        )
    for name in unknown:
        del names[name]
    program = assemble(_sections(tables, names, default), _FOREIGN)
    if len(program) > MOST * 8:
        raise refuse(
            step,
            plugin,
            f"the filter has {len(program) // 8} instructions, the kernel takes {MOST}",
            number=errno.E2BIG,
        )
    warnings: tuple[str, ...] = ()
    if unknown:
        warnings = (f"seccomp: system calls that libseccomp does not know are left out: {listed}{more}",)
    return Compiled(program, flags, warnings)


def _flags(step: LoadSeccomp, plugin: str) -> int:
    flags = _NEW_LISTENER if step.listener_path else 0
    if not syscalls.seccomp_takes(flags):
        what = "listeners for seccomp" if flags else "seccomp filters"
        raise refuse(step, plugin, f"the running kernel has no {what}", number=errno.EOPNOTSUPP)
    for name in step.flags:
        if name not in FLAGS:
            raise refuse(step, plugin, f"unknown seccomp flag {shorten(name)}")
        bit = FLAGS[name]
        if bit == _WAIT_KILLABLE and not step.listener_path:
            continue  # how a call waits for a listener; the kernel takes the flag only together with one
        if bit == _TSYNC and step.listener_path:
            bit |= _TSYNC_ESRCH  # a listener and a thread's id cannot both be returned
        if not syscalls.seccomp_takes(bit | flags & _NEW_LISTENER):
            message = f"the running kernel does not have the seccomp flag {name}"
            raise refuse(step, plugin, message, number=errno.EOPNOTSUPP)
        flags |= bit
    return flags


def _tokens(step: LoadSeccomp, plugin: str) -> list[int]:
    """Return the architectures that the machine may execute, its own one always among them.

    One of another byte order, or one that an older libseccomp does not have, is none of those: no call of it
    can ever come, so there is nothing to say about it (docs/decisions/0012).
    """
    own = native()
    tokens = {own: None}
    for name in step.architectures:
        token = architecture(name)
        if not token and name not in _SINCE_2_6:
            raise refuse(step, plugin, f"unknown architecture {shorten(name)}")
        if token and not (token ^ own) & LITTLE_ENDIAN:
            tokens[token] = None
    return list(tokens)


# --- from rules to what each call gets


def _names(step: LoadSeccomp, plugin: str) -> dict[str, _Named]:
    names: dict[str, _Named] = {}
    for rule in step.syscalls:
        action = _action(step, plugin, rule["action"], rule.get("errno"))
        alternatives = _alternatives(step, plugin, rule.get("args") or (), action)
        for name in rule["names"]:
            named = names.get(name)
            if named is None:
                named = names[name] = _Named()
            if alternatives:
                named.alternatives += alternatives
            elif named.plain is None:
                named.plain = action
    return names


def _alternatives(
    step: LoadSeccomp,
    plugin: str,
    args: Any,  # noqa: ANN401 - as it stands in the step
    action: int,
) -> list[Alternative]:
    conditions = []
    for arg in args:
        if arg["op"] not in _OPERATORS:
            raise refuse(step, plugin, f"unknown operator {shorten(arg['op'])}")
        if not 0 <= arg["index"] < _ARGUMENTS:
            raise refuse(step, plugin, f"a system call has no argument {arg['index']}")
        one, two = arg["value"] & _WORD, (arg.get("value_two") or 0) & _WORD
        conditions.append((arg["index"], arg["op"], one, two))
    if len({one[0] for one in conditions}) < len(conditions):
        return [((one,), action) for one in conditions]
    return [(tuple(conditions), action)] if conditions else []


def _action(step: LoadSeccomp, plugin: str, name: str, value: int | None) -> int:
    if name not in _ACTIONS:
        raise refuse(step, plugin, f"unknown seccomp action {shorten(name)}")
    if name in _WITH_VALUE:
        return _ACTIONS[name] | ((errno.EPERM if value is None else value) & 0xFFFF)
    return _ACTIONS[name]


def _sections(
    tables: Iterable[Table], names: dict[str, _Named], default: int
) -> dict[int, list[tuple[int, Section]]]:
    sections: dict[int, list[tuple[int, Section]]] = {}
    for one in tables:
        first = X32_BIT if one.token == X32_TOKEN else 0
        sections.setdefault(one.kernel_token, []).append((first, _section(one, names, default)))
    mixed = sections.get(X86_64)
    if mixed is not None and all(first != X32_BIT for first, _ in mixed):
        # Calls by x32 carry the architecture of x86_64.
        mixed += [(X32_BIT, Section({}, _FOREIGN, None)), (_NOTHING, Section({}, default, None))]
    return sections


def _section(one: Table, names: dict[str, _Named], default: int) -> Section:
    own: dict[int, _Named] = {}
    hidden: dict[int, list[Alternative]] = {}
    newest = -1
    last = last_number(one.token)
    for name, named in names.items():
        number = one.number(name)
        behind = one.multiplexed(number)
        if behind is not None:
            multiplexer, selector, mask = behind
            place = one.number(multiplexer)
            if place >= 0:
                condition = (0, "SCMP_CMP_MASKED_EQ", mask, selector)
                hidden.setdefault(place, []).append(((condition,), _strictest(named, default)))
                newest = max(newest, place)
            number = one.direct(name)
        if number < 0:
            continue
        if newest < number <= last:
            newest = number
        own[number] = named  # on no architecture do two names share a number
    outcomes = {
        number: Outcome(tuple(named.alternatives), default if named.plain is None else named.plain)
        for number, named in own.items()
    }
    for number, derived in hidden.items():
        named = own.get(number) or _Named()
        if named.plain is None:
            outcomes[number] = Outcome((*named.alternatives, *derived), default)
    newer = None
    if newest >= 0 and default >> 16 == _ACTIONS["SCMP_ACT_ERRNO"] >> 16 and newest < last:
        newer = (newest + 1, last, _NOT_IMPLEMENTED)
    return Section(outcomes, default, newer)


def last_number(token: int) -> int:
    """Return the largest number that a future call of the architecture can have."""
    if token == X86_64:
        return X32_BIT - 1
    return _ARM_PRIVATE - 1 if token == _ARM_TOKEN else _LARGEST


def _strictest(named: _Named, default: int) -> int:
    """Return the strictest of what may happen to a call whose arguments cannot be seen (seccomp(2))."""
    possible = [verdict for _, verdict in named.alternatives]
    possible.append(default if named.plain is None else named.plain)
    return min(possible, key=_severity)


def _severity(verdict: int) -> int:
    # The kernel compares the actions as signed numbers: to kill the process is the smallest.
    action = verdict & 0xFFFF0000
    return action - (1 << 32) if action & 0x80000000 else action


__all__ = ["Compiled", "compile_filter"]
