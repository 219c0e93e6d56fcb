"""Containers whose cgroups systemd makes: a bundle, a runtime, and a look at the units."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import orlop
from orlop_hookspecs.launch import LaunchOptions

APPLETS = ("cat", "sh", "sleep", "true", "dd")
CONFIG: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "root": {"path": "rootfs"},
    "process": {
        "cwd": "/",
        "args": ["/bin/sleep", "600"],
        "env": ["PATH=/bin"],
        "user": {"uid": 0, "gid": 0},
    },
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
    ],
    "linux": {"namespaces": [{"type": kind} for kind in ("pid", "mount", "cgroup", "ipc", "uts")]},
}


def managed_user() -> int:
    """Return the id of a user whose manager runs."""
    places = Path("/run/user").glob("[1-9]*")
    return min(int(place.name) for place in places if (place / "systemd/private").exists())


def image(rootfs: Path) -> None:
    """Make a root file system of a static busybox."""
    for name in ("bin", "dev", "proc", "sys/fs/cgroup", "tmp"):
        (rootfs / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", rootfs / "bin/busybox")
    for name in APPLETS:
        (rootfs / "bin" / name).symlink_to("busybox")


def show(unit: str, *names: str) -> dict[str, str]:
    """Return properties of a unit as systemctl(1) says them."""
    done = subprocess.run(
        ["systemctl", "show", "--no-pager", *(f"--property={name}" for name in names), "--", unit],
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def is_loaded(unit: str) -> bool:
    """Tell whether systemd knows the unit."""
    return show(unit, "LoadState")["LoadState"] == "loaded"


class Box:
    """Containers of one test."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.name = f"t{os.getpid()}"
        self.runtime = orlop.Runtime.compose(platform="linux", root=str(place / "state"))
        self.containers: dict[str, orlop.Container] = {}
        self.output = place / "output"
        image(place / "rootfs")

    def create(
        self,
        name: str = "",
        *,
        args: tuple[str, ...] = (),
        path: str | None = "",
        resources: dict[str, Any] | None = None,
        annotations: dict[str, str] | None = None,
    ) -> orlop.Container:
        """Create a container; *path* is its cgroupsPath, empty: one in system.slice, ``None``: none."""
        name = name or self.name
        config = json.loads(json.dumps(CONFIG))
        if path is not None:
            config["linux"]["cgroupsPath"] = path or f"system.slice:orlop:{name}"
        if args:
            config["process"]["args"] = list(args)
        if resources:
            config["linux"]["resources"] = resources
        if annotations:
            config["annotations"] = annotations
        (self.place / "config.json").write_text(json.dumps(config))
        null = os.open("/dev/null", os.O_RDONLY)
        output = os.open(self.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            made = self.runtime.create(
                name, self.place, LaunchOptions(stdio=(null, output, output), systemd_cgroup=True)
            )
        finally:
            os.close(null)
            os.close(output)
        self.containers[name] = made
        return made

    def run(self, *args: str, **how: Any) -> str:
        """Run a program from create to delete and return what it wrote."""
        made = self.create(args=args, **how)
        made.start()
        made.wait(timeout=240)
        made.delete()
        del self.containers[made.id]
        return self.output.read_text()

    def close(self) -> None:
        for made in self.containers.values():
            try:
                made.delete(force=True)
            except orlop.ContainerNotFoundError:
                continue
        self.runtime.close()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    for place in (tmp_path, *tmp_path.parents[:3]):
        if place.stat().st_uid == os.geteuid():
            place.chmod(stat.S_IMODE(place.stat().st_mode) | 0o711)
    made = Box(tmp_path)
    yield made
    made.close()


def cgroup_of(container: orlop.Container) -> Path:
    """Return the directory of the container's cgroup in the unified hierarchy."""
    for line in Path(f"/proc/{container.pid}/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            return Path(f"/sys/fs/cgroup{line[3:]}")
    raise LookupError(container.id)
