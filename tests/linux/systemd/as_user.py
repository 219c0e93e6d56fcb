"""What a user does with the user's own systemd; a program that test_user.py starts as that user.

It runs as the root of a user namespace, as rootless engines start a runtime.

It writes one JSON object: what it found.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.linux.systemd.conftest import CONFIG, cgroup_of

import orlop
from orlop_hookspecs.launch import LaunchOptions


def _show(unit: str, *names: str) -> dict[str, str]:
    command = ["systemctl", "--user", "show", *(f"--property={name}" for name in names), "--", unit]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240).stdout
    return dict(line.split("=", 1) for line in text.splitlines())


def main(place: Path) -> dict[str, Any]:
    config = json.loads(json.dumps(CONFIG))
    config["mounts"][1] = {"destination": "/dev", "type": "bind", "source": "/dev", "options": ["rbind"]}
    config["linux"]["cgroupsPath"] = "user.slice:orlop:mine"
    config["linux"]["resources"] = {"pids": {"limit": 33}, "memory": {"limit": 64 << 20}}
    (place / "config.json").write_text(json.dumps(config))
    runtime = orlop.Runtime.compose(platform="linux", root=str(place / "state"))
    null = os.open("/dev/null", os.O_RDWR)
    found: dict[str, Any] = {"map": Path("/proc/self/uid_map").read_text().split()}
    made = runtime.create("mine", place, LaunchOptions(stdio=(null, null, null), systemd_cgroup=True))
    try:
        group = cgroup_of(made)
        found["cgroup"] = str(group)
        found["limits"] = [(group / name).read_text().strip() for name in ("pids.max", "memory.max")]
        found["unit"] = _show("orlop-mine.scope", "ActiveState", "Slice", "TasksMax")
        made.start()
        found["members"] = list(made.processes()) == [made.pid]
        made.update({"pids": {"limit": 44}})
        found["updated"] = (group / "pids.max").read_text().strip()
        made.pause()
        found["paused"] = made.state()["status"]
        made.resume()
    finally:
        made.delete(force=True)
    found["left"] = [str(group)] if group.exists() else []
    found["loaded"] = _show("orlop-mine.scope", "LoadState")
    return found


if __name__ == "__main__":
    json.dump(main(Path(sys.argv[1])), sys.stdout)
