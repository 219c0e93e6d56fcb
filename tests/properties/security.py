"""Cases of the security modules (config.md, Linux Process)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.properties.case import Seen, case

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
