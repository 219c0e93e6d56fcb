"""A runtime that is killed amid a creation leaves nothing that a forced deletion does not remove."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.leftovers import PATIENCE, remove_cgroup

import orlop
from orlop.lifecycle.delete import delete
from orlop_hookspecs.errors import ContainerNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.every_lane

BUSYBOX = shutil.which("busybox")
PLACES = (
    "host 0 before",
    "host 0 after",
    "host 1 after",
    "clone 0 before",
    "clone 0 after",
    "host_with_pid 0 after",
    "build 0 before",
    "build 0 after",
    "commit 0 after",
)
SCRIPT = """
import os, signal, sys
sys.path[:0] = {path!r}
import orlop
from orlop_linux.kernel.sandbox import Sandbox
name, count, moment = {place!r}.split()
real, calls = getattr(Sandbox, name), [0]
def die():
    os.kill(os.getpid(), signal.SIGKILL)
def replaced(self, *arguments, **options):
    mine = calls[0] == int(count)
    calls[0] += 1
    if mine and moment == "before":
        die()
    result = real(self, *arguments, **options)
    if mine and moment == "after":
        die()
    return result
setattr(Sandbox, name, replaced)
orlop.Runtime.compose(root={root!r}).create("web", {bundle!r}, config={config!r})
"""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    if BUSYBOX is None:
        pytest.skip("needs busybox")
    for name in ("bin", "proc", "dev", "sys"):
        (tmp_path / "bundle/rootfs" / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, tmp_path / "bundle/rootfs/bin/sleep")
    return tmp_path / "bundle"


@pytest.fixture
def cgroup() -> Iterator[str]:
    name = f"/orlop-test-{os.getpid()}-crash"
    yield name
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if " - cgroup" in line:
            remove_cgroup(Path(line.split()[4] + name))


def config_of(cgroup: str) -> dict[str, Any]:
    names = ("pid", "mount", "ipc", "uts", "network")
    return {
        "ociVersion": "1.2.0",
        "process": {"args": ["/bin/sleep", "1000"], "cwd": "/", "user": {"uid": 0, "gid": 0}, "env": []},
        "root": {"path": "rootfs"},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {
            "cgroupsPath": f"{cgroup}/web",
            "resources": {"pids": {"limit": 32}},
            "namespaces": [{"type": name} for name in names],
        },
    }


def left_behind(cgroup: str) -> list[str]:
    mounts = {
        line.split()[4]
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if " - cgroup" in line
    }
    return [mount + cgroup for mount in mounts if Path(mount + cgroup).exists()]


@pytest.mark.parametrize("place", PLACES)
def test_killed(bundle: Path, cgroup: str, tmp_path: Path, place: str) -> None:
    root = tmp_path / "root"
    script = SCRIPT.format(
        path=sys.path, place=place, root=str(root), bundle=str(bundle), config=config_of(cgroup)
    )
    # A file: a container that was released holds its creator's pipes open.
    with (tmp_path / "output").open("wb") as output:
        command = [sys.executable, "-I", "-c", script]
        died = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False, timeout=PATIENCE
        )
    assert died.returncode == -signal.SIGKILL, (tmp_path / "output").read_text()
    with orlop.Runtime.compose(root=str(root)) as runtime:
        if place.startswith("commit"):
            assert runtime.get("web").status == "created"
        # Not Container.delete: before the first act there is no container yet, only its place.
        delete(runtime.site, "web", force=True)
        assert left_behind(cgroup) == []
        with pytest.raises(ContainerNotFoundError):
            runtime.get("web")
        again = runtime.create("web", str(bundle), config=config_of(cgroup))
        try:
            again.start()
            assert again.status == "running"
        finally:
            again.delete(force=True)
    assert left_behind(cgroup) == []
