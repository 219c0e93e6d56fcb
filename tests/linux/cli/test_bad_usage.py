"""Command lines that cannot be meant have the exit status that runc gives them, and change nothing."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orlop.cli.flags import CHOICE, SWITCH, Command
from orlop.cli.table import COMMANDS

if TYPE_CHECKING:
    from tests.linux.cli.conftest import Bundle, Runtime

ABOUT_ONE = [one for one in COMMANDS if "<container-id>" in one.usage]
# What CRIU lacks is told before anything else by one runtime or the other.
OF_IMAGES = ("checkpoint", "restore")
MAKE_ONE = ("create", "run")


def tree(root: Path) -> list[tuple[str, int, int, str]]:
    """Return what is below a directory, with the content of its files."""
    found = []
    for directory, below, names in os.walk(root):
        for name in (*below, *names):
            path = Path(directory, name)
            status = path.lstat()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(status.st_mode) else ""
            found.append((str(path), status.st_mode, status.st_ino, content))
    return sorted(found)


def lines(command: Command) -> Iterator[list[str]]:
    """Yield lines of *command* that every runtime refuses before it does anything."""
    yield [command.name, "--bogus", "one"]
    yield [command.name]
    if command.most is not None:
        yield [command.name, *["one"] * (command.most + 1)]
    for flag in command.flags[:3]:
        if flag.kind in {SWITCH, CHOICE}:
            yield [command.name, f"--{flag.names[0]}=maybe", "one"]
        else:
            yield [command.name, f"--{flag.names[0]}"]
    if command.name not in (*MAKE_ONE, *OF_IMAGES):
        yield [command.name, "missing", *(["true"] if command.name == "exec" else [])]


@pytest.fixture
def both(run: Runtime, runc: Runtime, bundle: Bundle, tmp_path: Path) -> tuple[Runtime, Runtime]:
    """Return orlop and runc, each with a container *one* that runs."""
    for runtime in (run, runc):
        assert (
            runtime("run", "--detach", "--bundle", str(bundle), "one", output=tmp_path / "out").returncode
            == 0
        )
    return run, runc


def refuse(both: tuple[Runtime, Runtime], arguments: list[str]) -> str:
    """Return what orlop says to a line that both refuse, with the same status."""
    run, runc = both
    before, state = tree(run.root), run.state("one")
    ours, theirs = run(*arguments), runc(*arguments)
    assert ours.returncode == theirs.returncode != 0, (arguments, ours.stderr, theirs.stderr)
    assert ours.stderr.count("\n") == 1, (arguments, ours.stderr)
    assert "Traceback" not in ours.stderr
    assert tree(run.root) == before, arguments
    assert run.state("one") == state
    return ours.stderr.replace("\\", "")


def test_lines_of_every_command(both: tuple[Runtime, Runtime]) -> None:
    for command in ABOUT_ONE:
        for arguments in lines(command):
            refuse(both, arguments)


EXEC = {
    "user by name": (["--user", "root"], "--user: expected UID or UID:GID"),
    "three numbers": (["--user", "1:2:3"], "--user: expected UID or UID:GID"),
    "no group": (["--user", "1:"], "--user: expected UID or UID:GID"),
    "variable without a value": (["--env", "A"], "--env: expected NAME=VALUE"),
    "variable without a name": (["--env", "=x"], "--env: expected NAME=VALUE"),
    "empty variable": (["--env", ""], "--env: expected NAME=VALUE"),
    "cgroup above": (["--cgroup", "../.."], "is not a sub cgroup path"),
    "cgroup missing": (["--cgroup", "nosuch"], "there is no such sub-cgroup"),
    "relative directory": (["--cwd", "tmp"], "/process/cwd"),
    "group by name": (["--additional-gids", "x"], "invalid value 'x' for flag -additional-gids"),
    "empty group": (["--additional-gids", ""], "invalid value '' for flag -additional-gids"),
    "pid file nowhere": (["--pid-file", "/nonexistent/pid"], "/nonexistent/pid: cannot write the pid file"),
    "process missing": (["--process", "/nonexistent/p"], "/nonexistent/p: cannot read the process"),
    "descriptors garbage": (["--preserve-fds", "x"], "invalid value 'x' for flag -preserve-fds"),
    "descriptors closed": (["--preserve-fds", "999"], "--preserve-fds=999 asks for descriptor"),
    "switch garbage": (["--tty=maybe"], "invalid boolean value 'maybe' for -tty"),
    "socket missing": (["--tty", "--detach", "--console-socket", "/nonexistent/s"], "/nonexistent/s"),
}


def test_exec(both: tuple[Runtime, Runtime]) -> None:
    for what, (flags, words) in EXEC.items():
        said = refuse(both, ["exec", *flags, "one", "true"])
        assert words in said, (what, said)
    assert "process args cannot be empty" in refuse(both, ["exec", "one"])


UPDATE = {
    "memory": ("garbage", "--memory: expected a number of bytes"),
    "memory-swap": ("1.5.5", "--memory-swap: expected a number of bytes"),
    "kernel-memory": ("garbage", "--kernel-memory: expected a number of bytes"),
    "cpu-period": ("garbage", "--cpu-period: expected a number"),
    "cpu-share": ("1e3", "--cpu-share: expected a number"),
    "pids-limit": ("x", "--pids-limit: expected a number"),
    "resources": ("/nonexistent/r", "/nonexistent/r: cannot read the resources"),
}


def test_update_and_events(both: tuple[Runtime, Runtime]) -> None:
    for flag, (value, words) in UPDATE.items():
        assert words in refuse(both, ["update", f"--{flag}", value, "one"])
    assert "--interval: expected a duration" in refuse(both, ["events", "--interval", "x", "--stats", "one"])
    assert "unknown signal" in refuse(both, ["kill", "one", "NOPE"])


def test_a_failed_launch(both: tuple[Runtime, Runtime], bundle: Bundle) -> None:
    for words in (["--bundle", "/nonexistent"], ["--preserve-fds", "x"], ["--pid-file", "/nonexistent/p"]):
        refuse(both, ["create", "--bundle", str(bundle), *words, "two"])
    assert "already exists" in refuse(both, ["create", "--bundle", str(bundle), "one"])
    assert both[0].names() == ["one"]


@pytest.mark.every_lane
def test_a_limit_below_what_the_start_needs(run: Runtime, bundle: Bundle) -> None:
    """Whatever moment the kernel chooses, the words are the same, and name the property."""
    made = bundle.configure()
    for limit in (1, 4096, 100_000):
        made["linux"]["resources"] = {"memory": {"limit": limit}}
        bundle.write(json.dumps(made))
        said = set()
        for _ in range(3):
            done = run("create", "--bundle", str(bundle), f"small-{os.getpid()}")
            assert (done.returncode, done.stdout, run.names()) == (1, "", [])
            said.add(done.stderr.partition("msg=")[2])
        assert len(said) == 1, said
        words = (
            "/linux/resources/memory/limit: the limit is too small for the container's start: the kernel has "
            f"killed the container process (value: '{limit}') [plugin cgroups]; "
        )
        assert words in said.pop()
