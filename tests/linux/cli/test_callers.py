"""What conmon and containerd's shim count on when a command returns, and that nobody else shows."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.linux.cli.conftest import DEADLINE, await_end

if TYPE_CHECKING:
    from tests.linux.cli.conftest import Bundle, Runtime

# Becomes the parent of orphans, as those monitors do, runs the command line and says who is whose parent.
SUBREAPER = """\
import ctypes, json, os, subprocess, sys
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0
status = subprocess.run(sys.argv[2:], env={}).returncode
pid = int(open(sys.argv[1]).read())
parent = int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
print(json.dumps([status, parent == os.getpid()]))
os.kill(pid, 9)
print(json.dumps(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
"""


@pytest.mark.every_lane
def test_the_container_is_a_child_of_whoever_takes_orphans(
    run: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    for arguments in (("create", "-b", str(bundle), "one"), ("exec", "--detach", "one", "sleep", "1000")):
        pid_file = tmp_path / arguments[0]
        if arguments[0] == "exec":
            run("run", "--detach", "-b", str(bundle), "one", output=tmp_path / "output")
        command = run.arguments(arguments[0], "--pid-file", str(pid_file), *arguments[1:])
        done = subprocess.run(
            [sys.executable, "-c", SUBREAPER, str(pid_file), *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=True,
        )
        assert [json.loads(line) for line in done.stdout.splitlines()] == [[0, True], -9]
        run("delete", "--force", "one")


@pytest.mark.every_lane
def test_processes_are_in_their_cgroup_when_the_command_returns(
    run: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    name = f"orlop-test-{os.getpid()}"
    made = bundle.configure()
    made["linux"]["cgroupsPath"] = f"/{name}/box"
    bundle.write(json.dumps(made))
    first, second = tmp_path / "first", tmp_path / "second"
    done = run("create", "-b", str(bundle), "--pid-file", str(first), "one", output=tmp_path / "output")
    groups = Path(f"/proc/{first.read_text()}/cgroup").read_text().splitlines()
    assert done.returncode == 0
    # Who watches for lack of memory, and who reads statistics, begins with what is here now.
    fields = [line.split(":", 2) for line in groups]
    places = {path for number, names, path in fields if number == "0" or "memory" in names.split(",")}
    assert places == {f"/{name}/box"}
    run("start", "one")
    run("exec", "--detach", "--pid-file", str(second), "one", "sleep", "1000", output=tmp_path / "output")
    assert Path(f"/proc/{second.read_text()}/cgroup").read_text().splitlines() == groups


@pytest.mark.every_lane
def test_with_a_terminal_nobody_holds_the_callers_pipes(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """Who has given the command a pipe reads to its end, also when the container lives on."""
    bundle.configure(terminal=True)
    place = str(tmp_path / "console")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as console:
        console.bind(place)
        console.listen()
        flags = ("--console-socket", place, "one")
        # Both are read until nobody has them open any more.
        done = run("create", "-b", str(bundle), *flags)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert run("start", "one").returncode == 0
        done = run("exec", "--tty", "--detach", *flags, "sleep", "1000")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert run.state("one")["status"] == "running"


@pytest.mark.parametrize(
    "words",
    [("exec", "one", "/bin/missing"), ("exec", "nobody", "true"), ("create", "-b", "/nonexistent", "two")],
)
def test_what_has_failed_leaves_no_pid_file(
    run: Runtime, bundle: Bundle, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """By this, and by nothing else, conmon learns that there is no process."""
    run("run", "--detach", "-b", str(bundle), "one", output=tmp_path / "output")
    detach = ("--detach",) if words[0] == "exec" else ()
    done = run(words[0], *detach, "--pid-file", str(tmp_path / "pid"), *words[1:])
    assert done.returncode != 0
    assert sorted(path.name for path in tmp_path.iterdir() if "pid" in path.name) == []


def test_engines_find_in_the_features_what_they_look_for(run: Runtime) -> None:
    """For containerd and CRI-O: recursive read-only mounts, and pods with users of their own."""
    features = json.loads(run("features").stdout)
    assert "rro" in features["mountOptions"]
    assert "user" in features["linux"]["namespaces"]
    assert features["linux"]["mountExtensions"]["idmap"]["enabled"] is True
    assert features["ociVersionMin"]
    assert features["ociVersionMax"]


def test_a_container_is_made_where_its_bundle_is(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """As buildah does it, which calls from the bundle and kills without saying how."""
    made = ("create", "--bundle", str(bundle), "--pid-file", f"{bundle}/pid", "one")
    assert run(*made, output=tmp_path / "output", cwd=bundle.path).returncode == 0
    process = os.pidfd_open(int((bundle.path / "pid").read_text()))
    assert run("start", "one").returncode == 0
    for signal in ((), ("SIGKILL",)):
        assert run("kill", "one", *signal).returncode == 0
    await_end(process)
    assert run.state("one")["status"] == "stopped"
    assert run("delete", "one").returncode == 0
