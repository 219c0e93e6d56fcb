"""A compiled filter, the plain reading of its profile and, where it can say it, libseccomp agree."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import random
from collections import Counter
from typing import Any

import pytest
from tests.unit.linux_kernel.filters import (
    ARCHITECTURES,
    LIBRARY,
    RETURNS,
    calls_of,
    check,
    number_of,
    profile,
    questions,
    returned,
    run,
)

from orlop.documents.codec import decode
from orlop.engine.filters import explain_call, names_of
from orlop_fake.seccomp import X32_BIT, Calls, Filter, call_table
from orlop_fake.syscall_numbers import X86_64 as FAKE_NUMBERS
from orlop_hookspecs.documents.seccomp import Seccomp
from orlop_hookspecs.errors import StepError
from orlop_hookspecs.steps import LoadSeccomp
from orlop_linux.kernel.seccomp import compile_filter
from orlop_linux.kernel.seccomp_calls import call_table as linux_call_table
from orlop_linux.plugins.syscall_names import NAMES

if platform.machine() != "x86_64":
    pytest.skip("the tables below are those of an x86_64 machine", allow_module_level=True)


@pytest.fixture(scope="module")
def tables() -> dict[str, Calls]:
    return {name: calls_of(token) for name, token in ARCHITECTURES.items()}


def _compiled(step: LoadSeccomp) -> bytes | None:
    """Return the program; ``None`` when it is longer than the kernel takes."""
    try:
        return compile_filter(step, "seccomp").program
    except StepError as error:
        if error.errno != errno.E2BIG:
            raise
        return None


@pytest.mark.parametrize("seed", range(6))
def test_generated_profiles(tables: dict[str, Calls], seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret
    seen: Counter[int] = Counter()
    too_long = 0
    for _ in range(12):
        step = profile(chance)
        program = _compiled(step)
        if program is None:
            too_long += 1
            continue
        check(program)
        reading = Filter(step, tables)
        for architecture, number, args in questions(chance, step, tables):
            expected = returned(reading.judge(architecture, number, args))
            found = run(program, number, args, ARCHITECTURES[architecture])
            assert found == expected, (architecture, hex(number), [hex(arg) for arg in args], step)
            seen[found & 0xFFFF0000] += 1
    assert set(seen) == set(RETURNS.values())
    assert sum(seen.values()) > 2_500
    assert too_long < 4


def _plain(*rules: tuple[str, tuple[str, ...]], default: str = "SCMP_ACT_KILL_PROCESS") -> LoadSeccomp:
    return LoadSeccomp(
        because="/linux/seccomp",
        default_action=default,
        architectures=tuple(ARCHITECTURES),
        syscalls=tuple({"names": names, "action": action, "errno": 5, "args": ()} for action, names in rules),
    )


def _by_libseccomp(step: LoadSeccomp) -> bytes:
    """Compile a profile without conditions with libseccomp itself."""
    lib = LIBRARY
    lib.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(lib.seccomp_init(ctypes.c_uint32(RETURNS[step.default_action])))
    for token in ARCHITECTURES.values():
        lib.seccomp_arch_add(context, ctypes.c_uint32(token))
    for rule in step.syscalls:
        action = RETURNS[rule["action"]] | (5 if rule["action"] == "SCMP_ACT_ERRNO" else 0)
        for name in rule["names"]:
            number = ctypes.c_int(lib.seccomp_syscall_resolve_name(name.encode()))
            assert lib.seccomp_rule_add_array(context, ctypes.c_uint32(action), number, 0, None) == 0
    fd = os.memfd_create("filter")
    try:
        assert lib.seccomp_export_bpf(context, fd) == 0
        return os.pread(fd, 1 << 20, 0)
    finally:
        os.close(fd)
        lib.seccomp_release(context)


@pytest.mark.parametrize("seed", range(4))
def test_libseccomp_judges_the_same_where_no_arguments_are_asked_for(
    tables: dict[str, Calls], seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret
    # Behind the multiplexer libseccomp compares all 64 bits of an int, and not its lower half for ipc(2).
    known = sorted(set(tables["SCMP_ARCH_X86_64"].numbers) - set(tables["SCMP_ARCH_X86"].hidden))
    chance.shuffle(known)
    step = _plain(
        ("SCMP_ACT_ALLOW", tuple(known[:150])), ("SCMP_ACT_ERRNO", tuple(known[150:170])),
        ("SCMP_ACT_NOTIFY", tuple(known[170:175])),
    )  # fmt: skip
    ours, theirs = compile_filter(step, "seccomp").program, _by_libseccomp(step)
    for name, token in ARCHITECTURES.items():
        arch = ARCHITECTURES["SCMP_ARCH_X86_64"] if name == "SCMP_ARCH_X32" else token
        base = X32_BIT if name == "SCMP_ARCH_X32" else 0
        for number in (*range(base, base + 700), 0x0F0002, 0x3FFFFFFF, 0x7FFFFFFF, 0xFFFFFFFF):
            assert run(ours, number, (), arch) == run(theirs, number, (), arch), (name, number)


@pytest.mark.parametrize("number", [*range(1, 21), *range(201, 205), 0x10001])
def test_libseccomp_selects_the_same_calls_behind_the_multiplexers(number: int) -> None:
    names = ("socket", "bind", "accept4", "sendmsg", "semop", "semget", "shmat")
    step = _plain(("SCMP_ACT_ALLOW", names))
    ours, theirs = compile_filter(step, "seccomp").program, _by_libseccomp(step)
    arch = ARCHITECTURES["SCMP_ARCH_X86"]
    for multiplexer in (102, 117):
        if number <= 0xFFFF:
            assert run(ours, multiplexer, (number,), arch) == run(theirs, multiplexer, (number,), arch)
        else:  # the kernel takes the upper half of ipc(2)'s selector for a version: the call is the same
            assert run(ours, 117, (number,), arch) == run(ours, 117, (number & 0xFFFF,), arch)


def test_the_tables_of_names_hold_all_that_libseccomp_knows(tables: dict[str, Calls]) -> None:
    for calls in tables.values():
        assert set(calls.numbers) | set(calls.hidden) <= NAMES
        assert len(calls.names) == len(calls.numbers)  # no two names share a number
    known = tables["SCMP_ARCH_X86_64"].numbers
    assert {name: FAKE_NUMBERS.get(name) for name in known} == known


def test_each_name_that_the_machine_has_resolves() -> None:
    newer = [name for name in FAKE_NUMBERS if number_of(ARCHITECTURES["SCMP_ARCH_X86_64"], name) < 0]
    # An installed libseccomp that is older than the table lacks the newest calls, and no others.
    assert all(FAKE_NUMBERS[name] > 424 or name in {"uretprobe", "uprobe"} for name in newer)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_explained_is_what_the_filter_does(tables: dict[str, Calls], seed: int) -> None:
    """With all arguments known there is one outcome; with some of them unknown, it is among the possible."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    asked = 0
    for _ in range(8):
        step = profile(chance)
        document = decode(as_config(step), Seccomp)
        reading = Filter(step, tables)
        known = {name: call_table(name, names_of(document), tables) for name in tables}
        for architecture, number, args in questions(chance, step, tables):
            table = known[architecture]
            if table is None or architecture not in {*step.architectures, "SCMP_ARCH_X86_64"}:
                continue
            if architecture == "SCMP_ARCH_X86_64" and number >= X32_BIT:
                continue  # a call of another architecture, in the numbers of this one
            whole = (*args, *(0,) * (6 - len(args)))
            outcomes = explain_call(document, table, number, whole)
            assert len(outcomes) == 1
            expected = returned(reading.judge(architecture, number, args))
            (found,) = outcomes
            assert returned((found.action, found.errno or 0)) == expected, (architecture, number, args, found)
            hidden = tuple(None if chance.random() < 0.5 else value for value in whole)
            possible = explain_call(document, table, number, hidden)
            assert expected in {returned((one.action, one.errno or 0)) for one in possible}
            assert not possible[-1].conditions
            asked += 1
    assert asked > 500


def as_config(step: LoadSeccomp) -> dict[str, Any]:
    """Return the ``linux.seccomp`` section that *step* was planned from."""
    made: dict[str, Any] = {
        "defaultAction": step.default_action,
        "architectures": list(step.architectures),
        "syscalls": [
            {
                "names": list(rule["names"]),
                "action": rule["action"],
                "errnoRet": rule.get("errno"),
                "args": [
                    {
                        "index": a["index"],
                        "value": a["value"],
                        "valueTwo": a.get("value_two") or 0,
                        "op": a["op"],
                    }
                    for a in rule.get("args") or ()
                ],
            }
            for rule in step.syscalls
        ],
    }
    if step.default_errno is not None:
        made["defaultErrnoRet"] = step.default_errno
    return made


def test_libseccomp_and_the_tables_of_the_tests_know_the_same(tables: dict[str, Calls]) -> None:
    names = ("read", "socket", "socketcall", "ipc", "semget", "clone3", "no_such_call")
    for architecture, calls in tables.items():
        found = linux_call_table(architecture, names)
        expected = call_table(architecture, names, tables)
        assert found is not None
        assert expected is not None
        assert dict(found.numbers) == dict(expected.numbers), architecture
        assert dict(found.hidden) == dict(expected.hidden), architecture
        assert found.last == expected.last == calls.last
    own = linux_call_table("", ())
    assert own is not None
    assert own.architecture == "SCMP_ARCH_X86_64"
