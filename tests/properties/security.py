"""Cases of the security modules (config.md, Linux Process)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.properties.case import Seen, case

LABEL = "u:r:payload_t:s0:c1,c2"
MOUNT_LABEL = "u:object_r:files_t:s0:c1,c2"
"""Labels of the virtual machine's policy, tests/vm/guest/policy.cil."""

PROFILE = f"orlop-properties-{os.getpid()}"
POLICY = f"profile {PROFILE} flags=(attach_disconnected) {{ file, capability, signal, ptrace, mount, }}"


def _parser(action: str) -> None:
    command = ["apparmor_parser", action, "--skip-cache"]
    subprocess.run(command, input=POLICY.encode(), check=True, capture_output=True)


def _load(_: Path) -> None:
    _parser("--replace")


def _unload(_: Seen) -> None:
    _parser("--remove")


case(
    "process.apparmorProfile",
    config={"process": {"apparmorProfile": PROFILE}},
    prepare=_load,
    probe="cat /proc/self/attr/apparmor/current",
    shows=f"{PROFILE} (enforce)",
    after=_unload,
    needs=("apparmor",),
    alone=True,
)

case(
    "process.selinuxLabel",
    config={"process": {"selinuxLabel": LABEL}},
    probe="cat /proc/self/attr/current | tr -d '\\0'; echo",
    shows=LABEL,
    needs=("selinux",),
    alone=True,
)


def _has_label(seen: Seen) -> None:
    def label(place: str) -> str:
        found = os.getxattr(f"/proc/{seen.pid}/root/{place}", "security.selinux")
        return found.rstrip(b"\0").decode()

    assert label("dev") == label("labelled") == MOUNT_LABEL
    assert label("proc") != MOUNT_LABEL


case(
    "linux.mountLabel",
    config={
        "linux": {"mountLabel": MOUNT_LABEL},
        "mounts": [{"destination": "/labelled", "type": "tmpfs", "source": "tmpfs"}],
    },
    host=_has_label,
    needs=("selinux",),
    alone=True,
)
