"""podman with systemd as its cgroup manager, on orlop: a scope for each container."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from tests.engines.conftest import Podman
from tests.engines.daemon import PATIENCE, until

pytestmark = [
    pytest.mark.needs("systemd", "cgroup-v2"),
    pytest.mark.parametrize("podman", ["systemd"], indirect=True),
]
SLICE = Path("/sys/fs/cgroup/machine.slice")


def _state(unit: str) -> str:
    command = ["systemctl", "show", "--property=ActiveState", "--value", "--", unit]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=PATIENCE
    ).stdout.strip()


def test_a_container_is_a_scope_of_machine_slice(podman: Podman) -> None:
    options = ("--detach", "--memory=64m", "--pids-limit=17", "--name=one")
    done = podman.run("sleep", "1000", options=options)
    assert done.returncode == 0, done.stderr
    ident = done.stdout.strip()
    unit = f"libpod-{ident}.scope"
    assert _state(unit) == "active"
    pid = json.loads(podman.call("inspect", "one").stdout)[0]["State"]["Pid"]
    assert Path(f"/proc/{pid}/cgroup").read_text().strip().split("/")[1:3] == ["machine.slice", unit]
    group = SLICE / unit
    assert [(group / name).read_text().strip() for name in ("pids.max", "memory.max")] == [
        "17",
        str(64 << 20),
    ]
    changed = podman.call("update", "--memory=96m", "--memory-swap=96m", "one")
    assert changed.returncode == 0, changed.stderr
    assert (group / "memory.max").read_text().strip() == str(96 << 20)
    for act, status in (("pause", "paused"), ("unpause", "running")):
        assert podman.call(act, "one").returncode == 0
        assert json.loads(podman.call("inspect", "one").stdout)[0]["State"]["Status"] == status
    assert podman.call("rm", "--force", "--time=0", "one").returncode == 0
    # podman and systemd go on tidying up a moment after the command.
    until(lambda: _state(unit) == "inactive" and not group.exists(), lambda: _state(unit))


def test_a_container_that_ends_leaves_no_scope(podman: Podman) -> None:
    done = podman.run("cat", "/proc/self/cgroup", options=("--rm", "--cgroupns=host"))
    assert (done.returncode, done.stderr) == (0, "")
    path = done.stdout.strip().removeprefix("0::/")
    assert path.startswith("machine.slice/libpod-")
    until(lambda: not Path("/sys/fs/cgroup", path).exists(), lambda: path)
