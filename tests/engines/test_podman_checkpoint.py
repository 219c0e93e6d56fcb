"""podman container checkpoint and restore, on orlop."""

from __future__ import annotations

import json
import subprocess

import pytest
from tests.engines.conftest import Podman

pytestmark = pytest.mark.needs("criu")


def _status(podman: Podman) -> str:
    status: str = json.loads(podman.call("inspect", "one").stdout)[0]["State"]["Status"]
    return status


def test_there_and_back(podman: Podman) -> None:
    """What the shell counts is in its memory only; each signal asks for it."""
    text = "i=0; trap 'i=$((i+1)); echo n=$i' USR1; echo up; while :; do sleep 1 & wait $!; done"
    done = podman.run(
        "sh", "-c", text, options=("--detach", "--name=one", "--security-opt=seccomp=unconfined")
    )
    assert done.returncode == 0, done.stderr
    _until(podman, "up")
    assert podman.call("kill", "--signal=USR1", "one").returncode == 0
    _until(podman, "n=1")
    done = podman.call("container", "checkpoint", "--leave-running", "one")
    assert done.returncode == 0, done.stderr
    assert _status(podman) == "running"
    done = podman.call("container", "checkpoint", "one")
    assert done.returncode == 0, done.stderr
    assert _status(podman) == "exited"
    done = podman.call("container", "restore", "one")
    assert done.returncode == 0, done.stderr
    assert _status(podman) == "running"
    assert podman.call("kill", "--signal=USR1", "one").returncode == 0
    _until(podman, "n=2")
    assert podman.call("rm", "--force", "--time=0", "one").returncode == 0


def _until(podman: Podman, text: str) -> None:
    """Follow the container's log until it has *text*; the deadline is that of the call."""
    command = [*podman.base, "logs", "--follow", "one"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as follower:
        assert follower.stdout is not None
        try:
            assert any(text in line for line in follower.stdout), text
        finally:
            follower.kill()
