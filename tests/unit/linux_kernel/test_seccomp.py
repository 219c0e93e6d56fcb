"""Compiled filters, executed by a small BPF machine and compared with what the config says."""

from __future__ import annotations

import ctypes
import errno
import struct
import sys
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.linux_kernel.filters import AARCH64, ARM, X86, run

from orlop_hookspecs.errors import PlatformError, StepError
from orlop_hookspecs.steps import LoadSeccomp
from orlop_linux.init import syscalls
from orlop_linux.kernel import seccomp, seccomp_tables
from orlop_linux.kernel.seccomp import compile_filter

try:
    ctypes.CDLL("libseccomp.so.2")
except OSError:
    pytest.skip("needs libseccomp", allow_module_level=True)
if sys.platform != "linux" or struct.calcsize("P") != 8:
    pytest.skip("the numbers below are those of 64-bit Linux", allow_module_level=True)

import platform

if platform.machine() != "x86_64":
    pytest.skip("the numbers below are those of x86_64", allow_module_level=True)

X32_BIT = 0x40000000
READ, WRITE, CLONE, PERSONALITY, SOCKET = 0, 1, 56, 135, 41
ALLOW, LOG, KILL_THREAD, KILL_PROCESS = 0x7FFF0000, 0x7FFC0000, 0, 0x80000000
EPERM, ENOSYS = 0x00050001, 0x00050000 | errno.ENOSYS


def rule(
    *names: str, action: str = "SCMP_ACT_ALLOW", errno: int | None = None, args: Any = ()
) -> dict[str, Any]:
    return {"names": names, "action": action, "errno": errno, "args": args}


def condition(index: int, op: str, value: int, value_two: int = 0) -> dict[str, Any]:
    return {"index": index, "op": f"SCMP_CMP_{op}", "value": value, "value_two": value_two}


def load(*rules: dict[str, Any], default: str = "SCMP_ACT_ERRNO", **fields: Any) -> LoadSeccomp:
    return LoadSeccomp(because="/linux/seccomp", default_action=default, syscalls=rules, **fields)


def compiled(*rules: dict[str, Any], **fields: Any) -> bytes:
    return compile_filter(load(*rules, **fields), "seccomp").program


def test_named_calls_are_allowed_and_others_get_the_default() -> None:
    program = compiled(rule("read", "write", "personality"))
    assert run(program, READ) == ALLOW
    assert run(program, SOCKET) == EPERM


def test_calls_that_are_newer_than_the_profile_are_not_implemented() -> None:
    """As on a kernel that does not have them: programs then try what they did before (runc's practice)."""
    program = compiled(rule("read"), rule("socket", action="SCMP_ACT_ERRNO", errno=1))
    assert [run(program, number) for number in (SOCKET - 1, SOCKET, SOCKET + 1, 0x3FFFFFFF)] == [
        EPERM,
        EPERM,
        ENOSYS,
        ENOSYS,
    ]
    assert run(program, 0xFFFFFFFF) == EPERM  # a tracer's -1 is no call


@pytest.mark.parametrize(
    ("fields", "result"),
    [
        ({"default_errno": 77}, ENOSYS),
        ({"default_errno": errno.ENOSYS}, ENOSYS),
        ({"default": "SCMP_ACT_KILL_PROCESS"}, KILL_PROCESS),
        ({"default": "SCMP_ACT_LOG"}, LOG),
        ({"default": "SCMP_ACT_TRACE", "default_errno": 7}, 0x7FF00007),
    ],
)
def test_only_an_errno_is_replaced_for_newer_calls(fields: dict[str, Any], result: int) -> None:
    assert run(compiled(rule("socket"), **fields), SOCKET + 1) == result


def test_a_profile_that_names_no_call_has_no_newer_ones() -> None:
    for program in (compiled(), compiled(rule("no_such_call"))):
        assert {run(program, number) for number in (0, SOCKET, 5000)} == {EPERM}


def test_what_is_newer_is_counted_for_each_architecture_apart() -> None:
    many = ("SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_ARM")
    program = compiled(rule("mmap2", "read"), architectures=many)
    assert run(program, READ + 1) == ENOSYS  # x86_64 has no mmap2
    assert run(program, X32_BIT | 1) == ENOSYS
    assert [run(program, number, arch=X86) for number in (191, 192, 193)] == [EPERM, ALLOW, ENOSYS]
    assert run(program, 0x0F0005, arch=ARM) == EPERM  # a private one, above all others


def test_rules_with_conditions_say_more_than_those_without() -> None:
    exception = rule("socket", action="SCMP_ACT_ERRNO", errno=97, args=(condition(0, "EQ", 40),))
    for rules in ((rule("socket"), exception), (exception, rule("socket"))):
        program = compiled(*rules, default="SCMP_ACT_KILL_PROCESS")
        assert [run(program, SOCKET, (family,)) for family in (2, 40)] == [ALLOW, 0x00050000 | 97]


def test_a_rule_with_the_action_of_the_default_is_still_an_exception() -> None:
    exception = rule("socket", action="SCMP_ACT_ERRNO", args=(condition(0, "EQ", 40),))
    program = compiled(rule("socket"), exception)
    assert [run(program, SOCKET, (family,)) for family in (2, 40)] == [ALLOW, EPERM]


def test_of_conditions_that_hold_the_first_decides() -> None:
    low = rule("personality", args=(condition(0, "LE", 8),))
    eight = rule("personality", action="SCMP_ACT_LOG", args=(condition(0, "EQ", 8),))
    assert run(compiled(low, eight), PERSONALITY, (8,)) == ALLOW
    assert run(compiled(eight, low), PERSONALITY, (8,)) == LOG


def test_behind_a_multiplexer_the_strictest_counts() -> None:
    """socketcall(2) takes its arguments by a pointer: whether a condition holds cannot be seen."""
    many = ("SCMP_ARCH_X86",)
    family = rule("socket", args=(condition(0, "NE", 40),))
    killed = rule("socket", action="SCMP_ACT_KILL", args=(condition(0, "EQ", 40),))
    for rules, expected in (
        ((rule("socket"),), ALLOW),
        ((family,), EPERM),
        ((family, rule("socketcall")), ALLOW),
        ((rule("socket"), killed), KILL_THREAD),
    ):
        program = compiled(*rules, architectures=many)
        assert run(program, 102, (1, 0xFFFF1234), arch=X86) == expected
        # The kernel takes an int: the upper half cannot hide the call.
        assert run(program, 102, (1 | 1 << 32, 0xFFFF1234), arch=X86) == expected
    program = compiled(family, architectures=many)
    assert [run(program, 359, (value,), arch=X86) for value in (2, 40)] == [ALLOW, EPERM]


def test_a_condition_beyond_32_bits_never_holds_for_a_32_bit_program() -> None:
    beyond = rule("personality", args=(condition(0, "EQ", 1 << 32 | 8),))
    program = compiled(beyond, architectures=("SCMP_ARCH_X86",))
    assert run(program, 136, (8,), arch=X86) == EPERM


def test_architectures_that_the_machine_cannot_execute_change_nothing() -> None:
    plain = compiled(rule("read"))
    for name in ("S390X", "PPC64", "LOONGARCH64", "M68K", "SH", "SHEB"):
        assert compiled(rule("read"), architectures=(f"SCMP_ARCH_{name}",))[:64] == plain[:64], name


def test_a_foreign_architecture_is_killed() -> None:
    program = compiled(rule("read"))
    assert run(program, 3, arch=X86) == KILL_THREAD
    assert run(program, 63, arch=AARCH64) == KILL_THREAD


def test_x32_calls_do_not_pass_as_x86_64() -> None:
    assert run(compiled(rule("read")), READ | X32_BIT) == KILL_THREAD


def test_more_architectures_have_their_own_numbers() -> None:
    program = compiled(rule("read"), architectures=("SCMP_ARCH_X86_64", "SCMP_ARCH_X86"))
    assert run(program, 3, arch=X86) == ALLOW
    assert run(program, READ, arch=X86) == EPERM
    assert run(program, READ) == ALLOW


def test_the_default_may_have_its_own_errno() -> None:
    assert run(compiled(rule("read"), default_errno=errno.ENOSYS), SOCKET) == ENOSYS


@pytest.mark.parametrize(
    ("action", "number", "result"),
    [
        ("SCMP_ACT_ALLOW", None, ALLOW),
        ("SCMP_ACT_LOG", None, LOG),
        ("SCMP_ACT_KILL", None, KILL_THREAD),
        ("SCMP_ACT_KILL_THREAD", None, KILL_THREAD),
        ("SCMP_ACT_KILL_PROCESS", None, KILL_PROCESS),
        ("SCMP_ACT_TRAP", None, 0x00030000),
        ("SCMP_ACT_ERRNO", 95, 0x0005005F),
        ("SCMP_ACT_TRACE", None, 0x7FF00001),
        ("SCMP_ACT_TRACE", 7, 0x7FF00007),
    ],
)
def test_every_action(action: str, number: int | None, result: int) -> None:
    assert run(compiled(rule("read", action=action, errno=number)), READ) == result
    assert run(compiled(rule("write"), default=action, default_errno=number), READ) == result


def test_a_rule_that_says_what_the_default_says_changes_nothing() -> None:
    program = compiled(rule("read", action="SCMP_ACT_ERRNO"), rule("write"))
    assert run(program, READ) == EPERM
    assert run(program, WRITE) == ALLOW


def test_a_rule_twice_is_a_rule() -> None:
    assert run(compiled(rule("read"), rule("read", "read")), READ) == ALLOW


def test_unknown_names_are_left_out_with_one_warning() -> None:
    result = compile_filter(load(rule("read", "no_such_call", "nor\x1bthis", "no_such_call")), "seccomp")
    assert run(result.program, READ) == ALLOW
    assert result.warnings == (
        "seccomp: system calls that libseccomp does not know are left out: no_such_call, nor\\x1bthis",
    )


def test_unknown_names_are_refused_by_a_strict_step() -> None:
    strict = load(rule("read", "no_such_call", "arm_fadvise64_64"), strict=True)
    with pytest.raises(StepError, match=r"does not know these system calls: no_such_call \[") as caught:
        compile_filter(strict, "seccomp")
    assert caught.value.pointer == "/linux/seccomp"


OPERATORS = {
    "EQ": lambda x, a, b: x == a,
    "NE": lambda x, a, b: x != a,
    "LT": lambda x, a, b: x < a,
    "LE": lambda x, a, b: x <= a,
    "GT": lambda x, a, b: x > a,
    "GE": lambda x, a, b: x >= a,
    "MASKED_EQ": lambda x, a, b: x & a == b,
}
values = st.one_of(
    st.integers(0, 4),
    st.sampled_from([0xFFFFFFFF, 1 << 32, (1 << 32) + 1, 1 << 63, (1 << 64) - 1]),
    st.integers(0, (1 << 64) - 1),
)


@given(st.sampled_from(sorted(OPERATORS)), values, values, values)
def test_operators_compare_all_64_bits(op: str, value: int, second: int, given_value: int) -> None:
    if op == "MASKED_EQ":
        second &= value  # libseccomp compares the masked argument with the masked value
    program = compiled(rule("personality", args=(condition(0, op, value, second),)))
    expected = ALLOW if OPERATORS[op](given_value, value, second) else EPERM
    assert run(program, PERSONALITY, (given_value,)) == expected


def test_conditions_on_different_arguments_must_all_hold() -> None:
    program = compiled(rule("socket", args=(condition(0, "EQ", 1), condition(1, "GE", 2))))
    assert run(program, SOCKET, (1, 2)) == ALLOW
    assert run(program, SOCKET, (1, 1)) == EPERM
    assert run(program, SOCKET, (2, 2)) == EPERM


def test_of_conditions_on_one_argument_any_one_suffices() -> None:
    program = compiled(rule("personality", args=(condition(0, "EQ", 0), condition(0, "EQ", 8))))
    assert [run(program, PERSONALITY, (value,)) for value in (0, 8, 4)] == [ALLOW, ALLOW, EPERM]


def test_a_long_filter_jumps_far() -> None:
    many = tuple(rule("personality", args=(condition(0, "EQ", value),)) for value in range(600))
    program = compiled(rule("read"), *many, rule("clone"))
    assert [run(program, PERSONALITY, (value,)) for value in (0, 299, 599, 600)] == [
        ALLOW,
        ALLOW,
        ALLOW,
        EPERM,
    ]
    assert run(program, CLONE) == ALLOW


def test_a_filter_that_no_kernel_takes_is_refused() -> None:
    many = tuple(
        rule("personality", args=(condition(0, "EQ", value << 32 | value), condition(1, "EQ", value)))
        for value in range(1500)
    )
    with pytest.raises(StepError, match="instructions, the kernel takes 4096"):
        compiled(*many)


def test_flags_become_bits() -> None:
    flags = ("SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC")
    assert compile_filter(load(rule("read"), flags=flags), "seccomp").flags == 0b111


def test_flags_with_a_listener() -> None:
    flags = ("SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV")
    notify = rule("read", action="SCMP_ACT_NOTIFY")
    assert compile_filter(load(notify, flags=flags, listener_path="/run/agent"), "seccomp").flags == 0b111001
    assert compile_filter(load(rule("read"), flags=flags), "seccomp").flags == 0b1


@pytest.mark.parametrize(
    ("missing", "fields", "message"),
    [
        (1 << 5, {"listener_path": "/run/agent"}, "flag SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"),
        (1 << 3, {"listener_path": "/run/agent"}, "has no listeners"),
        (-1, {}, "has no seccomp filters"),
        (1 << 1, {}, "flag SECCOMP_FILTER_FLAG_LOG"),
    ],
)
def test_what_the_kernel_does_not_have_is_refused(
    monkeypatch: pytest.MonkeyPatch, missing: int, fields: dict[str, Any], message: str
) -> None:
    flags = ("SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV")
    monkeypatch.setattr(syscalls, "seccomp_takes", lambda asked: missing > 0 and not asked & missing)
    with pytest.raises(StepError, match=message) as caught:
        compile_filter(load(rule("getppid", action="SCMP_ACT_NOTIFY"), flags=flags, **fields), "seccomp")
    assert (caught.value.pointer, caught.value.errno) == ("/linux/seccomp", errno.EOPNOTSUPP)


def test_the_kernel_is_asked_for_flags_without_loading_anything() -> None:
    def status() -> list[str]:
        with open("/proc/self/status") as file:
            return [line for line in file if line.startswith(("Seccomp", "NoNewPrivs"))]

    before = status()
    assert syscalls.seccomp_takes(0b111)
    assert not syscalls.seccomp_takes(1 << 30)
    assert status() == before


@pytest.mark.parametrize(
    "step",
    [
        load(rule("read"), flags=("SECCOMP_FILTER_FLAG_NONSENSE",)),
        load(rule("read"), architectures=("SCMP_ARCH_VAX",)),
        load(rule("read", action="SCMP_ACT_NONSENSE")),
        load(rule("read"), default="SCMP_ACT_NONSENSE"),
        load(rule("read", args=(condition(0, "ABOUT", 1),))),
        load(rule("read", args=(condition(6, "EQ", 1),))),
    ],
)
def test_unknown_words_are_refused_with_the_property(step: LoadSeccomp) -> None:
    with pytest.raises(StepError) as caught:
        compile_filter(step, "seccomp")
    assert caught.value.pointer == "/linux/seccomp"
    assert caught.value.plugin == "seccomp"


def test_equal_filters_are_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = compile_filter(load(rule("read", "getpid")), "seccomp")
    monkeypatch.setattr(seccomp, "_compile", pytest.fail)
    assert compile_filter(load(rule("read", "getpid")), "seccomp") is first


def test_the_cache_stays_small() -> None:
    for value in range(40):
        compiled(rule("personality", args=(condition(0, "EQ", value),)))
    assert len(seccomp._cache) <= 16


def test_threads_compile_at_the_same_time() -> None:
    results: dict[int, bytes] = {}

    def work(value: int) -> None:
        results[value] = compiled(rule("personality", args=(condition(0, "EQ", value),)))

    threads = [threading.Thread(target=work, args=(value,)) for value in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for value, program in results.items():
        assert [run(program, PERSONALITY, (x,)) for x in range(8)] == [
            ALLOW if x == value else EPERM for x in range(8)
        ]


def test_a_host_without_libseccomp_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(seccomp_tables, "_library", None)
    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(PlatformError, match="libseccomp is not installed"):
        compiled(rule("read", "getuid", "getgid"))


def test_the_python_package_compiles_what_judges_the_same() -> None:
    other = pytest.importorskip("pyseccomp", exc_type=ImportError)
    import tempfile

    model = other.SyscallFilter(other.ERRNO(errno.EPERM))
    model.add_arch(other.Arch.X86)
    for name in ("read", "write", "socket", "futex", "openat2"):
        model.add_rule(other.ALLOW, name)
    model.add_rule(other.ALLOW, "clone", other.Arg(0, other.MASKED_EQ, 0x7E020000, 0))
    with tempfile.TemporaryFile() as file:
        model.export_bpf(file)
        file.seek(0)
        theirs = file.read()
    ours = compiled(
        rule("read", "write", "socket", "futex", "openat2"),
        rule("clone", args=(condition(0, "MASKED_EQ", 0x7E020000),)),
        architectures=("SCMP_ARCH_X86",),
    )
    for arch in (0xC000003E, X86, AARCH64):
        for number in (*range(438), *(() if arch == X86 else (X32_BIT,)), 0xFFFFFFFF):
            for first in (0, 1, 17, 0x7E020000, 0x10000, 1 << 40):
                assert run(ours, number, (first,), arch) == run(theirs, number, (first,), arch), number
