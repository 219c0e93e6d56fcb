"""A machine for classic BPF, what libseccomp knows, and generated profiles: for the tests of filters."""

from __future__ import annotations

import ctypes
import random
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from orlop_fake.seccomp import ACTIONS, X32_BIT, Calls, Verdict
from orlop_hookspecs.steps import LoadSeccomp

X86_64, X86, AARCH64, ARM, RISCV64 = 0xC000003E, 0x40000003, 0xC00000B7, 0x40000028, 0xC00000F3
X32_TOKEN = 0x4000003E
ARCHITECTURES = {
    "SCMP_ARCH_X86_64": X86_64,
    "SCMP_ARCH_X86": X86,
    "SCMP_ARCH_X32": X32_TOKEN,
    "SCMP_ARCH_AARCH64": AARCH64,
    "SCMP_ARCH_ARM": ARM,
    "SCMP_ARCH_RISCV64": RISCV64,
}
"""What libseccomp calls them (seccomp_arch_add(3)); the kernel calls x32 x86_64."""
RETURNS = {
    "SCMP_ACT_KILL": 0,
    "SCMP_ACT_KILL_THREAD": 0,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
"""SECCOMP_RET_* of linux/seccomp.h."""


def returned(verdict: Verdict) -> int:
    """Return what a filter returns for *verdict*."""
    action, number = verdict
    return RETURNS[action] | (number if action in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE") else 0)


def run(  # noqa: C901, PLR0912 - one branch for each instruction
    program: bytes, number: int, args: tuple[int, ...] = (), arch: int = X86_64
) -> int:
    """Execute classic BPF on one struct seccomp_data and return the action (seccomp(2))."""
    data = struct.pack("=IIQ6Q", number, arch, 0, *(*args, *(0,) * (6 - len(args))))
    accumulator, index, place, memory = 0, 0, 0, [0] * 16
    while True:
        code, yes, no, constant = struct.unpack_from("=HBBI", program, place * 8)
        place += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, constant)
        elif code == 0x15:
            place += yes if accumulator == constant else no
        elif code == 0x25:
            place += yes if accumulator > constant else no
        elif code == 0x35:
            place += yes if accumulator >= constant else no
        elif code == 0x45:
            place += yes if accumulator & constant else no
        elif code == 0x05:
            place += constant
        elif code == 0x54:
            accumulator &= constant
        elif code == 0x02:
            memory[constant] = accumulator
        elif code == 0x60:
            accumulator = memory[constant]
        elif code == 0x07:
            index = accumulator
        elif code == 0x87:
            accumulator = index
        else:
            assert code == 0x06, hex(code)
            return int(constant)


def check(program: bytes) -> None:
    """Verify what the kernel verifies of a program: known instructions, and jumps that stay inside."""
    length = len(program) // 8
    assert len(program) == length * 8
    assert 0 < length <= 4096
    for place in range(length):
        code, yes, no, constant = struct.unpack_from("=HBBI", program, place * 8)
        assert code in (0x20, 0x15, 0x25, 0x35, 0x05, 0x54, 0x06), hex(code)
        if code == 0x20:
            assert constant % 4 == 0
            assert constant < 64
        elif code == 0x05:
            assert place + 1 + constant < length
        elif code & 7 == 5:
            assert place + 1 + max(yes, no) < length
    assert struct.unpack_from("=H", program, (length - 1) * 8)[0] == 6


def _library() -> Any:
    try:
        lib = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        pytest.skip("needs libseccomp", allow_module_level=True)
    lib.seccomp_syscall_resolve_num_arch.restype = ctypes.c_void_p
    return lib


LIBRARY = _library()
_free = ctypes.CDLL(None).free
_free.argtypes = (ctypes.c_void_p,)


def name_of(token: int, number: int) -> str | None:
    """Return libseccomp's name for a number."""
    pointer = LIBRARY.seccomp_syscall_resolve_num_arch(ctypes.c_uint32(token), ctypes.c_int(number))
    if not pointer:
        return None
    try:
        return ctypes.string_at(pointer).decode()
    finally:
        _free(pointer)


def number_of(token: int, name: str) -> int:
    """Return libseccomp's number for a name; negative ones are its own."""
    number: int = LIBRARY.seccomp_syscall_resolve_name_arch(ctypes.c_uint32(token), name.encode())
    return number


def calls_of(token: int) -> Calls:
    """Return all that libseccomp knows of an architecture."""
    base = X32_BIT if token == X32_TOKEN else 0
    numbers = {
        name: number
        for number in (*range(base, base + 700), *range(0x0F0000, 0x0F0010))
        if (name := name_of(token, number)) is not None
    }
    hidden = {}
    for number in range(-230, -100):
        name = name_of(token, number)
        if name is not None and ("socketcall" if number > -200 else "ipc") in numbers:
            multiplexer, mask = ("socketcall", 0xFFFFFFFF) if number > -200 else ("ipc", 0xFFFF)
            hidden[name] = (multiplexer, -number % 100, mask)
    last = {X86_64: X32_BIT - 1, ARM: 0x0EFFFF}.get(token, 0x7FFFFFFF)
    return Calls(numbers, hidden, last)


NAMES = (
    "read", "write", "openat", "mkdir", "mkdirat", "socket", "socketpair", "connect", "accept4", "sendmsg",
    "semget", "semop", "shmat", "msgget", "ipc", "socketcall", "clone", "clone3", "personality", "ioctl",
    "prctl", "faccessat2", "epoll_pwait2", "futex_waitv", "arch_prctl", "set_tls", "mmap2", "stat64",
    "riscv_flush_icache", "no_such_call", "statx", "getpid", "exit_group", "rt_sigreturn",
)  # fmt: skip
_VALUES = (0, 1, 2, 8, 40, 0xFFFF, 0x7E020000, 0xFFFFFFFF, 1 << 32, (1 << 32) + 8, 1 << 63, (1 << 64) - 1)
_OPERATORS = ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")


def _value(chance: random.Random) -> int:
    return chance.choice(_VALUES) if chance.random() < 0.8 else chance.getrandbits(64)


def _verdict(chance: random.Random) -> tuple[str, int | None]:
    action = chance.choice(ACTIONS)
    with_number = action in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
    return action, chance.choice([None, 1, 38, 4095]) if with_number else None


def profile(chance: random.Random) -> LoadSeccomp:
    """Return a generated profile: contradictions and overlaps included."""
    default, number = _verdict(chance)
    rules = []
    for _ in range(chance.choice([0, 1, 3, 10, 30])):
        action, errno = _verdict(chance)
        if chance.random() < 0.2:
            action, errno = default, number
        args = [
            {
                "index": chance.randrange(chance.choice([1, 2, 6])),
                "op": f"SCMP_CMP_{chance.choice(_OPERATORS)}",
                "value": _value(chance),
                "value_two": _value(chance),
            }
            for _ in range(chance.choice([0, 0, 1, 1, 2, 3]))
        ]
        names = chance.choices(NAMES, k=chance.choice([1, 2, 8]))
        rules.append({"names": tuple(names), "action": action, "errno": errno, "args": tuple(args)})
    if chance.random() < 0.2:  # more than one jump can reach
        rules += [
            {
                "names": ("ioctl",),
                "action": "SCMP_ACT_ALLOW",
                "errno": None,
                "args": ({"index": 1, "op": "SCMP_CMP_EQ", "value": 3 * value, "value_two": 0},),
            }
            for value in range(300)
        ]
    return LoadSeccomp(
        because="/linux/seccomp",
        default_action=default,
        default_errno=number,
        architectures=tuple(chance.sample(sorted(ARCHITECTURES), chance.randrange(5))),
        syscalls=tuple(rules),
    )


def questions(
    chance: random.Random, step: LoadSeccomp, tables: dict[str, Calls]
) -> Iterator[tuple[str, int, tuple[int, ...]]]:
    """Yield calls that are worth asking about: architecture as the kernel says it, number, arguments."""
    interesting = [one["value"] for rule in step.syscalls for one in rule["args"]] or [0]
    for architecture, calls in tables.items():
        kernel = "SCMP_ARCH_X86_64" if architecture == "SCMP_ARCH_X32" else architecture
        names = [name for rule in step.syscalls for name in rule["names"]] + ["socketcall", "ipc"] * 4
        numbers = [calls.numbers[name] for name in names if name in calls.numbers]
        numbers = chance.sample(numbers, min(len(numbers), 12))
        newest = max(numbers, default=0)
        numbers += [newest + 1, newest + 1000, chance.randrange(600), calls.last, calls.last + 1, 0xFFFFFFFF]
        numbers += [chance.choice(numbers) ^ X32_BIT, chance.getrandbits(32)]
        for number in numbers:
            for _ in range(3):
                args = tuple(_argument(chance, interesting) for _ in range(6))
                yield kernel, number & 0xFFFFFFFF, args


def _argument(chance: random.Random, interesting: list[int]) -> int:
    value = chance.choice(interesting) if chance.random() < 0.6 else _value(chance)
    change = chance.choice([0, 0, 1, -1, 1 << 32, 1 << 16, 1 << 63])
    return (value + change) & ((1 << 64) - 1)
