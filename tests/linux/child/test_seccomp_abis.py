"""Calls by the other ABIs of an x86_64 machine, and filters that the kernel does not take."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.linux.child.agents import Agent
from tests.linux.child.support import PATIENCE, Box

import orlop
from orlop_linux.kernel import seccomp

if platform.machine() != "x86_64":
    pytest.skip("the programs below are for x86_64", allow_module_level=True)

# getppid(2) by one of the ABIs; exits with its errno, 100 for none.
PROGRAM = r"""
static long call(long n, long a) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(0) : "rcx", "r11", "memory");
    return result;
}
static long call32(long n) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(n), "b"(0) : "memory", "r8", "r9", "r10", "r11");
    return (int)result;
}
void _start(void) {
    long result = ABI == 32 ? call32(64) : call(ABI == 64 ? 110 : 0x40000000 | 110, 0);
    call(231, result < 0 ? -result : 100);
    __builtin_unreachable();
}
"""
NAMES = {"64": "X86_64", "32": "X86", "x32": "X32"}
KILLED = 128 + 31
REFUSED = 77


@pytest.fixture(scope="module", params=["64", "32", "x32"])
def abi(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    place = tmp_path_factory.mktemp("abi")
    (place / "abi.c").write_text(PROGRAM)
    number = {"x32": "0"}.get(request.param, request.param)
    command = f"cc -O1 -static -nostdlib -ffreestanding -fno-stack-protector -DABI={number} -o abi abi.c"
    subprocess.run(command.split(), cwd=place, check=True)
    return request.param, place / "abi"


def run(box: Box, program: Path, **section: Any) -> int:
    shutil.copy(program, box.rootfs / "bin/abi")
    section = {"defaultAction": "SCMP_ACT_ALLOW", **section}
    config = box.config("/bin/abi", process={"noNewPrivileges": True}, linux={"seccomp": section})
    return box.run(config).status


@pytest.mark.parametrize("listed", [[], ["X86"], ["X32"], ["X86", "X32"]])
def test_calls_by_an_abi_that_the_profile_does_not_list_are_killed(
    box: Box, abi: tuple[str, Path], listed: list[str]
) -> None:
    name, program = abi
    rule = {"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": REFUSED}
    architectures = [f"SCMP_ARCH_{one}" for one in listed]
    known = NAMES[name] in {"X86_64", *listed}
    expected = REFUSED if known else KILLED
    assert run(box, program, architectures=architectures, syscalls=[rule]) == expected


REFUSED_PROGRAM = b"\xff" * 8
"""No instruction of classic BPF."""


@pytest.mark.parametrize("late", [True, False])
@pytest.mark.parametrize("listens", [True, False])
def test_a_filter_that_the_kernel_refuses_is_fatal(
    box: Box, monkeypatch: pytest.MonkeyPatch, late: bool, listens: bool
) -> None:
    """Nothing runs without its filter."""
    compiled = seccomp.compile_filter

    def refused(*arguments: Any) -> seccomp.Compiled:
        return seccomp.Compiled(REFUSED_PROGRAM, compiled(*arguments).flags, ())

    monkeypatch.setattr(seccomp, "compile_filter", refused)
    path = box.place / "agent.sock"
    action = "SCMP_ACT_NOTIFY" if listens else "SCMP_ACT_LOG"
    section = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir"], "action": action}],
        "listenerPath": str(path),
    }
    config = box.script("echo ran", process={"noNewPrivileges": late}, linux={"seccomp": section})
    with Agent(path) as agent:
        made = box.create(config)
        with pytest.raises(orlop.StepError, match="invalid argument") as caught:
            made.start()
        made.wait(PATIENCE)
    assert caught.value.pointer == "/linux/seccomp"
    assert (made.status, box.output(), agent.states) == ("stopped", "", [])
