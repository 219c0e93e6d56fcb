"""What becomes of a container when criu is not what it should be: shown with another program in its place."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.linux.cli import criu_stand_in
from tests.linux.cli.conftest import DEADLINE, Bundle, Runtime

import orlop_linux

pytestmark = pytest.mark.every_lane


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """Return the directory of a program criu whose behaviour is a file beside it."""
    place = tmp_path / "programs"
    place.mkdir()
    source = Path(criu_stand_in.__file__).read_text()
    packages = os.path.dirname(orlop_linux.__path__[0])
    program = place / "criu"
    program.write_text(f"#!{sys.executable}\n" + source.replace('PACKAGES = ""', f"PACKAGES = {packages!r}"))
    program.chmod(0o755)
    return place


def checkpoint(run: Runtime, place: Path, behaviour: str) -> tuple[int, str]:
    (place / "behaviour").write_text(behaviour)
    done = run(
        "checkpoint", "--image-path", str(place / "images"), "one", env={"PATH": f"{place}:{os.defpath}"}
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


FAILURES = {
    "old": ["criu 3.10 is too old", "orlop works with criu 3.15 or later"],
    "fail": ["criu failed: type DUMP errno 95: it cannot be", "dump.log"],
    "die": ["criu has ended before it answered"],
}


@pytest.mark.parametrize("behaviour", FAILURES)
def test_a_failure_is_one_line_and_the_container_goes_on(
    run: Runtime, bundle: Bundle, stand_in: Path, tmp_path: Path, behaviour: str
) -> None:
    assert run("run", "-d", "-b", str(bundle), "one", output=tmp_path / "out").returncode == 0
    before = run.state("one")
    status, error = checkpoint(run, stand_in, behaviour)
    assert status == 1
    assert error.count("\n") == 1
    for words in FAILURES[behaviour]:
        assert words in error
    assert run.state("one") == before  # running, not frozen


def test_a_paused_container_stays_paused(
    run: Runtime, bundle: Bundle, stand_in: Path, tmp_path: Path
) -> None:
    assert run("run", "-d", "-b", str(bundle), "one", output=tmp_path / "out").returncode == 0
    assert run("pause", "one").returncode == 0
    assert checkpoint(run, stand_in, "fail")[0] == 1
    assert run.state("one")["status"] == "paused"


def test_a_checkpoint_that_is_killed_leaves_what_a_forced_delete_removes(
    run: Runtime, bundle: Bundle, stand_in: Path, tmp_path: Path
) -> None:
    assert run("run", "-d", "-b", str(bundle), "one", output=tmp_path / "out").returncode == 0
    (stand_in / "behaviour").write_text("hang")
    os.mkfifo(stand_in / "hangs")
    command = run.arguments("checkpoint", "--image-path", str(stand_in / "images"), "one")
    environment = {"PATH": f"{stand_in}:{os.defpath}"}
    nothing = subprocess.DEVNULL
    with subprocess.Popen(command, env=environment, stdin=nothing, stdout=nothing, stderr=nothing) as process:
        with (stand_in / "hangs").open() as file:
            assert file.read() == "in\n"
        process.kill()
        process.wait(DEADLINE)
    assert run.state("one")["status"] == "paused"
    assert run("delete", "--force", "one").returncode == 0
    assert run.names() == []
    left = [
        name
        for name in filter(str.isdecimal, os.listdir("/proc"))
        if str(stand_in).encode() in _command_line(name)
    ]
    assert left == []


def _command_line(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
