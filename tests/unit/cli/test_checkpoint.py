"""The commands checkpoint and restore on the fake machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.unit.cli.conftest import CommandLine, orlop_command

__all__ = ["orlop_command"]


def started(run: CommandLine, name: str = "box") -> None:
    assert run("run", "--detach", "--bundle", str(run.bundle), name)[0] == 0


def test_there_and_back(orlop_command: CommandLine, tmp_path: Path) -> None:
    run = orlop_command
    started(run)
    image = str(tmp_path / "images")
    assert run("checkpoint", "--image-path", image, "--work-path", str(tmp_path), "box") == (0, "", "")
    status, _, err = run("delete", "box")
    assert (status, "does not exist" in err) == (1, True)
    pid_file = tmp_path / "pid"
    words = [
        "restore",
        "--detach",
        "-no-subreaper",
        "--no-pivot",
        "--pid-file",
        str(pid_file),
        "-b",
        str(run.bundle),
    ]
    assert run(*words, "--image-path", image, "back") == (0, "", "")
    assert run.json("state", "back")["status"] == "running"
    assert int(pid_file.read_text()) == run.json("state", "back")["pid"]
    assert run("delete", "--force", "back") == (0, "", "")
    assert run.kernel.leaks() == []


def test_the_images_are_in_the_current_directory_by_default(
    orlop_command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    started(orlop_command)
    assert orlop_command("checkpoint", "box") == (0, "", "")
    assert list(orlop_command.kernel.images) == [str(tmp_path / "checkpoint")]
    monkeypatch.chdir(orlop_command.bundle)
    assert orlop_command("restore", "-d", "--image-path", f"{tmp_path}/checkpoint", "box") == (0, "", "")
    assert orlop_command("delete", "-f", "box")[0] == 0


def test_left_running(orlop_command: CommandLine, tmp_path: Path) -> None:
    run = orlop_command
    started(run)
    assert (
        run("checkpoint", "--leave-running", "--leave-running", "--image-path", str(tmp_path), "box")[0] == 0
    )
    assert run.json("state", "box")["status"] == "running"
    assert run("checkpoint", "--pre-dump", "--image-path", str(tmp_path), "box")[0] == 0
    assert run("delete", "-f", "box")[0] == 0


def test_a_foreground_restore_ends_with_its_program(orlop_command: CommandLine, tmp_path: Path) -> None:
    run = orlop_command
    started(run)
    assert run("checkpoint", "--image-path", str(tmp_path), "box")[0] == 0
    # The fake machine's clock jumps: the program sleeps for what was left, and ends.
    assert run("restore", "--image-path", str(tmp_path), "--bundle", str(run.bundle), "box") == (0, "", "")
    assert run.kernel.leaks() == []


BAD = {
    ("--manage-cgroups-mode", "hard"): "invalid manage-cgroups-mode",
    ("--page-server", "nowhere"): "a page server is ADDRESS:PORT",
    ("--lazy-pages",): "lazy pages need a page server",
    ("--parent-path", "/before"): "the parent path is not relative to the image path",
    ("--empty-ns", "ipc"): "a namespace of this type cannot be left empty",
    ("--status-fd", "x"): "--status-fd is not a descriptor",
    ("--status-fd", "99999"): "--status-fd=99999 is not open",
    ("--image-path",): "requires exactly 1 argument(s)",
    ("--tcp-close",): "flag provided but not defined: -tcp-close",
}


@pytest.mark.parametrize("words", BAD)
def test_bad_input(orlop_command: CommandLine, words: tuple[str, ...]) -> None:
    started(orlop_command)
    status, _, err = orlop_command("checkpoint", *words, "box")
    assert status == 1
    assert err.count("\n") == 1
    assert BAD[words] in err.replace('\\"', "").replace('"checkpoint" ', "")
    assert orlop_command.json("state", "box")["status"] == "running"
    assert orlop_command.kernel.images == {}


def test_flags_of_engines_are_taken(orlop_command: CommandLine, tmp_path: Path) -> None:
    run = orlop_command
    started(run)
    image = str(tmp_path / "i")
    common = [
        "--tcp-established",
        "--ext-unix-sk",
        "--shell-job",
        "--file-locks",
        "--manage-cgroups-mode",
        "full",
    ]
    common += ["--empty-ns", "network", "--auto-dedup", "--image-path", image, "--work-path", str(tmp_path)]
    status_fd = ["--status-fd", "-1", "--tcp-skip-in-flight", "--link-remap"]
    assert run("checkpoint", *common, *status_fd, "box") == (0, "", "")
    more = [
        "--tcp-close",
        "--lsm-mount-context",
        "c",
        "--detach",
        "--lazy-pages",
    ]
    more += ["--bundle", str(run.bundle), "box"]
    status, out, err = run("restore", *common, "--lsm-profile", "apparmor:x", *more)
    assert (status, out, "this host has no AppArmor" in err, err.count("\n")) == (1, "", True, 1)
    assert run("restore", *common, *more) == (0, "", "")
    assert run("delete", "-f", "box")[0] == 0


@pytest.mark.parametrize("command", ["checkpoint", "restore"])
def test_unknown_containers_and_images(orlop_command: CommandLine, tmp_path: Path, command: str) -> None:
    run = orlop_command
    words = ["--image-path", str(tmp_path / "none")] + (
        ["-b", str(run.bundle), "-d"] if command == "restore" else []
    )
    status, out, err = run(command, *words, "box")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert ("there is no checkpoint" if command == "restore" else "does not exist") in err
    assert not os.path.exists(tmp_path / "none")
    assert run.kernel.leaks() == []


def test_a_container_that_does_not_run_is_refused(orlop_command: CommandLine) -> None:
    run = orlop_command
    assert run("create", "--bundle", str(run.bundle), "box")[0] == 0
    status, _, err = run("checkpoint", "box")
    assert status == 1
    assert "container cannot be checkpointed in created state" in err
    assert run("delete", "-f", "box")[0] == 0
