"""Containers from the command line on the real kernel."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from tests.linux.cli.conftest import DEADLINE

if TYPE_CHECKING:
    from tests.linux.cli.conftest import Bundle, Runtime


@pytest.mark.every_lane
def test_life(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    output = tmp_path / "output"
    done = run("create", "--bundle", str(bundle), "--pid-file", str(pid_file), "one", output=output)
    assert (done.returncode, done.stdout) == (0, "")
    state = run.state("one")
    assert state["status"] == "created"
    assert pid_file.read_text() == str(state["pid"])
    assert (Path("/proc") / str(state["pid"]) / "ns" / "pid").readlink() != Path(
        "/proc/self/ns/pid"
    ).readlink()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", state["created"])
    for command in (["start", "one"], ["pause", "one"], ["resume", "one"]):
        done = run(*command)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert run.state("one")["status"] == "running"
    assert run.names() == ["one"]
    run.end("one")
    assert run.state("one") == {**state, "status": "stopped", "pid": 0}
    assert run("delete", "one").returncode == 0
    assert run.names() == []
    assert "container does not exist" in run("state", "one").stderr


@pytest.mark.every_lane
def test_two_state_roots_may_hold_one_identifier(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    other = attrs.evolve(run, root=tmp_path / "other")
    try:
        for runtime in (run, other):
            done = runtime("create", "-b", str(bundle), "one", output=tmp_path / "output")
            assert (done.returncode, done.stdout) == (0, "")
        assert run.state("one")["pid"] != other.state("one")["pid"]
        assert other("delete", "--force", "one").returncode == 0
        assert run.state("one")["status"] == "created"
    finally:
        other.clean()


def test_state_has_what_runc_prints(run: Runtime, runc: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    bundle.configure({"annotations": {"org.example.key": "value"}})
    states = {}
    for runtime in (run, runc):
        assert runtime("create", "-b", str(bundle), "same", output=tmp_path / "output").returncode == 0
        states[runtime.name] = runtime.state("same")
        listed = json.loads(runtime("list", "--format", "json").stdout)
        assert [one["id"] for one in listed] == ["same"]
        runtime.clean()
    ours, theirs = states["orlop"], states["runc"]
    assert list(ours) == list(theirs)
    for key in ("id", "status", "bundle", "rootfs", "annotations", "owner"):
        assert ours[key] == theirs[key]
    assert {key: type(value) for key, value in ours.items()} == {
        key: type(value) for key, value in theirs.items()
    }


@pytest.mark.every_lane
def test_ps(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    bundle.configure(args=["/bin/sh", "-c", "/bin/sleep 1000 & /bin/echo up; wait"])
    output = tmp_path / "output"
    run("create", "-b", str(bundle), "one", output=output)
    run("start", "one")
    pids: list[int] = []
    while len(pids) < 2:  # until the shell has forked
        pids = json.loads(run("ps", "--format", "json", "one").stdout)
    assert run.state("one")["pid"] in pids
    table = run("ps", "one", env={"PATH": os.environ["PATH"]}).stdout.splitlines()
    assert "PID" in table[0].split()
    assert len(table) == 3
    narrow = run("ps", "one", "-o", "pid,comm", env={"PATH": os.environ["PATH"]}).stdout
    assert {int(line.split()[0]) for line in narrow.splitlines()[1:]} == set(pids)
    done = run("ps", "one", "-o", "comm", env={"PATH": os.environ["PATH"]})
    assert done.returncode == 1
    assert "no column PID" in done.stderr


@pytest.mark.every_lane
def test_events(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    run("create", "-b", str(bundle), "one", output=tmp_path / "output")
    run("start", "one")
    once = json.loads(run("events", "--stats", "one").stdout)
    assert once["data"]["pids"]["current"] == 1
    assert once["data"]["cpu"]["usage"]["total"] > 0
    with subprocess.Popen(
        run.arguments("events", "--interval", "10ms", "one"), env={}, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        assert (line["type"], line["id"]) == ("stats", "one")
        run.end("one")
        process.stdout.read()
        assert process.wait(DEADLINE) == 0


@pytest.mark.every_lane
def test_events_tell_of_kills_for_lack_of_memory(run: Runtime, bundle: Bundle) -> None:
    for name in ("head", "tail"):
        (bundle.path / "rootfs/bin" / name).symlink_to("busybox")
    # The shell is the first process: whoever is killed is its child.
    made = bundle.configure(args=["/bin/sh", "-c", "while read word; do tail /dev/zero; echo $?; done"])
    made["linux"]["resources"]["memory"] = {"limit": 24 << 20, "swap": 24 << 20}
    bundle.write(json.dumps(made))
    command = run.arguments("run", "-b", str(bundle), "one")
    nothing = subprocess.DEVNULL
    with subprocess.Popen(
        command, env={}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=nothing, text=True, bufsize=1
    ) as container:
        assert container.stdin
        assert container.stdout
        container.stdin.write("first\n")
        assert container.stdout.readline() == "137\n"
        with subprocess.Popen(
            run.arguments("events", "--interval=100ms", "one"), env={}, stdout=subprocess.PIPE, text=True
        ) as events:
            assert events.stdout
            assert json.loads(events.stdout.readline())["type"] == "stats"
            container.stdin.write("second\n")
            # What happened before somebody listened is not told.
            lines = (json.loads(line) for line in events.stdout)
            assert next(line for line in lines if line["type"] != "stats") == {"type": "oom", "id": "one"}
            assert container.stdout.readline() == "137\n"
            container.stdin.close()
            assert container.wait(DEADLINE) == 0
            assert {line["type"] for line in lines} <= {"stats", "oom"}
            assert events.wait(DEADLINE) == 0


def test_features_and_version_say_nothing_else(run: Runtime) -> None:
    for command in (["features"], ["--version"]):
        done = run(*command)
        assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(run("features").stdout)["ociVersionMax"] == "1.3.0"


def test_relative_paths_are_the_callers(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    done = run(
        *("--log", "log", "create", "--bundle", "../bundle", "--pid-file", "pid", "one"),
        output=tmp_path / "output",
        cwd=here,
    )
    assert done.returncode == 0
    assert sorted(os.listdir(here)) == ["log", "pid"]
    assert run.state("one")["bundle"] == str(bundle)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_missing_standard_descriptors(run: Runtime, bundle: Bundle, closed: str) -> None:
    script = "/bin/ls -l /proc/self/fd >/out"
    bundle.configure({"root": {"path": "rootfs", "readonly": False}}, args=["/bin/sh", "-c", script])
    words = " ".join(f"'{word}'" for word in run.arguments("run", "-b", str(bundle), "one"))
    nothing = subprocess.DEVNULL
    shell = ["/bin/sh", "-c", f"{words} {closed}"]
    done = subprocess.run(shell, env={}, stdin=nothing, stdout=nothing, stderr=nothing, check=False)
    assert done.returncode == 0
    places = (bundle.path / "rootfs" / "out").read_text()
    targets = re.findall(r" ([0-9]+) -> (\S+)", places)
    assert {number for number, _ in targets} >= {"0", "1", "2"}
    assert {target for number, target in targets if number in "02"} == {"/dev/null"}


def test_log_of_a_failed_create_is_one_object(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    bundle.configure(args=["/bin/missing"])
    log = tmp_path / "log"
    done = run("--log", str(log), "--log-format=json", "create", "--bundle", str(bundle), "one")
    assert done.returncode == 1
    entry = json.loads(log.read_text())
    assert entry["level"] == "error"
    assert entry["msg"] == done.stderr.rstrip("\n")
    assert re.search("no such file or directory|executable file not found in", entry["msg"])
    assert run.names() == []


def test_preserved_descriptors(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    bundle.configure(
        args=["/bin/sh", "-c", "cat <&3; echo; for fd in /proc/self/fd/*; do echo ${fd##*/}; done"]
    )
    shared = tmp_path / "shared"
    shared.write_text("from outside")
    output = tmp_path / "output"
    with shared.open() as file, (tmp_path / "other").open("w") as other:
        words = " ".join(
            f"'{word}'" for word in run.arguments("run", "-b", str(bundle), "--preserve-fds", "1", "one")
        )
        shell = f"exec {words} 3<&{file.fileno()} 9<&{other.fileno()}"
        with output.open("w") as out:
            done = subprocess.run(
                ["/bin/bash", "-c", shell],
                env={},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                pass_fds=(file.fileno(), other.fileno()),
                check=False,
            )
    first, *descriptors = output.read_text().split("\n")
    assert (done.returncode, first) == (0, "from outside")
    # The shell has opened the directory itself.
    assert [int(word) for word in descriptors if word][:4] == [0, 1, 2, 3]
    assert "9" not in descriptors


@pytest.mark.parametrize(
    ("assigned", "flags", "expected"),
    [
        ("LISTEN_PID=$$ LISTEN_FDS=1", (), "LISTEN_FDS=1 LISTEN_PID=1 one"),
        ("LISTEN_PID=$$ LISTEN_FDS=1", ("--preserve-fds", "1"), "LISTEN_FDS=1 LISTEN_PID=1 one two"),
        ("LISTEN_PID=1 LISTEN_FDS=1", (), ""),
        ("LISTEN_PID=$$ LISTEN_FDS=3", (), "LISTEN_FDS=3 asks for descriptor 5, which is not open"),
        ("LISTEN_PID=$$ LISTEN_FDS=x", (), "LISTEN_FDS is not a number"),
    ],
)
def test_passed_sockets(  # noqa: PLR0913, PLR0917 - the case and its fixtures
    run: Runtime, bundle: Bundle, tmp_path: Path, assigned: str, flags: tuple[str, ...], expected: str
) -> None:
    script = (
        'for name in LISTEN_FDS LISTEN_PID; do eval "test -z \\"\\$$name\\" || echo $name=\\$$name"; done; '
    )
    bundle.configure(args=["/bin/sh", "-c", script + "for fd in 3 4; do cat <&$fd; done 2>/dev/null; true"])
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"{name}\n")
    words = " ".join(f"'{word}'" for word in run.arguments("run", "-b", str(bundle), *flags, "box"))
    done = subprocess.run(
        ["/bin/bash", "-c", f"{assigned} exec {words} 3<'{tmp_path}/one' 4<'{tmp_path}/two'"],
        env={},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert expected in " ".join((done.stdout + done.stderr).split())
    if done.returncode == 0:
        assert " ".join(done.stdout.split()) == expected


def test_too_many_preserved_descriptors(run: Runtime, bundle: Bundle) -> None:
    done = run("create", "-b", str(bundle), "--preserve-fds", "1", "one")
    assert done.returncode == 1
    assert "descriptor 3, which is not open" in done.stderr
    assert run.names() == []
