"""Containers of other runtimes: what they really make of a config, to compare with what is said of them."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

BASE: dict[str, Any] = {
    "ociVersion": "1.0.2",
    "root": {"path": "rootfs"},
    "process": {"cwd": "/", "user": {"uid": 0, "gid": 0}, "args": ["/bin/sh", "-c", ":"]},
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        # Where the image lies, devices may not be usable.
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
    ],
    "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}]},
}
"""A config that every runtime runs."""

UNIFIED = "/sys/fs/cgroup/unified"


def config(script: str = ":", **linux: Any) -> dict[str, Any]:
    """Return the base that runs *script*, with more properties of ``linux``."""
    made = copy.deepcopy(BASE)
    made["process"]["args"][2] = script
    namespaces = linux.pop("namespaces", [])
    made["linux"]["namespaces"] += namespaces
    made["linux"] |= linux
    return made


class Foreign:
    """One foreign runtime with a bundle of its own."""

    def __init__(self, name: str, place: Path) -> None:
        """Make the bundle in *place*."""
        self._place = place
        self._count = 0
        self._command = [name, "--root", str(place / "state")]
        if os.path.isdir(UNIFIED) and name == "crun":
            # Old versions refuse two hierarchies; in a mount namespace of its own there is only one.
            hide = f'umount {UNIFIED}; exec "$@"'
            self._command = ["unshare", "--mount", "sh", "-c", hide, "sh", *self._command]
        for directory in ("bin", "dev", "mnt", "proc"):
            (place / "rootfs" / directory).mkdir(parents=True)
        shutil.copy2("/bin/busybox", place / "rootfs/bin/sh")

    def run(self, wanted: dict[str, Any]) -> tuple[int, str, str]:
        """Run one container and return how it ended, what it wrote, and what the runtime complained of."""
        self._count += 1
        name = f"orlop-foreign-{os.getpid()}-{self._count}"
        (self._place / "config.json").write_text(json.dumps(wanted))
        output, complaint = self._place / "output", self._place / "complaint"
        try:
            with output.open("wb") as out, complaint.open("wb") as err:
                # Not /dev/null: crun 1.8 gives what it has as standard input to root of the user namespace.
                done = subprocess.run(
                    [*self._command, "run", "--bundle", str(self._place), name],
                    input=b"", stdout=out, stderr=err, check=False, timeout=600,
                )  # fmt: skip
        finally:
            subprocess.run([*self._command, "delete", "--force", name], capture_output=True, check=False)
        return done.returncode, output.read_text(), complaint.read_text()
