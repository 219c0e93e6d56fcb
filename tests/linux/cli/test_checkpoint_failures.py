"""What becomes of a container when criu is not what it should be: shown with another program in its place."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.linux.child.support import is_gone
from tests.linux.cli import criu_stand_in
from tests.linux.cli.conftest import DEADLINE, Bundle, Runtime

import orlop_linux


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


def restore(run: Runtime, bundle: Bundle, place: Path, behaviour: str) -> tuple[int, str]:
    (place / "behaviour").write_text(behaviour)
    done = run(
        *("restore", "--detach", "--image-path", str(place / "images"), "-b", str(bundle), "two"),
        env={"PATH": f"{place}:{os.defpath}"},
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


FAILURES = {
    "old": ["criu 3.10 is too old", "orlop works with criu 3.15 or later"],
    "fail": ["criu failed: type DUMP errno 95: it cannot be", "dump.log"],
    "die": ["criu has ended before it answered"],
}


@pytest.mark.every_lane
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


@pytest.mark.every_lane
def test_a_paused_container_stays_paused(
    run: Runtime, bundle: Bundle, stand_in: Path, tmp_path: Path
) -> None:
    assert run("run", "-d", "-b", str(bundle), "one", output=tmp_path / "out").returncode == 0
    assert run("pause", "one").returncode == 0
    assert checkpoint(run, stand_in, "fail")[0] == 1
    assert run.state("one")["status"] == "paused"


@contextmanager
def hanging(run: Runtime, stand_in: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Provide a command whose criu has done what it does, and hangs; kill the command afterwards."""
    (stand_in / "behaviour").write_text("hang")
    os.mkfifo(stand_in / "hangs")
    command = run.arguments(words[0], "--image-path", str(stand_in / "images"), *words[1:])
    environment = {"PATH": f"{stand_in}:{os.defpath}"}
    nothing = subprocess.DEVNULL
    with subprocess.Popen(command, env=environment, stdin=nothing, stdout=nothing, stderr=nothing) as process:
        try:
            with (stand_in / "hangs").open() as file:
                assert file.read() == "in\n"
            yield process
        finally:
            process.kill()


def programs(stand_in: Path) -> list[str]:
    """Return the processes of the program in criu's place."""
    return [
        name
        for name in filter(str.isdecimal, os.listdir("/proc"))
        if str(stand_in).encode() in _command_line(name)
    ]


@pytest.mark.every_lane
def test_a_checkpoint_that_is_killed_leaves_what_a_forced_delete_removes(
    run: Runtime, bundle: Bundle, stand_in: Path, tmp_path: Path
) -> None:
    assert run("run", "-d", "-b", str(bundle), "one", output=tmp_path / "out").returncode == 0
    with hanging(run, stand_in, "checkpoint", "one"):
        pass
    assert run.state("one")["status"] == "paused"
    assert run("delete", "--force", "one").returncode == 0
    assert run.names() == []
    assert programs(stand_in) == []


@pytest.fixture
def images(stand_in: Path) -> Path:
    """Return a directory that looks like a checkpoint's."""
    made = stand_in / "images"
    made.mkdir(mode=0o700)
    (made / "inventory.img").write_bytes(b"")
    return made


@pytest.mark.every_lane
@pytest.mark.usefixtures("images")
def test_a_restore_that_is_killed_leaves_what_a_forced_delete_removes(
    run: Runtime, bundle: Bundle, stand_in: Path
) -> None:
    """Its identifier is taken meanwhile, and until then."""
    with hanging(run, stand_in, "restore", "--detach", "-b", str(bundle), "two") as first:
        for _ in range(2):
            status, error = restore(run, bundle, stand_in, "fail")
            assert (status, error.count("\n"), "exists" in error) == (1, 1, True)
            first.kill()
            first.wait(DEADLINE)
    pid = int((stand_in / "restored").read_text())
    assert not is_gone(pid)
    assert run("delete", "--force", "two").returncode == 0
    assert run.names() == []
    assert programs(stand_in) == []
    assert is_gone(pid)


@pytest.mark.usefixtures("images")
def test_what_the_config_does_not_hold_ends_before_it_runs(
    run: Runtime, bundle: Bundle, stand_in: Path
) -> None:
    status, error = restore(run, bundle, stand_in, "fail")
    assert (status, error.count("\n")) == (1, 1)
    assert "the images are refused: they have no pid namespace of their own" in error
    assert run.names() == []
    assert is_gone(int((stand_in / "restored").read_text()))


def test_a_second_checkpoint_waits_for_the_first_one(
    run: Runtime, bundle: Bundle, stand_in: Path, tmp_path: Path
) -> None:
    """Who only looks is answered meanwhile; who comes after a runtime that was killed finds what it left."""
    assert run("run", "-d", "-b", str(bundle), "one", output=tmp_path / "out").returncode == 0
    pid = run.state("one")["pid"]
    command = run.arguments("checkpoint", "--image-path", str(tmp_path / "others"), "one")
    with hanging(run, stand_in, "checkpoint", "one") as first:
        (stand_in / "behaviour").write_text("fail")
        pipe = subprocess.PIPE
        environment = {"PATH": f"{stand_in}:{os.defpath}"}
        with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=pipe) as second:
            assert (run.state("one")["status"], run.state("one")["pid"]) == ("paused", pid)
            assert not (tmp_path / "others").exists()
            first.kill()
            error = second.communicate(timeout=DEADLINE)[1].decode()
            assert (second.returncode, error.count("\n"), "it cannot be" in error) == (1, 1, True)
    assert run.state("one")["status"] == "paused"
    assert run("resume", "one").returncode == 0
    assert run.state("one")["status"] == "running"
    assert run("delete", "--force", "one").returncode == 0
    assert programs(stand_in) == []


def test_a_full_disk(run: Runtime, bundle: Bundle, stand_in: Path, tmp_path: Path) -> None:
    """The first thing that is written there is ours."""
    assert run("run", "-d", "-b", str(bundle), "one", output=tmp_path / "out").returncode == 0
    before = run.state("one")
    images = stand_in / "images"
    images.mkdir()
    tmpfs = ["mount", "-t", "tmpfs", "-o", "mode=700,size=4k", "tmpfs", str(images)]
    subprocess.run(tmpfs, check=True)
    try:
        (images / "filler").write_bytes(b"x" * 4096)
        status, error = checkpoint(run, stand_in, "fail")
        assert (status, error.count("\n")) == (1, 1)
        assert "cannot write the checkpoint: no space left on device" in error
        assert f"{images}/descriptors.json" in error
        assert os.listdir(images) == ["filler"]
    finally:
        subprocess.run(["umount", str(images)], check=True)
    assert run.state("one") == before


@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_images_where_others_can_write_are_not_made(
    run: Runtime, bundle: Bundle, stand_in: Path, tmp_path: Path, mode: int
) -> None:
    """Neither are they read: verified before criu is there, by the same function."""
    assert run("run", "-d", "-b", str(bundle), "one", output=tmp_path / "out").returncode == 0
    (stand_in / "images").mkdir()
    (stand_in / "images").chmod(mode)
    status, error = checkpoint(run, stand_in, "fail")
    assert (status, error.count("\n"), "others can write to its directory" in error) == (1, 1, True)
    assert os.listdir(stand_in / "images") == []
    status, error = restore(run, bundle, stand_in, "fail")
    assert (status, error.count("\n"), "others can write to its directory" in error) == (1, 1, True)
    assert run.names() == ["one"]


def _command_line(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
