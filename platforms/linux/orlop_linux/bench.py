"""The bench of this platform: the running kernel, for rules of the conformance kit that want a real one.

Containers have a small image of busybox in a private directory, which is also their state root; their cgroups
have names that begin with the directory's.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from orlop_hookspecs.errors import PlatformError
from orlop_linux.platform import LinuxPlatform

if TYPE_CHECKING:
    from collections.abc import Mapping

BUSYBOX = "/bin/busybox"
"""The statically linked program of the image; Debian's package busybox-static has it."""

_CGROUPS = "/sys/fs/cgroup"
_DIRECTORIES = ("bin", "dev", "etc", "proc", "sys", "tmp")


class LinuxBench:
    """The running kernel, as :mod:`orlop.kit.bench` describes a machine.

    Raises:
        PlatformError: It cannot be used: not Linux, not root, no busybox.
    """

    def __init__(self) -> None:
        """Make the image."""
        if sys.platform != "linux" or os.geteuid() != 0:
            raise PlatformError("real containers need root on Linux")
        if not os.access(BUSYBOX, os.X_OK):
            raise PlatformError(
                "there is no busybox for the image", path=BUSYBOX, hint="install busybox-static"
            )
        self.platform = LinuxPlatform()
        self._place = tempfile.mkdtemp(prefix="orlop-kit-")
        self.root = f"{self._place}/state"
        self._image = f"{self._place}/image"
        for name in _DIRECTORIES:
            os.makedirs(f"{self._image}/{name}")
        shutil.copy(BUSYBOX, f"{self._image}/bin/busybox")
        for name in ("sh", "sleep"):
            os.symlink("busybox", f"{self._image}/bin/{name}")
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)

    def config(self) -> dict[str, Any]:
        """Return a config whose program sleeps for hours."""
        return {
            "ociVersion": "1.3.0",
            "root": {"path": self._image},
            "process": {
                "args": ["/bin/sleep", "86400"],
                "cwd": "/",
                "env": ["PATH=/bin"],
                "user": {"uid": 0, "gid": 0},
            },
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {
                "cgroupsPath": f"/{os.path.basename(self._place)}",
                "namespaces": [{"type": kind} for kind in ("pid", "mount", "uts", "ipc", "network")],
            },
        }

    def launch(self) -> Mapping[str, Any]:
        """Return options that keep the caller's terminal out of it."""
        return {"stdio": (self._null, self._null, self._null)}

    def put(self, files: Mapping[str, str]) -> str:
        """Return which of *files* the host lacks: nothing of a real one is written for a test."""
        missing = [path for path in files if not os.path.exists(path)]
        return f"this host has no {', '.join(missing)}" if missing else ""

    def left(self) -> list[str]:
        """Return state directories, mounts and cgroups that are still there."""
        found = [f"state of container {name}" for name in _names(self.root)]
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as lines:
            found += [f"mount {line.split()[4]}" for line in lines if self._place in line]
        mine = os.path.basename(self._place)
        for hierarchy in ("", *_names(_CGROUPS)):
            group = os.path.join(_CGROUPS, hierarchy, mine)
            if os.path.isdir(group):
                found.append(f"cgroup {group}")
        return found

    def close(self) -> None:
        """Remove the image. Idempotent."""
        if self._null >= 0:
            os.close(self._null)
            self._null = -1
            shutil.rmtree(self._place, ignore_errors=True)


def _names(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []
