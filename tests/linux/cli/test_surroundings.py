"""Where something of the host is not as usual: one clear line, the right status, and nothing has changed.

No procfs or that of another pid namespace, no cgroups, a state root that is read-only, few descriptors, a
full disk, closed standard descriptors, a current directory that is gone.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.linux.cli.conftest import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.linux.cli.conftest import Bundle, Runtime

NO_PROCFS = "/proc: no procfs of this pid namespace is mounted"
NO_CGROUPS = "no cgroup hierarchy is mounted"


@pytest.fixture
def one(run: Runtime, bundle: Bundle, tmp_path: Path) -> Runtime:
    """Return the command with a container *one* that runs."""
    done = run("run", "--detach", "-b", str(bundle), "one", output=tmp_path / "container")
    assert done.returncode == 0, done.stdout
    return run


def called(prefix: Sequence[str], run: Runtime, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command line behind *prefix*, which makes its surroundings."""
    # Files, as a container that starts all the same would hold a pipe open.
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        done = subprocess.run(
            [*prefix, *run.arguments(*arguments)],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            check=False,
            timeout=DEADLINE,
        )
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(done.args, done.returncode, out.read(), err.read())


def refused(done: subprocess.CompletedProcess[str], status: int, words: str) -> None:
    """Verify that a command has failed, and said why in one line."""
    assert (done.returncode, done.stdout) == (status, ""), done
    assert done.stderr.count("\n") == 1, done.stderr
    assert words in done.stderr


def commands(bundle: Bundle) -> dict[tuple[str, ...], int]:
    """Return what is tried beside a container that runs, with the exit status of its failure."""
    return {
        ("create", "--bundle", str(bundle), "two"): 1,
        ("run", "--detach", "--bundle", str(bundle), "two"): 1,
        ("exec", "--detach", "one", "true"): 255,
        ("pause", "one"): 1,
        ("update", "--pids-limit", "50", "one"): 1,
        ("ps", "--format", "json", "one"): 1,
        ("events", "--stats", "one"): 1,
        ("delete", "--force", "one"): 1,
    }


# The mounts are in the namespace of that command alone.
WITHOUT_PROCFS = {
    "none": ("unshare", "--mount", "sh", "-c", 'umount -l /proc && exec "$@"', "sh"),
    "of another pid namespace": ("unshare", "--pid", "--fork"),
}


@pytest.mark.parametrize("prefix", WITHOUT_PROCFS.values(), ids=list(WITHOUT_PROCFS))
def test_what_cannot_be_seen_has_not_stopped(one: Runtime, bundle: Bundle, prefix: Sequence[str]) -> None:
    before = one.state("one")
    further = {("state", "one"): 1, ("kill", "one", "KILL"): 1, ("delete", "one"): 1, ("start", "one"): 1}
    for arguments, status in (commands(bundle) | further).items():
        refused(called(prefix, one, *arguments), status, NO_PROCFS)
    assert one.state("one") == before
    assert one.names() == ["one"]


WITHOUT_CGROUPS = {
    "none": ("unshare", "--mount", "sh", "-c", 'umount -l /sys/fs/cgroup && exec "$@"', "sh"),
    "hidden": ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /sys && exec "$@"', "sh"),
}


@pytest.mark.parametrize("prefix", WITHOUT_CGROUPS.values(), ids=list(WITHOUT_CGROUPS))
def test_cgroups_that_cannot_be_seen_are_not_gone(
    one: Runtime, bundle: Bundle, prefix: Sequence[str]
) -> None:
    before = one.state("one")
    for arguments, status in commands(bundle).items():
        refused(called(prefix, one, *arguments), status, NO_CGROUPS)
    # Nothing but a signal is asked for, and none of the cgroups is needed for it.
    assert called(prefix, one, "kill", "one", "0").returncode == 0
    assert json.loads(called(prefix, one, "state", "one").stdout) == before
    assert one.state("one") == before
    assert one.names() == ["one"]


def test_a_state_root_that_is_read_only(one: Runtime, bundle: Bundle) -> None:
    before, root = one.state("one"), one.root
    script = f'mount --bind {root} {root} && mount -o remount,bind,ro {root} && exec "$@"'
    prefix = ("unshare", "--mount", "sh", "-c", script, "sh")
    for arguments in (
        ("create", "--bundle", str(bundle), "two"),
        ("run", "--detach", "--bundle", str(bundle), "two"),
        ("delete", "--force", "one"),
    ):
        refused(called(prefix, one, *arguments), 1, "read-only file system")
    assert json.loads(called(prefix, one, "state", "one").stdout) == before
    assert one.state("one") == before
    assert one.names() == ["one"]


def test_few_descriptors(one: Runtime, bundle: Bundle) -> None:
    """Much fewer are too few for the shell that starts the interpreter: 0 to 2, and 10 for its script."""
    before = one.state("one")
    prefix = ("prlimit", "--nofile=12:12")
    for arguments, status in (
        (("run", "--detach", "--bundle", str(bundle), "two"), 1),
        (("exec", "--detach", "one", "true"), 255),
    ):
        refused(called(prefix, one, *arguments), status, "too many open files")
    for line in ("state one", "list", "features", "kill one 0"):
        done = called(prefix, one, *line.split())
        assert (done.returncode, done.stderr) == (0, ""), done
    assert one.state("one") == before
    assert one.names() == ["one"]


def test_a_full_disk_as_standard_output(one: Runtime) -> None:
    before = one.state("one")
    for arguments in (
        ("state", "one"),
        ("list",),
        ("list", "--format", "json"),
        ("list", "-q"),
        ("ps", "--format", "json", "one"),
        ("events", "--stats", "one"),
        ("features",),
        ("--version",),
        ("--help",),
    ):
        done = one.onto_a_full_disk(*arguments)
        assert done.returncode == 1, arguments
        assert done.stderr.count("\n") == 1, done.stderr
        assert "standard output: no space left on device" in done.stderr
    assert one.state("one") == before


@pytest.mark.parametrize("line", ["spec", "plugin new made-up", "manual --directory ."])
def test_a_full_disk_for_what_is_written(run: Runtime, tmp_path: Path, line: str) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    script = (
        f"mount -t tmpfs -o size=16k none {place} && cd {place} && "
        f'{{ dd if=/dev/zero of=filled bs=4k count=4 2>/dev/null; "$@"; status=$?; ls -A; exit $status; }}'
    )
    done = called(("unshare", "--mount", "sh", "-c", script, "sh"), run, *line.split())
    assert done.returncode == 1, done
    assert done.stderr.count("\n") == 1, done.stderr
    assert re.search(r"cannot (be written|write the [a-z ]+): no space left on device", done.stderr)
    assert done.stdout.split() == ["filled"]


CLOSED = ("<&-", ">&-", "2>&-", "<&- >&- 2>&-")


@pytest.mark.parametrize("closed", CLOSED)
def test_a_descriptor_that_is_closed_is_the_null_device(run: Runtime, bundle: Bundle, closed: str) -> None:
    prefix = ("sh", "-c", f'exec "$@" {closed}', "sh")
    nothing = subprocess.DEVNULL
    for arguments in (("run", "--detach", "--bundle", str(bundle), "one"), ("exec", "one", "true")):
        done = subprocess.run(
            [*prefix, *run.arguments(*arguments)],
            env={},
            stdin=nothing,
            stdout=nothing,
            stderr=nothing,
            check=False,
            timeout=DEADLINE,
        )
        assert done.returncode == 0, arguments
    pid = run.state("one")["pid"]
    shown = {os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)}
    assert shown == {"/dev/null"}
    assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"]


def test_a_current_directory_that_is_gone(run: Runtime, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    for arguments in (("create", "one"), ("run", "one"), ("--root", "here", "list")):
        gone.mkdir()
        done = called(("sh", "-c", f'cd {gone} && rmdir {gone} && exec "$@"', "sh"), run, *arguments)
        # The shell that starts the interpreter may have a line of its own to say.
        said = done.stderr.splitlines()[-1]
        assert done.returncode == 1, said
        assert "the current directory cannot be told: no such file or directory; change to a" in said
    assert run.names() == []
