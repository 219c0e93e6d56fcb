"""``make demo``, but for its setting up: a real container from create to delete, and a smaller runtime."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_demo_shows_a_life_and_a_smaller_runtime() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.demo.demo"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    life = re.findall(r"^(?:\$ orlop (\w+)|  (?:status: )?([\w:, \[\]]+))", done.stdout, re.MULTILINE)
    words = [command or re.sub(r", pid: \d+", "", shown).strip() for command, shown in life]
    # Output that has ended says that the process ends, not that it has.
    assert re.match(
        r"create>state>created>start>container: process 1 on host demo>state>running>kill>"
        r"container: SIGTERM, good bye>(state>running>)*state>stopped>delete>list>containers left: \[\]",
        ">".join(words),
    ), words
    assert "linux.cgroup.rdma  <- rdma" in done.stdout
    gone = done.stdout.partition("gone:\n")[2].split("\na config")[0].split()
    assert {"linux.seccomp.enabled", "linux.intelRdt.enabled"} <= set(gone)
    assert "/linux/seccomp: no active plugin handles this property" in done.stdout.splitlines()[-1]
