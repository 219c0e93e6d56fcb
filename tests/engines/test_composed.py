"""podman on a composed runtime."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path

import pytest
from tests.engines.conftest import Podman, orlop_command

MANIFEST = """\
name = "for-podman"
profile = "docker-like"

[distributions]
orlop = "{orlop}"
jeepney = "{jeepney}"
"""


@pytest.fixture
def composed(podman: Podman) -> Podman:
    """Return podman with a composed runtime."""
    manifest = podman.scratch / "for-podman.toml"
    versions = {name: metadata.version(name) for name in ("orlop", "jeepney")}
    manifest.write_text(MANIFEST.format(**versions))
    path = podman.scratch / "for-podman"
    done = subprocess.run(
        [orlop_command(), "compose", str(manifest), "-o", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    podman.base = [f"--runtime={path}" if word.startswith("--runtime=") else word for word in podman.base]
    return podman


def test_a_container_runs(composed: Podman) -> None:
    done = composed.run("sh", "-c", "echo out; echo err >&2; exit 3", options=("--rm",))
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")


def test_a_container_is_started_looked_at_and_removed(composed: Podman) -> None:
    started = composed.run("sleep", "1000", options=("--detach", "--name=one", "--memory=64m"))
    assert started.returncode == 0, started.stderr
    assert composed.call("inspect", "--format={{.State.Status}} {{.OCIRuntime}}", "one").stdout.split() == [
        "running",
        f"{composed.scratch}/for-podman",
    ]
    pid = int(composed.call("inspect", "--format={{.State.Pid}}", "one").stdout)
    assert Path(f"/proc/{pid}/comm").read_text() == "sleep\n"
    # What runs in the container is not what the file names: a copy that nobody can write to.
    assert composed.call("rm", "--force", "--time=0", "one").returncode == 0
    assert composed.call("ps", "--all", "--quiet").stdout == ""
