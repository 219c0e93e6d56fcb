"""``orlop seccomp explain`` on the fake platform."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orlop_fake.syscall_numbers import X86_64

if TYPE_CHECKING:
    from tests.unit.cli.conftest import CommandLine

PROFILE: dict[str, Any] = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_ARM"],
    "flags": ["SECCOMP_FILTER_FLAG_LOG"],
    "syscalls": [
        {"names": ["read", "write", "openat2"], "action": "SCMP_ACT_ALLOW"},
        {
            "names": ["socket"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": 22,
            "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_EQ"}],
        },
        {"names": ["socket", "no_such_call"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["read"], "action": "SCMP_ACT_KILL"},
        {
            "names": ["clone"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
        },
    ],
}


@pytest.fixture
def profile(tmp_path: Path) -> str:
    file = tmp_path / "profile.json"
    file.write_text(json.dumps(PROFILE))
    return str(file)


def outcomes(run: CommandLine, profile: str, *call: str) -> list[tuple[str, int | None, str, list[str]]]:
    data = run.json("seccomp", "--format", "json", "--profile", profile, "explain", *call)
    return [(one["action"], one["errno"], one["rule"], one["conditions"]) for one in data["outcomes"]]


SKIPPED = "no architecture of the profile has such a call, as far as this host knows: it is skipped"
RULES = "/linux/seccomp/syscalls"
DEFAULT = "/linux/seccomp/defaultAction"


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (["read"], [("SCMP_ACT_ALLOW", None, f"{RULES}/0", [])]),
        (["socket", "40"], [("SCMP_ACT_ERRNO", 22, f"{RULES}/1", [])]),
        (["socket", "0x28", "1"], [("SCMP_ACT_ERRNO", 22, f"{RULES}/1", [])]),
        (["socket", "2"], [("SCMP_ACT_ALLOW", None, f"{RULES}/2", [])]),
        (
            ["socket"],
            [
                ("SCMP_ACT_ERRNO", 22, f"{RULES}/1", ["argument 0 == 40"]),
                ("SCMP_ACT_ALLOW", None, f"{RULES}/2", []),
            ],
        ),
        (["socket", "?"], None),
        (
            ["clone"],
            [
                ("SCMP_ACT_ALLOW", None, f"{RULES}/4", ["argument 0 & 0x7e020000 == 0x0"]),
                ("SCMP_ACT_ERRNO", 1, DEFAULT, []),
            ],
        ),
        (["clone", "0x10000000"], [("SCMP_ACT_ERRNO", 1, DEFAULT, [])]),
        (["getpid"], [("SCMP_ACT_ERRNO", 1, DEFAULT, [])]),
        (["cachestat"], [("SCMP_ACT_ERRNO", 38, DEFAULT, [])]),
        (["100000"], [("SCMP_ACT_ERRNO", 38, DEFAULT, [])]),
        (["0"], [("SCMP_ACT_ALLOW", None, f"{RULES}/0", [])]),
    ],
)
def test_which_rule_decides(
    orlop_command: CommandLine, profile: str, call: list[str], expected: list[Any] | None
) -> None:
    if expected is None:
        expected = outcomes(orlop_command, profile, "socket")
    assert outcomes(orlop_command, profile, *call) == expected


def test_negative_arguments_stand_behind_two_hyphens(orlop_command: CommandLine, profile: str) -> None:
    found = orlop_command.json("seccomp", "-f", "json", "--profile", profile, "--", "explain", "socket", "-1")
    assert found["arguments"] == [-1]
    assert found["outcomes"][0]["rule"] == f"{RULES}/2"
    assert found["number"] == X86_64["socket"]


def test_the_text_says_why(orlop_command: CommandLine, profile: str) -> None:
    status, out, err = orlop_command("seccomp", "explain", "--profile", profile, "socket")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "socket() on SCMP_ARCH_X86_64:",
        "  SCMP_ACT_ERRNO EINVAL if argument 0 == 40: its conditions would hold [/linux/seccomp/syscalls/1]",
        "  SCMP_ACT_ALLOW: the first rule for this call without conditions [/linux/seccomp/syscalls/2]",
    ]
    out = orlop_command("seccomp", "explain", "--profile", profile, "cachestat")[1]
    assert "SCMP_ACT_ERRNO ENOSYS: no rule names it, and its number 451 is above" in out


def test_the_whole_profile(orlop_command: CommandLine, profile: str) -> None:
    status, out, err = orlop_command("seccomp", "explain", "--profile", profile)
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "5 rules for 6 names; default: SCMP_ACT_ERRNO",
        "architecture SCMP_ARCH_X86_64, this machine's own: the newest call in the profile is openat2 (437)",
        "architecture SCMP_ARCH_ARM: unknown to this host",
        f"unresolvable /linux/seccomp/syscalls/2/names/1: no_such_call: {SKIPPED}",
        "unreachable /linux/seccomp/syscalls/3/names/0: no effect: rule 0 decides about read before",
    ]
    data = orlop_command.json("seccomp", "explain", "--profile", profile, "--format", "json")
    assert data["architectures"][0] == {
        "name": "SCMP_ARCH_X86_64",
        "native": True,
        "known": True,
        "newest": "openat2",
        "number": 437,
    }
    assert [one["pointer"] for one in data["unresolvable"]] == [f"{RULES}/2/names/1"]
    assert data["lacking"] == []


def test_the_profile_of_a_bundle(orlop_command: CommandLine) -> None:
    run = orlop_command
    status, out, err = run("seccomp", "--bundle", str(run.bundle), "explain")
    assert (status, out) == (1, "")
    assert "/linux/seccomp: the config has no seccomp profile" in err
    config = json.loads((run.bundle / "config.json").read_text())
    config["linux"]["seccomp"] = PROFILE
    (run.bundle / "config.json").write_text(json.dumps(config))
    assert run("seccomp", "--bundle", str(run.bundle), "explain", "read")[0] == 0


def test_an_architecture_that_the_profile_does_not_list_is_killed(
    orlop_command: CommandLine, tmp_path: Path
) -> None:
    file = tmp_path / "p.json"
    file.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW"}))
    status, _, err = orlop_command(
        "seccomp", "explain", "--profile", str(file), "--arch", "SCMP_ARCH_ARM", "read"
    )
    assert status == 1
    assert "knows no system calls of the architecture" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["list"], "there is no such action on profiles"),
        (["explain", "no_such_call"], "SCMP_ARCH_X86_64 has no system call of this name"),
        (["explain", "read", "many"], "expected a number such as 5 or 0x5, or ? for any"),
        (["explain", "read", "0x10000000000000000"], "an argument of a system call has 64 bits"),
        (["explain", "--arch", "vax", "read"], "there is no architecture of this name"),
    ],
)
def test_bad_input_is_one_line(
    orlop_command: CommandLine, profile: str, arguments: list[str], words: str
) -> None:
    status, out, err = orlop_command("seccomp", "--profile", profile, *arguments)
    assert (status, out) == (1, "")
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot read the profile: no such file or directory"),
        ("{}", "/defaultAction: required property is missing"),
        ('{"defaultAction": "SCMP_ACT_DREAM"}', "/defaultAction: expected one of"),
        ("[]", "expected an object"),
    ],
)
def test_what_is_no_profile(
    orlop_command: CommandLine, tmp_path: Path, content: str | None, words: str
) -> None:
    file = tmp_path / "p.json"
    if content is not None:
        file.write_text(content)
    status, out, err = orlop_command("seccomp", "explain", "--profile", str(file))
    assert (status, out) == (1, "")
    assert words in err
    assert err.count("\n") == 1
