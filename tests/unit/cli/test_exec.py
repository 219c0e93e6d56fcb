"""``orlop exec`` on the fake platform: its flags, its statuses, and what a process document may say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.conftest import CommandLine

from orlop.cli.joining import sub_cgroups, user
from orlop_fake import Socket, Task
from orlop_hookspecs.errors import UsageError


@pytest.fixture
def one(orlop_command: CommandLine) -> CommandLine:
    """Return a command line with a container *one* that runs."""
    status, _, err = orlop_command("run", "--detach", "-b", str(orlop_command.bundle), "one")
    assert (status, err) == (0, "")
    return orlop_command


def output(one: CommandLine) -> str:
    return one.kernel.output("one")


def test_the_status_is_the_programs(one: CommandLine) -> None:
    assert one("exec", "one", "/bin/true") == (0, "", "")
    assert one("exec", "one", "/bin/false") == (1, "", "")
    assert one("exec", "one", "sh", "-c", "exit 37") == (37, "", "")


def test_flags_end_where_the_container_begins(one: CommandLine) -> None:
    assert one("exec", "one", "echo", "--tty", "-e", "--", "x")[0] == 0
    assert output(one) == "--tty -e -- x\n"


def test_flags_change_the_containers_own_process(one: CommandLine) -> None:
    def show(p: Task) -> int:
        p.write(f"{p.cwd} {p.uid} {p.gid} {p.groups} {p.env.get('A')} {p.env.get('B')}\n")
        p.write(f"{sorted(p.process.credentials.bounding)}\n")
        return 0

    one.kernel.programs["/bin/env"] = show
    flags = (
        "--cwd",
        "/tmp",
        "-u",
        "5:6",
        "-g",
        "7",
        "-g",
        "8",
        "-e",
        "A=1,2",
        "--env=B=3",
        "-c",
        "CAP_CHOWN",
    )
    assert one("exec", *flags, "one", "env")[0] == 0
    first, second = output(one).splitlines()
    assert first == "/tmp 5 6 (7, 8) 1,2 3"
    assert "CAP_CHOWN" in second


def test_no_new_privileges_is_on_off_or_the_containers(one: CommandLine) -> None:
    def show(p: Task) -> int:
        p.write(str(int(p.process.no_new_privs)))
        return 0

    one.kernel.programs["/bin/env"] = show
    for flags in ((), ("--no-new-privs",), ("--no-new-privs=false",)):
        assert one("exec", *flags, "one", "env")[0] == 0
    # The config of `spec` has it on.
    assert output(one) == "110"


def test_a_document_replaces_the_process(one: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "process.json"
    path.write_text(json.dumps({"cwd": "/", "args": ["/bin/echo", "from", "a", "file"]}))
    assert one("exec", "--process", str(path), "--cwd", "/nowhere", "one", "ignored")[0] == 0
    assert output(one) == "from a file\n"


def test_a_detached_program_goes_on(one: CommandLine, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    assert one("exec", "-d", "--pid-file", str(pid_file), "one", "sleep", "100") == (0, "", "")
    pid = int(pid_file.read_text())
    assert one.json("ps", "--format", "json", "one")[-1] == pid
    assert one("kill", "--all", "one", "KILL")[0] == 0
    assert one.json("ps", "--format", "json", "one") is None


def test_a_terminal_goes_to_the_console_socket(one: CommandLine, tmp_path: Path) -> None:
    place = tmp_path / "console.sock"
    socket: Socket = one.kernel.listen(str(place))
    before = one.kernel.terminals.get("one")
    assert one("exec", "-d", "-t", "--console-socket", str(place), "one", "echo", "hi")[0] == 0
    assert [bytes(terminal.output) for terminal in socket.received] == [b"hi\n"]
    assert one.kernel.terminals["one"] is not before


REFUSED: dict[str, tuple[tuple[str, ...], int, str]] = {
    "nothing": ((), 1, "requires a minimum of 1 argument(s)"),
    "no program": (("one",), 255, "process args cannot be empty"),
    "unknown flag": (("--bogus", "one", "true"), 1, "flag provided but not defined: -bogus"),
    "no value": (("one-less", "--cwd"), 255, "container does not exist"),
    "no container": (("two", "true"), 255, "container does not exist"),
    "program missing": (("one", "nope"), 255, 'exec: "nope": executable file not found in $PATH'),
    "user by name": (("-u", "root", "one", "true"), 255, "--user: expected UID or UID:GID"),
    "relative directory": (("--cwd", "tmp", "one", "true"), 255, "/process/cwd"),
    "socket without a terminal": (("--console-socket", "/x", "one", "true"), 255, "no terminal"),
    "terminal without a socket": (("-d", "-t", "one", "true"), 255, "nobody would hold the terminal"),
    "cgroup elsewhere": (("--cgroup", "../one", "one", "true"), 255, "is not a sub cgroup path"),
    "cgroup missing": (("--cgroup", "below", "one", "true"), 255, "there is no such sub-cgroup"),
    "pid file nowhere": (
        ("--pid-file", "/proc/nowhere/pid", "one", "true"),
        255,
        "cannot write the pid file",
    ),
    "document missing": (("-p", "/proc/nowhere/file", "one"), 255, "cannot read the process"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(one: CommandLine, case: str) -> None:
    flags, expected, words = REFUSED[case]
    before = one.kernel.snapshot()
    status, _, err = one("exec", *flags)
    assert (status, err.count("\n")) == (expected, 1), err
    assert words in err.replace("\\", "")
    assert one.kernel.snapshot() == before


@pytest.mark.parametrize(
    ("process", "pointer"),
    [
        ({"cwd": "/"}, "/args"),
        ({"args": ["true"]}, "/cwd"),
        ({"args": "true", "cwd": "/"}, "/args"),
        ({"args": ["true"], "cwd": "/", "user": {"uid": -1, "gid": 0}}, "/user/uid"),
        (
            {"args": ["true"], "cwd": "/", "rlimits": [{"type": "RLIMIT_X", "soft": 0, "hard": 0}]},
            "/rlimits/0",
        ),
        ({"args": ["true"], "cwd": "/", "scheduler": {"policy": "SCHED_X"}}, "/scheduler/policy"),
    ],
)
def test_pointers_are_those_of_the_document(
    one: CommandLine, tmp_path: Path, process: dict[str, Any], pointer: str
) -> None:
    path = tmp_path / "process.json"
    path.write_text(json.dumps(process))
    status, _, err = one("exec", "-p", str(path), "one")
    assert status == 255
    assert f"{path}: {pointer}" in err


def test_states(one: CommandLine) -> None:
    assert one("pause", "one")[0] == 0
    status, _, err = one("exec", "one", "true")
    assert (status, "cannot exec in a paused container" in err) == (255, True)
    # On the fake platform nothing waits for the thaw: the program is there, and has not run.
    assert one("exec", "-d", "--ignore-paused", "one", "echo", "late")[0] == 0
    assert output(one) == ""
    assert one("resume", "one")[0] == 0
    assert output(one) == "late\n"
    assert one("kill", "one", "KILL")[0] == 0
    status, _, err = one("exec", "one", "true")
    assert (status, "cannot exec in a stopped container" in err) == (255, True)


def test_a_sub_cgroup_is_joined(one: CommandLine) -> None:
    for hierarchy in one.kernel.hierarchies.values():
        for group in list(hierarchy.root.subtree()):
            if group.owner == "one":
                group.make("below")
    assert one("exec", "-d", "--cgroup", "below", "one", "sleep", "100")[0] == 0
    pid = one.json("ps", "--format", "json", "one")[-1]
    process = next(each for each in one.kernel.all_processes() if each.pid == pid)
    assert {group.name for group in process.cgroups.values()} == {"below"}


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", (None, None)),
        ("0", (0, None)),
        ("1000", (1000, None)),
        ("5:6", (5, 6)),
        ("0:4294967294", (0, 4294967294)),
    ],
)
def test_users(text: str, ids: tuple[int | None, int | None]) -> None:
    assert user(text) == ids


@pytest.mark.parametrize(
    "text",
    [
        "root", "1000 ", " 1", "+1", "-1", "01", "1_0", "0x1", "\u0661", "1.0", "1e3", ":5", "5:", "1:2:3",
        "4294967295", "4294967296", str(1 << 63), "9" * 5000, ":", "1\n",
    ],
)  # fmt: skip
def test_users_that_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        user(text)


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ([], {}),
        (["a/b"], {"": "a/b"}),
        (["/"], {"": "/"}),
        (["cpu:a"], {"cpu": "a"}),
        (["cpu,memory:a", "pids:/b"], {"cpu": "a", "memory": "a", "pids": "/b"}),
    ],
)
def test_sub_cgroups(texts: list[str], found: dict[str, str]) -> None:
    assert sub_cgroups(texts) == found


@pytest.mark.parametrize(
    "texts",
    [[""], [".."], ["a/../b"], ["a/."], ["../a"], ["a\nb"], ["a\0"], [":a"], ["cpu,:a"], ["cpu:"], ["a", "b"],
     ["a", "cpu:b"], ["cpu:a", "cpu:b"], ["cpu,cpu:a"]],
)  # fmt: skip
def test_sub_cgroups_that_are_none(texts: list[str]) -> None:
    with pytest.raises(UsageError):
        sub_cgroups(texts)
