"""An engine's own storage per test, so that nothing is left on the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engines.daemon import PATIENCE
from tests.leftovers import remove_cgroup

# The machine may lack CAP_SYS_RESOURCE: podman's default is to raise these limits.
ULIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000")
CGROUP_ROOTS = Path("/sys/fs/cgroup")


def orlop_command() -> str:
    """Return the absolute path of the ``orlop`` command under test."""
    return str(Path(sys.executable).parent / "orlop")


class Podman:
    """podman with a private store and one runtime."""

    def __init__(self, scratch: Path, runtime: str, manager: str = "cgroupfs") -> None:
        """Keep all of podman's files below *scratch*; *manager* makes the cgroups."""
        self.scratch = scratch
        self.base = [
            "podman",
            f"--root={scratch}/root",
            f"--runroot={scratch}/run",
            "--storage-driver=vfs",
            f"--cgroup-manager={manager}",
            f"--runtime={runtime}",
        ]

    def call(self, *args: str, timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
        """Run one podman command and return what came of it."""
        return subprocess.run(
            [*self.base, *args],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def run(self, *args: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run a container from the busybox root file system."""
        rootfs = str(self.scratch / "rootfs")
        return self.call("run", "--network=none", *ULIMITS, *options, "--rootfs", rootfs, *args)


def await_helpers(scratch: Path) -> None:
    """Wait for the processes that podman leaves to clean up after a container or a program in one."""
    deadline = time.monotonic() + PATIENCE
    while _mention(str(scratch)):
        assert time.monotonic() < deadline, "processes of podman do not end"


def _mention(text: str) -> bool:
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (entry / "cmdline").read_bytes():
                return True
        except OSError:
            continue
    return False


def _groups() -> set[Path]:
    return {p for root in CGROUP_ROOTS.iterdir() if root.is_dir() for p in root.glob("libpod_parent*")}


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Provide a directory whose path is short: podman refuses a run root of more than 50 characters."""
    with tempfile.TemporaryDirectory(prefix="oe-") as directory:
        yield Path(directory)


@pytest.fixture
def podman(scratch: Path, request: pytest.FixtureRequest) -> Iterator[Podman]:
    """Provide podman with orlop as its runtime; afterwards nothing of it is left."""
    if os.geteuid() != 0 or not sys.platform.startswith("linux"):
        pytest.skip("needs root on Linux; the VM lane runs it as well")
    for tool in ("podman", "/bin/busybox"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool} (Debian packages podman and busybox-static)")
    bindir = scratch / "rootfs/bin"
    bindir.mkdir(parents=True)
    shutil.copy2("/bin/busybox", bindir / "busybox")
    for applet in ("sh", "cat", "id", "sleep", "true", "mount", "touch", "ls", "grep", "env", "hostname"):
        (bindir / applet).symlink_to("busybox")
    before = _groups()
    engine = Podman(scratch, orlop_command(), getattr(request, "param", "cgroupfs"))
    yield engine
    engine.call("rm", "--all", "--force", "--time=0")
    await_helpers(scratch)
    for name in ("root/vfs-containers", "root"):
        subprocess.run(["umount", "-l", str(scratch / name)], stderr=subprocess.DEVNULL, check=False)
    for group in sorted(_groups() - before, reverse=True):
        remove_cgroup(group)
