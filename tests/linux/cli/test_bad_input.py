"""What cannot be meant: one clear line, runc's exit status, and nothing changed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.linux.cli.conftest import Bundle, Runtime

Break = Callable[["Bundle"], Any]


def _set(path: str, value: Any) -> Break:
    def change(bundle: Bundle) -> None:
        made: Any = bundle.configure()
        place = made
        *parents, last = path.split(".")
        for name in parents:
            place = place[name]
        place[last] = value
        bundle.write(json.dumps(made))

    return change


def _fifo(bundle: Bundle) -> None:
    os.unlink(bundle.path / "config.json")
    os.mkfifo(bundle.path / "config.json")


def _left_behind(bundle: Bundle, name: str) -> list[str]:
    """Return what a failed create has left behind: mounts of the bundle, cgroups of the container."""
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(bundle) in line]
    # Others make and remove cgroups meanwhile: what is gone when it is looked into is no error for os.walk.
    return mounts + [f"{at}/{name}" for at, below, _ in os.walk("/sys/fs/cgroup") if name in below]


REFUSED: dict[str, tuple[Break, str]] = {
    "missing config": (lambda b: os.unlink(b.path / "config.json"), "config.json not found"),
    "empty config": (lambda b: b.write(""), "config.json"),
    "malformed config": (lambda b: b.write('{"ociVersion": "1.0.2",'), "config.json"),
    "not an object": (lambda b: b.write("[]"), "config.json"),
    "wrongly typed": (_set("process.args", "sh"), "/process/args"),
    "wrongly typed number": (_set("process.user.uid", "0"), "/process/user/uid"),
    "missing rootfs": (_set("root.path", "nowhere"), "no such file or directory"),
    "missing program": (_set("process.args", ["/bin/missing"]), "no such file or directory"),
    "missing program in PATH": (_set("process.args", ["missing"]), "executable file not found in $PATH"),
    "program is a directory": (_set("process.args", ["/bin"]), "is a directory"),
    "unknown capability namespace": (_set("linux.namespaces", [{"type": "bogus"}]), "/linux/namespaces/0"),
}

REFUSED_BY_US: dict[str, tuple[Break, str]] = {
    "trailing garbage": (lambda b: b.write(json.dumps(b.configure()) + "}"), "config.json"),
    "duplicate key": (lambda b: b.write('{"ociVersion": "1.0.2", "ociVersion": "1.0.2"}'), "duplicate"),
    "huge": (
        lambda b: b.write('{"ociVersion": "1.0.2"' + " " * (17 << 20) + "}"),
        "more than 16777216 bytes",
    ),
    "deep": (lambda b: b.write('{"a":' * 100_000), "deep"),
    "unknown version": (_set("ociVersion", "2.0.0"), "/ociVersion"),
    "malformed version": (_set("ociVersion", "one"), "/ociVersion"),
    "not UTF-8": (lambda b: (b.path / "config.json").write_bytes(b'{"ociVersion": "\xff"}'), "config.json"),
    "a FIFO": (_fifo, "config.json"),
    "unknown signal action": (_set("linux.seccomp", {"defaultAction": "SCMP_ACT_BOGUS"}), "/linux/seccomp"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_create_refuses_as_runc(
    run: Runtime, runc: Runtime, bundle: Bundle, case: str, tmp_path: Path
) -> None:
    change, words = REFUSED[case]
    change(bundle)
    name = f"refused-{os.getpid()}"
    done = run("create", "--bundle", str(bundle), name)
    theirs = runc("create", "--bundle", str(bundle), "one", output=tmp_path / "output")
    assert done.returncode == theirs.returncode == 1
    assert words in done.stderr
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    assert run.names() == []
    assert _left_behind(bundle, name) == []


@pytest.mark.parametrize("case", REFUSED_BY_US)
def test_create_refuses(run: Runtime, bundle: Bundle, case: str) -> None:
    change, words = REFUSED_BY_US[case]
    change(bundle)
    done = run("create", "--bundle", str(bundle), "one")
    assert done.returncode == 1
    assert words in done.stderr
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    assert run.names() == []


ARGUMENTS: list[tuple[list[str], str]] = [
    (["state", "missing"], "does not exist"),
    (["start", "missing"], "does not exist"),
    (["kill", "missing"], "does not exist"),
    (["kill", "missing", "9"], "does not exist"),
    (["delete", "missing"], "does not exist"),
    (["delete", "--force", "missing"], ""),
    (["pause", "missing"], "does not exist"),
    (["resume", "missing"], "does not exist"),
    (["ps", "missing"], "does not exist"),
    (["events", "--stats", "missing"], "does not exist"),
    (["create", "--bundle", "BUNDLE", "a/b"], "invalid"),
    (["create", "--bundle", "BUNDLE", ".."], "invalid"),
    (["create", "--bundle", "BUNDLE", ""], ""),
    (["create", "--bundle", "/nonexistent", "one"], ""),
    (["state"], "requires exactly 1 argument(s)"),
    (["state", "a", "b"], "requires exactly 1 argument(s)"),
    (["kill"], "requires a minimum of 1 argument(s)"),
    (["kill", "a", "b", "c"], "requires a maximum of 2 argument(s)"),
    (["ps"], "requires a minimum of 1 argument(s)"),
    (["state", "--bogus", "a"], "flag provided but not defined: -bogus"),
    (["create", "--bundle"], "flag needs an argument: -bundle"),
    (["run", "--detach=maybe", "one"], "invalid boolean value"),
    (["bogus"], "No help topic for 'bogus'"),
    (["list", "--format", "json"], "null"),
    (["kill", "--help"], ""),
    (["--help"], ""),
    ([], ""),
    (["help"], ""),
    (["--log-format", "xml", "list"], "invalid log-format"),
    (["--log", "/nonexistent/log", "list"], "no such file or directory"),
    (["create", "-dt", "one"], "flag provided but not defined: -dt"),
]


@pytest.mark.parametrize(("arguments", "words"), ARGUMENTS, ids=lambda value: " ".join(value)[:40])
def test_same_status_as_runc(
    run: Runtime, runc: Runtime, bundle: Bundle, arguments: list[str], words: str
) -> None:
    run.root.mkdir(mode=0o700)
    arguments = [str(bundle) if word == "BUNDLE" else word for word in arguments]
    ours, theirs = run(*arguments), runc(*arguments)
    assert ours.returncode == theirs.returncode, theirs.stderr
    assert words in ours.stdout + ours.stderr.replace('\\"', '"')
    assert words in theirs.stdout + theirs.stderr.replace('\\"', '"')
    assert run.names() == []


def test_a_root_that_does_not_exist(run: Runtime) -> None:
    done = run("list")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no such file or directory" in done.stderr
    assert "container does not exist" in run("state", "one").stderr
    assert not run.root.exists()


def test_root_directory_is_refused(run: Runtime) -> None:
    for root in ("/", "//", "/tmp/.."):
        done = run("--root", root, "state", "one")
        assert done.returncode == 1
        assert "root" in done.stderr


def test_operations_that_the_state_does_not_allow(
    run: Runtime, runc: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    for runtime in (run, runc):
        create = ("create", "--bundle", str(bundle), "one")
        assert runtime(*create, output=tmp_path / "output").returncode == 0
        wrong: list[tuple[tuple[str, ...], str]] = [
            (create, "container with given ID already exists"),
            (("resume", "one"), "container not paused"),
        ]
        _refused(runtime, wrong)
        runtime("start", "one")
        _refused(
            runtime,
            [
                (create, "container with given ID already exists"),
                (("start", "one"), "cannot start an already running container"),
                (("delete", "one"), "cannot delete container one that is not stopped: running"),
                (("kill", "one", "NOPE"), "unknown signal"),
                (("resume", "one"), "container not paused"),
            ],
        )
        runtime("pause", "one")
        _refused(runtime, [(("start", "one"), "cannot start a container in the paused state")])
        runtime("resume", "one")
        runtime.end("one")
        _refused(
            runtime,
            [
                (("start", "one"), "cannot start a container that has stopped"),
                (("kill", "one"), "container not running"),
                (("pause", "one"), "container not running"),
            ],
        )
        assert runtime("kill", "--all", "one", "9").returncode == 0
        assert runtime("delete", "one").returncode == 0


def _refused(runtime: Runtime, commands: list[tuple[tuple[str, ...], str]]) -> None:
    before = runtime("list", "--format", "json").stdout
    for command, words in commands:
        done = runtime(*command)
        assert done.returncode == 1, (runtime.name, command)
        assert words in done.stderr
        assert runtime("list", "--format", "json").stdout == before


def test_a_property_of_a_disabled_plugin(run: Runtime, bundle: Bundle) -> None:
    done = run("--plugins", "-rlimits", "create", "--bundle", str(bundle), "one")
    assert done.returncode == 1
    assert "/process/rlimits" in done.stderr
    assert "plugin rlimits would handle it" in done.stderr
    assert run.names() == []


def test_places_for_files_that_are_traps(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "link").symlink_to(victim)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "directory").mkdir()
    for flag in ("--pid-file", "--console-socket"):
        for place in ("link", "fifo", "directory", "missing/x", "x" * 300):
            done = run("create", "--bundle", str(bundle), flag, f"{tmp_path}/{place}", "one")
            assert done.returncode == 1, (flag, place)
            assert done.stderr.count("\n") == 1
            assert run.names() == []
    done = run("create", "--bundle", str(bundle), "--pid-file", "/dev/full", "one")
    assert done.returncode == 1
    assert victim.read_text() == "precious"
    assert (tmp_path / "link").is_symlink()
