"""Filters that are loaded: what they refuse, and that nothing of ours needs what they forbid."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.linux.child.support import PATIENCE, Box, status_of

import orlop

TINY = r"""
static long call(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}
void _start(void) { call(1, 1, (long)"ran\n", 4); call(231, 42, 0, 0); __builtin_unreachable(); }
"""


def with_filter(config: dict[str, Any], action: str, *rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    config["linux"]["seccomp"] = {"defaultAction": action, "syscalls": list(rules), **more}
    return config


def denied(*names: str, action: str = "SCMP_ACT_ERRNO", **more: Any) -> dict[str, Any]:
    return {"names": list(names), "action": action, **more}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a program that needs three system calls: execve, write, exit_group."""
    if (
        shutil.which("cc") is None
        or subprocess.run(["uname", "-m"], capture_output=True, text=True, check=True).stdout.strip()
        != "x86_64"
    ):
        pytest.skip("needs a C compiler, and x86_64")
    place = tmp_path_factory.mktemp("tiny")
    (place / "tiny.c").write_text(TINY)
    subprocess.run(
        [
            "cc",
            "-static",
            "-nostdlib",
            "-ffreestanding",
            "-fno-stack-protector",
            "-o",
            place / "tiny",
            place / "tiny.c",
        ],
        check=True,
    )
    return place / "tiny"


@pytest.mark.every_lane
@pytest.mark.parametrize("early", [True, False])
def test_denied_with_an_errno(box: Box, early: bool) -> None:
    config = box.script(
        "mkdir() { busybox mkdir /tmp/made 2>&1; }; mkdir; busybox id -u",
        process={"noNewPrivileges": not early},
    )
    ended = box.run(with_filter(config, "SCMP_ACT_ALLOW", denied("mkdir", "mkdirat", errnoRet=77)))
    assert "File descriptor in bad state" in ended.output  # what errno 77, EBADFD, says
    assert ended.output.endswith("0\n")
    assert not (box.rootfs / "tmp/made").exists()


@pytest.mark.parametrize("early", [True, False])
def test_mode_of_the_program(box: Box, early: bool) -> None:
    config = with_filter(
        box.config(process={"noNewPrivileges": not early}), "SCMP_ACT_ALLOW", denied("mkdir")
    )
    found = status_of(box.start(config).pid)
    assert found["Seccomp"] == "2"
    assert found["Seccomp_filters"] == "1"
    assert found["NoNewPrivs"] == str(int(not early))


def test_early_filter_leaves_what_setting_up_needs(box: Box) -> None:
    """Without noNewPrivileges a filter needs CAP_SYS_ADMIN, so it is loaded before the user changes."""
    config = box.config(process={"user": {"uid": 5, "gid": 6}, "capabilities": {"bounding": ["CAP_KILL"]}})
    found = status_of(box.start(with_filter(config, "SCMP_ACT_ALLOW", denied("mkdir"))).pid)
    assert found["Uid"].split()[0] == "5"
    assert int(found["CapBnd"], 16) == 1 << 5


@pytest.mark.parametrize("name", ["close_range", "getcwd", "rt_sigprocmask"])
def test_what_can_be_done_before_an_early_filter_is_not_denied_by_it(box: Box, tiny: Path, name: str) -> None:
    """Filters of engines leave out close_range(2), and a config may deny anything that a program calls."""
    shutil.copy(tiny, box.rootfs / "bin/tiny")
    config = with_filter(box.config("/bin/tiny"), "SCMP_ACT_ALLOW", denied(name))
    assert box.run(config) == (42, "ran\n")


@pytest.mark.parametrize("action", ["SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"])
def test_killed(box: Box, action: str) -> None:
    config = box.script("busybox mkdir /tmp/made; exit $?")
    ended = box.run(with_filter(config, "SCMP_ACT_ALLOW", denied("mkdir", "mkdirat", action=action)))
    assert ended.status == 128 + 31  # SIGSYS, of the shell's child
    assert not (box.rootfs / "tmp/made").exists()


def test_flags(box: Box) -> None:
    flags = ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]
    config = with_filter(box.config(), "SCMP_ACT_ALLOW", denied("mkdir", action="SCMP_ACT_LOG"), flags=flags)
    assert status_of(box.start(config).pid)["Seccomp"] == "2"


def test_arguments(box: Box) -> None:
    rule = denied("kill", errnoRet=3, args=[{"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}])
    config = box.script("sleep 1000 & kill -USR1 $! 2>&1; kill -USR2 $! && echo sent")
    ended = box.run(with_filter(config, "SCMP_ACT_ALLOW", rule))
    assert "No such process" in ended.output
    assert "sent" in ended.output


@pytest.mark.parametrize("default", ["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_ERRNO"])
def test_nothing_of_ours_is_needed_after_a_late_filter(box: Box, tiny: Path, default: str) -> None:
    shutil.copy(tiny, box.rootfs / "bin/tiny")
    env = [f"V{number}={'x' * 100}" for number in range(2000)]
    config = box.config("/bin/tiny", process={"noNewPrivileges": True, "env": env})
    allowed = denied("execve", "write", "exit_group", action="SCMP_ACT_ALLOW")
    assert box.run(with_filter(config, default, allowed)) == (42, "ran\n")


def test_even_a_forbidden_execve_is_told(box: Box) -> None:
    config = box.config("/bin/true", process={"noNewPrivileges": True})
    made = box.create(with_filter(config, "SCMP_ACT_ALLOW", denied("execve", errnoRet=77)))
    with pytest.raises(orlop.StepError, match="file descriptor in bad state"):
        made.start()
    made.wait(PATIENCE)
    assert made.status == "stopped"


def test_large_filter(box: Box) -> None:
    rules = [
        denied("ioctl", errnoRet=5, args=[{"index": 1, "value": 1_000_000 + number, "op": "SCMP_CMP_EQ"}])
        for number in range(1000)
    ]
    assert box.run(with_filter(box.config("/bin/true"), "SCMP_ACT_ALLOW", *rules)).status == 0
