"""The conformance runner on programs of our own: what it reports, and what it takes away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RUNNER = Path(__file__).resolve().parents[2] / "conformance/run.py"
LONG = f"4321{os.getpid()}"
"""Seconds that a left-over process would sleep: nobody else's does that."""

PROGRAMS = {
    "clean": 'echo "TAP version 13"; "$RUNTIME" create one; echo "ok 1 - created"; echo "1..1"',
    "failing": 'echo "not ok 1 - no"; echo "1..1"; exit 3',
    "hanging": f"setsid sleep {LONG} & sleep {LONG}",
    "mounting": 'mkdir "$TMPDIR/m"; mount -t tmpfs none "$TMPDIR/m"; touch "$TMPDIR/m/x"; echo "1..0"',
    "where": 'ls runtimetest >&2; test -d "$TMPDIR"; echo "1..0"',
}
RUNTIME = """#!/bin/sh
[ "$1" = --version ] && { echo "stand-in 1"; exit; }
[ "$1" = --root ] || exit 1
root=$2; shift 2
case $1 in
create) mkdir "$root/$2" ;;
delete) rmdir "$root/$3" && echo gone >>"$LOG" ;;
esac
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if os.geteuid() != 0:
        pytest.skip("needs root: the runner enters a mount namespace")
    place = tmp_path_factory.mktemp("suite")
    (place / "runtimetest").write_text("x")
    for name, script in PROGRAMS.items():
        (place / f"{name}.t").write_text(f"#!/bin/sh\n{script}\n")
        (place / f"{name}.t").chmod(0o755)
    runtime = place / "stand-in"
    runtime.write_text(RUNTIME)
    runtime.chmod(0o755)
    done = subprocess.run(
        [sys.executable, RUNNER, place, "--runtime", runtime, "--timeout", "2", "--json", place / "results"],
        env={**os.environ, "LOG": str(place / "log")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    rows = {row["program"]: row for row in json.loads((place / "results").read_text())}
    log = place / "log"
    return {"rows": rows, "said": done.stdout, "log": log.read_text() if log.exists() else ""}


def commands() -> list[bytes]:
    """Return the command lines of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes())
        except OSError:
            continue  # it has just ended
    return found


def test_each_program_has_its_line(results: dict[str, Any]) -> None:
    cells = {line.split()[0]: line for line in results["said"].splitlines()[1:-1]}
    assert set(cells) == set(PROGRAMS)
    assert "clean 1 ok, 0 not ok, 0 error, exit 0" in cells["clean"]
    assert "-     0 ok, 1 not ok, 0 error, exit 3" in cells["failing"]
    assert "timeout" in cells["hanging"]
    assert results["said"].splitlines()[-1] == "stand-in: 3 of 5 clean"


def test_containers_that_are_left_are_deleted(results: dict[str, Any]) -> None:
    assert results["rows"]["clean"]["left"] == 1
    assert results["log"] == "gone\n"


def test_a_program_that_hangs_is_ended_with_all_that_it_started(results: dict[str, Any]) -> None:
    assert results["rows"]["hanging"]["exit"] is None
    assert not [words for words in commands() if LONG.encode() in words]


def test_a_mount_stays_in_the_programs_namespace(results: dict[str, Any]) -> None:
    assert results["rows"]["mounting"]["clean"]
    assert "orlop-conformance" not in Path("/proc/self/mountinfo").read_text()


def test_a_program_finds_what_it_expects_beside_it(results: dict[str, Any]) -> None:
    assert results["rows"]["where"]["clean"]
    assert results["rows"]["where"]["stderr"] == "runtimetest\n"
