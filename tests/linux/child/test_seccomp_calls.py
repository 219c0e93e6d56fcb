"""A program in a real container makes a sample of calls: what the kernel does is what the profile says."""

from __future__ import annotations

import errno
import platform
import random
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.linux.child.support import PATIENCE, Box

from orlop.engine.filters import explain_call, names_of
from orlop_fake.seccomp import Filter
from orlop_fake.syscall_numbers import X86_64
from orlop_linux.kernel.seccomp_calls import call_table
from orlop_linux.plugins import seccomp as plugin

if platform.machine() != "x86_64":
    pytest.skip("the program below is for x86_64", allow_module_level=True)

# Reads records of a number and six arguments from descriptor 0, and writes each result. It needs no library:
# nothing but these calls is made.
PROGRAM = r"""
static long call(long n, long a, long b, long c, long d, long e, long f) {
    long result;
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
static long input[7 * 4096], output[4096];
void _start(void) {
    long size = 0, got;
    while ((got = call(0, 0, (long)input + size, sizeof(input) - size, 0, 0, 0)) > 0) size += got;
    long count = size / sizeof(long) / 7;
    for (long i = 0; i < count; i++) {
        long *r = input + 7 * i;
        output[i] = call(r[0], r[1], r[2], r[3], r[4], r[5], r[6]);
    }
    call(1, 1, (long)output, count * sizeof(long), 0, 0, 0);
    call(231, 0, 0, 0, 0, 0, 0);
    __builtin_unreachable();
}
"""
BAD = (1 << 64) - 77  # no descriptor, no address, no process
HARMLESS = (
    "close", "fchdir", "fchmod", "fchown", "fsync", "ftruncate", "getdents64", "fstat", "lseek", "pread64",
    "pwrite64", "readv", "fadvise64", "flock", "dup", "epoll_ctl", "inotify_rm_watch", "getsockname",
    "listen", "getpeername", "shutdown", "recvfrom", "sendmsg", "chdir", "mkdir", "rmdir", "unlink", "chmod",
    "readlink", "statfs", "openat", "mkdirat", "faccessat2", "openat2", "statx", "execveat", "setns",
    "process_madvise", "mount_setattr", "mknod", "truncate", "getxattr", "sendto", "bind", "connect",
)  # fmt: skip
"""Calls that fail with these arguments, and change nothing: by EBADF, EFAULT and the like."""
NEVER = {errno.EXDEV, errno.EMLINK, errno.ECOMM, errno.EL2HLT}
"""Errnos with which none of them fails by itself."""
NEEDED = ("read", "write", "exit_group", "execve")
_OPERATORS = ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    place = tmp_path_factory.mktemp("calls")
    (place / "calls.c").write_text(PROGRAM)
    command = "cc -O1 -static -nostdlib -ffreestanding -fno-stack-protector -o calls calls.c"
    subprocess.run(command.split(), cwd=place, check=True)
    return place / "calls"


def argument(chance: random.Random) -> int:
    return chance.choice((BAD, BAD, BAD, BAD - 1, BAD ^ 1 << 32, BAD ^ 1 << 40))


def rules(chance: random.Random) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for _ in range(25):
        args = [
            {
                "index": chance.randrange(3),
                "op": f"SCMP_CMP_{chance.choice(_OPERATORS)}",
                "value": argument(chance),
                "valueTwo": argument(chance),
            }
            for _ in range(chance.choice((0, 1, 1, 2)))
        ]
        rule: dict[str, Any] = {"names": chance.sample(HARMLESS, 4), "args": args}
        if chance.random() < 0.5:
            rule |= {"action": "SCMP_ACT_ERRNO", "errnoRet": chance.choice(sorted(NEVER))}
        else:
            rule |= {"action": chance.choice(("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"))}
        made.append(rule)
    return made


def expected(filter_: Filter, name: str, args: tuple[int, ...]) -> int | None:
    """Return the errno with which the filter ends a call; ``None``: the kernel executes it."""
    return ended_with(*filter_.verdict(name, args))


def ended_with(action: str, number: int | None) -> int | None:
    if action == "SCMP_ACT_TRACE":  # without a tracer
        return errno.ENOSYS
    return number if action == "SCMP_ACT_ERRNO" else None


@pytest.mark.parametrize("default", ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"])
@pytest.mark.parametrize("seed", range(3))
def test_what_the_kernel_does_is_what_the_profile_says(
    box: Box, program: Path, default: str, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret
    shutil.copy(program, box.rootfs / "bin/calls")
    section: dict[str, Any] = {
        "defaultAction": default,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [{"names": list(NEEDED), "action": "SCMP_ACT_ALLOW"}, *rules(chance)],
    }
    if default == "SCMP_ACT_ERRNO":
        section["defaultErrnoRet"] = errno.EL2HLT
    config = box.config("/bin/calls", process={"noNewPrivileges": True}, linux={"seccomp": section})
    names = [*chance.choices(HARMLESS, k=600), *("cachestat", "fchmodat2", "futex_waitv") * 3]
    calls = [(name, tuple(argument(chance) for _ in range(6))) for name in names]
    asked = box.place / "asked"
    asked.write_bytes(b"".join(struct.pack("=7Q", X86_64[name], *args) for name, args in calls))
    with asked.open("rb") as questions, (box.place / "answers").open("wb") as answers:
        made = box.start(config, stdio=(questions.fileno(), answers.fileno(), answers.fileno()))
        assert made.wait(PATIENCE) == 0
    results = struct.unpack(f"={len(calls)}q", (box.place / "answers").read_bytes())
    decoded = made_config(box, config)
    (step,) = plugin.orlop_plan(decoded)
    reading = Filter(step)  # type: ignore[arg-type]
    profile = decoded.linux.seccomp
    table = call_table("", (*names_of(profile), *names))
    assert table is not None
    ended = 0
    for (name, args), result in zip(calls, results, strict=True):
        wanted = expected(reading, name, args)
        (explained,) = explain_call(profile, table, name, args)
        assert ended_with(explained.action, explained.errno) == wanted, (name, args, explained)
        if wanted is None:
            assert -result not in NEVER, (name, args)
        else:
            assert -result == wanted, (name, args)
            ended += 1
    assert 100 < ended < len(calls)


def made_config(box: Box, config: dict[str, Any]) -> Any:
    from orlop.documents.codec import decode_config

    return decode_config(box.placed(config, "box"))
