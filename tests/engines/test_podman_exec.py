"""podman exec on orlop: programs in a container that runs, as users, scripts and health checks start them."""

from __future__ import annotations

import json
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.engines.conftest import Podman
from tests.engines.terminal import PATIENCE, Session


@pytest.fixture
def one(podman: Podman) -> Podman:
    """Return podman with a container *one* that runs."""
    done = podman.run("sleep", "1000", options=("--detach", "--name=one", "--env=OWN=1", "--workdir=/bin"))
    assert done.returncode == 0, done.stderr
    return podman


def test_a_program_runs_in_the_container(one: Podman) -> None:
    done = one.call("exec", "one", "sh", "-c", "hostname; echo $OWN; cat /proc/1/cmdline; echo err >&2")
    assert (done.returncode, done.stderr) == (0, "err\n")
    name = one.call("inspect", "--format={{.Config.Hostname}}", "one").stdout.strip()
    assert done.stdout == f"{name}\n1\nsleep\x001000\x00"


def test_user_directory_and_environment(one: Podman) -> None:
    (one.scratch / "rootfs/etc").mkdir(exist_ok=True)
    script = 'id -u; id -g; echo "$A"; echo "$PWD"'
    done = one.call("exec", "--user=1000:1001", "--workdir=/proc", "--env=A=b c", "one", "sh", "-c", script)
    assert (done.returncode, done.stdout) == (0, "1000\n1001\nb c\n/proc\n"), done.stderr
    own = one.call("exec", "one", "sh", "-c", "echo $PWD")
    assert own.stdout == "/bin\n"


def test_exit_statuses_are_those_that_podman_promises(one: Podman) -> None:
    (one.scratch / "rootfs/plain").write_text("data")
    assert one.call("exec", "one", "sh", "-c", "exit 37").returncode == 37
    assert one.call("exec", "one", "sh", "-c", "kill -9 $$").returncode == 137
    missing = one.call("exec", "one", "no-such-program")
    assert missing.returncode == 127, missing.stderr
    assert "executable file not found in $PATH" in missing.stderr
    absent = one.call("exec", "one", "/no/such/program")
    assert absent.returncode == 127, absent.stderr
    denied = one.call("exec", "one", "/plain")
    assert denied.returncode == 126, denied.stderr
    elsewhere = one.call("exec", "--workdir=/no/such", "one", "true")
    assert elsewhere.returncode in {126, 127}, elsewhere.stderr
    assert not (one.scratch / "rootfs/no").exists()
    assert one.call("exec", "two", "true").returncode == 125


def test_input_arrives_and_output_comes_back_whole(one: Podman) -> None:
    text = "line\n" * 50_000
    done = subprocess.run(
        [*one.base, "exec", "--interactive", "one", "cat"],
        input=text,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout == text, done.stderr) == (0, True, "")


def test_detached_programs_are_ones_of_the_container(one: Podman) -> None:
    started = one.call("exec", "--detach", "one", "sleep", "1001")
    assert started.returncode == 0, started.stderr
    session = started.stdout.strip()
    assert re.fullmatch("[0-9a-f]{64}", session)
    shown = one.call("exec", "one", "sh", "-c", "cat /proc/[0-9]*/cmdline | grep -c 1001")
    assert shown.returncode == 0
    assert one.call("pause", "one").returncode == 0
    refused = one.call("exec", "one", "true")
    assert refused.returncode != 0
    assert one.call("unpause", "one").returncode == 0
    assert one.call("rm", "--force", "--time=0", "one").returncode == 0
    assert not _running("1001", one)


def _running(argument: str, podman: Podman) -> list[str]:
    """Return processes of the test's image that were started with *argument*."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
            root = (entry / "root").readlink()
        except OSError:
            continue
        if argument.encode() in arguments and str(podman.scratch) in str(root):
            found.append(entry.name)
    return found


def test_a_terminal_has_a_size_and_follows_it(one: Podman) -> None:
    script = "until stty size | grep '33 77'; do sleep 0.05; done; echo ready"
    script += "; read answer; stty size; echo got $answer; exit 5"
    (one.scratch / "rootfs/bin/stty").symlink_to("busybox")
    with Session([*one.base, "exec", "--interactive", "--tty", "one", "sh", "-c", script]) as session:
        session.until(b"ready")
        assert b"33 77" in session.shown
        session.resize(20, 50)
        # podman passes the new size on some time later; the program asks when it is told to go on.
        deadline = time.monotonic() + PATIENCE
        while b"20 50" not in one.call("exec", "one", "sh", "-c", "stty size < /dev/pts/0").stdout.encode():
            assert time.monotonic() < deadline
        session.type(b"yes\r")
        session.until(b"got yes")
        assert b"20 50" in session.shown
        assert session.end() == 5


def test_the_engines_confinement_is_applied_again(one: Podman) -> None:
    done = one.call("exec", "--user=1000", "one", "cat", "/proc/self/status")
    facts = dict(re.findall(r"(?m)^(\w+):\s*(.*)$", done.stdout))
    assert (facts["Seccomp"], facts["CapEff"], facts["Uid"].split()) == ("2", "0" * 16, ["1000"] * 4)
    first = one.call("exec", "one", "cat", "/proc/1/status").stdout
    own = one.call("exec", "one", "cat", "/proc/self/status").stdout
    for name in ("CapBnd", "CapEff", "CapInh", "NoNewPrivs", "Seccomp_filters"):
        pattern = rf"(?m)^{name}:\s*(.*)$"
        assert re.findall(pattern, own) == re.findall(pattern, first), name


def test_privileged_programs_have_all_capabilities(one: Podman) -> None:
    done = one.call("exec", "--privileged", "one", "cat", "/proc/self/status")
    assert done.returncode == 0, done.stderr
    facts = dict(re.findall(r"(?m)^(\w+):\s*(.*)$", done.stdout))
    mine = dict(re.findall(r"(?m)^(\w+):\s*(.*)$", Path("/proc/self/status").read_text()))
    assert facts["CapEff"] == mine["CapEff"]


@pytest.mark.parametrize(("check", "status"), [("true", "healthy"), ("exit 1", "unhealthy")])
def test_health_checks(podman: Podman, check: str, status: str) -> None:
    done = podman.run(
        "sleep",
        "1000",
        options=(
            "--detach",
            "--name=one",
            f"--health-cmd={check}",
            "--health-interval=disable",
            "--health-retries=1",
        ),
    )
    assert done.returncode == 0, done.stderr
    ran = podman.call("healthcheck", "run", "one")
    assert ran.returncode == (0 if status == "healthy" else 1), ran.stderr
    health = json.loads(podman.call("inspect", "one").stdout)[0]["State"]
    assert health.get("Health", health.get("Healthcheck"))["Status"] == status


def test_descriptors_are_preserved(one: Podman, tmp_path: Path) -> None:
    file = tmp_path / "passed"
    file.write_text("from outside\n")
    passing = ["sh", "-c", 'exec 3<"$0"; exec "$@"', str(file)]
    asked = ["exec", "--preserve-fds=1", "one", "sh", "-c", "cat <&3; ls /proc/$$/fd; true"]
    done = subprocess.run(
        [*passing, *one.base, *asked],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "from outside"
    # A shell that reads a script keeps none open; 3 is the one that was passed.
    assert lines[1:] == ["0", "1", "2", "3"]


def test_many_at_once(one: Podman) -> None:
    with ThreadPoolExecutor(20) as pool:
        done = list(pool.map(lambda n: one.call("exec", "one", "sh", "-c", f"exit {n}"), range(20)))
    assert [one_done.returncode for one_done in done] == list(range(20)), [d.stderr for d in done]
