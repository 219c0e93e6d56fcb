"""The demo where no container can be made: it says so, and leads the same life on the fake platform."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
from examples.demo import demo
demo.why_not_real = lambda: "a real one needs root"
demo.main()
"""


def test_the_demo_without_root() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    shown = done.stdout.partition("== a container on the fake platform (a real one needs root)\n")[2]
    assert [line.split(":")[0] for line in shown.splitlines()[:5]] == [
        "create",
        "start",
        "kill",
        "state",
        "delete",
    ]
    assert "the process ends with status 137" in shown
    assert "containers left: []" in shown
    assert "/linux/seccomp: no active plugin handles this property" in shown.splitlines()[-1]
