"""podman with orlop in its configuration, and an image in a store that several tests share."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from tests.engines import image
from tests.engines.containers import Containers
from tests.engines.daemon import Left, hierarchies, members, require
from tests.leftovers import remove_cgroup

STATE = Path("/run/orlop")
NETWORKS = Path("/run/netns")
"""Where podman keeps network namespaces, under names of its own."""
_CONFIGURATION = """\
[engine]
runtime = "orlop"
runtime_supports_json = ["orlop"]
runtime_supports_nocgroup = ["orlop"]
[engine.runtimes]
orlop = ["{runtime}"]
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
"""


class Store(Containers):
    """Containers and images of podman, apart from all others.

    Args:
        runtime: The path of orlop.
    """

    def __init__(self, runtime: str) -> None:
        """Load the image."""
        require("podman", "/bin/busybox", packages="podman, busybox-static")
        self.scratch = Path(tempfile.mkdtemp(prefix="oe-p-"))
        self.parent = f"orlop-{self.scratch.name}"
        (self.scratch / "containers.conf").write_text(_CONFIGURATION.format(runtime=runtime))
        self.call("load", f"--input={image.write(self.scratch / 'image.tar')}")

    def client(self, *args: str) -> list[str]:
        """Return the command line of one command."""
        return [
            *("env", f"CONTAINERS_CONF={self.scratch}/containers.conf", "podman"),
            *(f"--root={self.scratch}/root", f"--runroot={self.scratch}/run"),
            *("--storage-driver=vfs", "--cgroup-manager=cgroupfs", *args),
        ]

    def command(self, *args: str, options: tuple[str, ...] = ()) -> list[str]:
        """Return the arguments of ``podman run`` for a container of the image."""
        if "--cgroups=disabled" not in options and not any(one.startswith("--pod=") for one in options):
            options = (f"--cgroup-parent=/{self.parent}", *options)
        if not any(one.startswith("--pod=") for one in options):
            options = ("--network=none", *options)
        return ["run", *options, image.NAME, *args]

    def left(self) -> Left:
        """Return all that containers could leave behind."""
        tops = [root / self.parent for root in hierarchies()]
        found = {directory for top in tops for directory, _, _ in os.walk(top)}
        # The groups of all containers, and of all monitors, stay; only empty they are nobody's.
        shared = {str(place) for top in tops for place in (top, top / "conmon")}
        return {
            "cgroups": found - shared,
            "processes": {str(pid) for top in tops for pid in members(top)} | self._monitors(),
            "state": set(os.listdir(STATE)) if STATE.is_dir() else set(),
            "networks": {place.name for place in NETWORKS.glob("netns-*")},
            "mounts": {line.split()[4] for line in self._mountinfo() if str(self.scratch) in line},
            "containers": set(self.call("ps", "--all", "--quiet").split()),
            "pods": set(self.call("pod", "ps", "--quiet").split()),
        }

    @staticmethod
    def _mountinfo() -> list[str]:
        return Path("/proc/self/mountinfo").read_text().splitlines()

    def _monitors(self) -> set[str]:
        """Return the processes that name our directory: monitors, and podman when it tidies up after them."""
        found = set()
        for place in Path("/proc").glob("[0-9]*"):
            try:
                if str(self.scratch).encode() in (place / "cmdline").read_bytes():
                    found.add(place.name)
            except OSError:  # it has just ended
                continue
        return found

    def clear(self) -> None:
        """Remove all containers and pods, however they are."""
        self.ask("pod", "rm", "--all", "--force", "--time=0")
        # One that others depend on goes after them, which takes podman a second attempt.
        for _ in range(3):
            if self.ask("rm", "--all", "--force", "--time=0", "--volumes").returncode == 0:
                break

    def close(self) -> None:
        """Remove the images, the mounts that podman leaves for its store, and the cgroups."""
        self.clear()
        for line in reversed(self._mountinfo()):
            if str(self.scratch) in line:
                subprocess.run(["umount", "-l", line.split()[4]], stderr=subprocess.DEVNULL, check=False)
        for root in hierarchies():
            remove_cgroup(root / self.parent)
        subprocess.run(["rm", "-rf", "--one-file-system", str(self.scratch)], check=False)
