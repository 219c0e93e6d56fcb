"""Hooks in the runtime's namespaces, friendly ones and others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.leftovers import PATIENCE

from orlop_hookspecs.errors import HookError
from orlop_linux.live import runhook
from orlop_linux.live.process import is_alive, start_time
from orlop_linux.live.runhook import run_hook

if TYPE_CHECKING:
    from pathlib import Path

STATE = b'{"ociVersion": "1.3.0", "id": "web"}'


def shell(script: str, **fields: Any) -> dict[str, Any]:
    return {
        "because": "/hooks/createRuntime/0",
        "kind": "createRuntime",
        "index": 3,
        "path": "/bin/sh",
        "args": ("sh", "-c", script),
        "env": ("PATH=/usr/bin:/bin",),
        "timeout": None,
        **fields,
    }


@pytest.fixture(params=["fork_exec", "subprocess"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test with the private function of the interpreter and with its public fallback."""
    if request.param == "subprocess":
        import _posixsubprocess

        def refuse(*_arguments: object) -> None:
            raise TypeError("fork_exec takes another number of arguments")

        monkeypatch.setattr(_posixsubprocess, "fork_exec", refuse)
    return str(request.param)


@pytest.mark.usefixtures("way")
def test_the_state_is_on_standard_input(tmp_path: Path) -> None:
    run_hook(shell(f"cat >{tmp_path}/state"), STATE)
    assert (tmp_path / "state").read_bytes() == STATE


@pytest.mark.usefixtures("way")
def test_environment_directory_session_and_descriptors_are_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_PRELOAD_CANARY", "1")
    monkeypatch.chdir(tmp_path)
    leak = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leak, True)  # noqa: FBT003 - positional in C
    script = f"""
import os
with open({str(tmp_path / "out")!r}, "w") as out:
    print(sorted(set(os.environ) - {{"LC_CTYPE"}}), os.getcwd(), os.getsid(0) == os.getpid(), file=out)
    mine = (out.fileno(), out.fileno() + 1)
    print(sorted(int(n) for n in os.listdir("/proc/self/fd") if int(n) not in mine), file=out)
"""
    hook = shell("", path=sys.executable, args=("python", "-I", "-S", "-c", script), env=("A=1", "B=two=2"))
    try:
        run_hook(hook, STATE)
    finally:
        os.close(leak)
    lines = (tmp_path / "out").read_text().splitlines()
    assert lines == ["['A', 'B'] / True", "[0, 1, 2]"]


@pytest.mark.usefixtures("way")
def test_the_directory_is_the_bundle_as_long_as_it_is_there(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    state = json.dumps({**json.loads(STATE), "bundle": str(bundle)}).encode()
    hook = shell(f"pwd >>{tmp_path}/out")
    run_hook(hook, state)
    bundle.rmdir()
    run_hook(hook, state)
    assert (tmp_path / "out").read_text().splitlines() == [str(bundle), "/"]


@pytest.mark.usefixtures("way")
def test_without_environment_and_arguments(tmp_path: Path) -> None:
    script = tmp_path / "hook"
    script.write_text(f"#!/bin/sh\n/usr/bin/env >{tmp_path}/env; echo $# >{tmp_path}/args\n")
    script.chmod(0o755)
    run_hook(shell("", path=str(script), args=(), env=()), STATE)
    assert "HOME" not in (tmp_path / "env").read_text()
    assert (tmp_path / "args").read_text() == "0\n"


@pytest.mark.usefixtures("way")
def test_a_failure_names_kind_index_path_status_and_output() -> None:
    with pytest.raises(HookError) as caught:
        run_hook(shell("echo to stdout; echo to stderr >&2; exit 7"), STATE)
    text = str(caught.value)
    assert "createRuntime hook 3: exit status 7, output: 'to stdout\\nto stderr'" in text
    assert "/bin/sh" in text
    assert caught.value.pointer == "/hooks/createRuntime/0"


@pytest.mark.parametrize(
    ("fields", "message", "number"),
    [
        ({"path": "/nonexistent/hook"}, "cannot run it: no such file or directory", 2),
        ({"path": "/etc/passwd"}, "cannot run it: permission denied", 13),
        ({"path": "/tmp"}, "cannot run it: permission denied", 13),
        ({"path": "relative"}, "its path is not absolute", None),
        ({"path": "/bin/sh\0"}, "its path is not absolute", None),
        ({"args": ("a\0b",)}, "cannot run it: invalid argument", 22),
    ],
)
@pytest.mark.usefixtures("way")
def test_what_cannot_be_run_is_an_error(fields: dict[str, Any], message: str, number: int | None) -> None:
    with pytest.raises(HookError, match=message) as caught:
        run_hook(shell("true", **fields), STATE)
    assert caught.value.errno == number


def test_a_script_without_an_interpreter_line_is_an_error(tmp_path: Path) -> None:
    script = tmp_path / "hook"
    script.write_text("exit 0\n")
    script.chmod(0o755)
    with pytest.raises(HookError, match="exec format error"):
        run_hook(shell("", path=str(script)), STATE)


def test_a_hook_that_dies_of_a_signal_is_an_error() -> None:
    with pytest.raises(HookError, match="killed by signal 15"):
        run_hook(shell("kill -TERM $$"), STATE)


def test_a_hook_that_hangs_is_killed_with_its_group(tmp_path: Path) -> None:
    script = f"trap '' TERM INT HUP; echo waiting; sleep 1000 & echo $! >{tmp_path}/pid; wait; sleep 1000"
    # A second may be too short for a machine to get as far as the trap: until it is not.
    for seconds in (1, 4, 16, 64):
        with pytest.raises(HookError, match=f"ran out of time after {seconds} s and was killed") as caught:
            run_hook(shell(script, timeout=seconds), STATE)
        if "output: 'waiting'" in str(caught.value) and (tmp_path / "pid").exists():
            break
    child = int((tmp_path / "pid").read_text())
    # Its own parent is gone as well; whoever adopted it reaps it.
    deadline = time.monotonic() + PATIENCE
    while is_alive(child, start_time(child)) and time.monotonic() < deadline:
        os.sched_yield()
    assert not is_alive(child, start_time(child))


def test_a_grandchild_that_holds_the_output_does_not_block(tmp_path: Path) -> None:
    script = f"(setsid sleep 1000 & echo $! >{tmp_path}/pid) ; exit 0"
    begin = time.monotonic()
    run_hook(shell(script), STATE)
    assert time.monotonic() - begin < PATIENCE
    left = int((tmp_path / "pid").read_text())
    assert start_time(left)
    os.kill(left, signal.SIGKILL)


def test_a_flood_is_read_and_only_its_end_is_kept() -> None:
    with pytest.raises(HookError) as caught:
        run_hook(shell("yes x | head -c 5000000; echo the end; exit 1"), STATE)
    assert "the end" in str(caught.value)
    assert len(caught.value.message) < 4 * runhook.TAIL


def test_a_flood_without_end_runs_out_of_time() -> None:
    with pytest.raises(HookError, match="ran out of time"):
        run_hook(shell("exec yes", timeout=1), STATE)


@pytest.mark.usefixtures("way")
def test_a_large_state_that_nobody_reads_blocks_nobody() -> None:
    run_hook(shell("exec <&-; exit 0"), b"x" * 10_000_000)


def test_a_caller_that_ignores_sigchld_is_told() -> None:
    script = f"""
import signal, sys
sys.path[:0] = {sys.path!r}
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
from orlop_linux.live.runhook import run_hook
from orlop_hookspecs.errors import HookError
try:
    run_hook({{"path": "/bin/true", "kind": "poststop", "index": 0}}, b"")
except HookError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True)
    assert "its exit status is unknown" in done.stdout


def test_no_child_and_no_descriptor_is_left() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    run_hook(shell("exit 0"), STATE)
    with pytest.raises(HookError):
        run_hook(shell("exit 1"), STATE)
    with pytest.raises(HookError):
        run_hook(shell("", path="/nonexistent"), STATE)
    assert sorted(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
