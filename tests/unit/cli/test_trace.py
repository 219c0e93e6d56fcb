"""``--trace`` and ``orlop trace``, and the pictures of ``orlop explain``."""

from __future__ import annotations

import builtins
import errno
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.unit.cli.conftest import CommandLine


def events(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())["traceEvents"]
    return found


def names(path: Path, category: str) -> list[str]:
    return [one["name"] for one in events(path) if one["cat"] == category]


def test_the_life_of_a_container_is_recorded(orlop_command: CommandLine, tmp_path: Path) -> None:
    run, file = orlop_command, tmp_path / "t.json"
    original = builtins.__import__
    traced = ("--trace", str(file))
    assert run(*traced, "create", "--bundle", str(run.bundle), "web") == (0, "", "")
    assert builtins.__import__ is original
    steps = [one for one in events(file) if one["cat"] == "step"]
    assert any(one["name"].startswith("CreateCgroup(") for one in steps)
    (made,) = [one for one in steps if one["name"].startswith("CreateCgroup(")]
    assert made["args"] == {"plugin": "cgroups", "because": "/linux/cgroupsPath", "phase": "host"}
    (build,) = [one for one in steps if one["name"] == "build"]
    assert "SwitchRoot" in build["args"]["container"]
    assert "orlop_plan mounts" in names(file, "plugin")
    assert "compose" in names(file, "engine")
    assert names(file, "command") == ["create"]
    assert run(*traced, "start", "web") == (0, "", "")
    assert "start" in names(file, "kernel")
    assert names(file, "command") == ["start"]
    assert run(*traced, "state", "web")[0] == 0
    assert "status" in names(file, "kernel")
    assert run(*traced, "delete", "--force", "web") == (0, "", "")
    assert "undo cgroup" in names(file, "kernel")
    assert run.kernel.leaks() == []


def test_every_span_is_a_complete_event_inside_the_command(
    orlop_command: CommandLine, tmp_path: Path
) -> None:
    file = tmp_path / "t.json"
    assert orlop_command("--trace", str(file), "features")[0] == 0
    found = events(file)
    (whole,) = [one for one in found if one["cat"] == "command"]
    for one in found:
        assert {"name", "cat", "ph", "ts", "dur", "pid", "tid", "args"} == set(one)
        assert (one["ph"], one["pid"]) == ("X", os.getpid())
        if one["cat"] not in {"command", "start"}:
            assert whole["ts"] <= one["ts"] <= one["ts"] + one["dur"] <= whole["ts"] + whole["dur"] + 0.01
    (start,) = [one for one in found if one["cat"] == "start"]
    assert start["ts"] + start["dur"] <= whole["ts"] + 0.01


def test_what_failed_is_recorded_too(orlop_command: CommandLine, tmp_path: Path) -> None:
    run, file = orlop_command, tmp_path / "t.json"
    run.kernel.faults.fail("CreateCgroup", errno.EROFS)
    status, out, err = run("--trace", str(file), "create", "--bundle", str(run.bundle), "web")
    assert (status, out) == (1, "")
    assert "read-only file system" in err
    (failed,) = [one for one in events(file) if "failed" in one["args"]]
    assert failed["name"].startswith("CreateCgroup(")
    assert "read-only file system" in failed["args"]["failed"]
    assert names(file, "command") == ["create"]
    assert run.kernel.leaks() == []


def test_nothing_is_loaded_for_it_when_nobody_asks(tmp_path: Path) -> None:
    script = (
        f"import sys; sys.path[:0] = {[one for one in sys.path if one]!r}\n"
        "from orlop.cli.main import main\n"
        f"main(['--root', {str(tmp_path)!r}, 'list'])\n"
        "print([name for name in sys.modules if 'timeline' in name or 'drawing' in name], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


def test_the_timeline_is_drawn(orlop_command: CommandLine, tmp_path: Path) -> None:
    run, file = orlop_command, tmp_path / "t.json"
    run("--trace", str(file), "check", str(run.bundle))
    status, out, err = run("trace", str(file))
    assert (status, err) == (0, "")
    assert ET.fromstring(out).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - our own
    text = run("trace", "--format", "text", str(file))[1]
    assert [line.split()[2] for line in text.splitlines()][:2] == ["start", "check"]
    data = run.json("trace", "--format", "json", str(file))["spans"]
    assert len(data) == len(events(file)) == len(text.splitlines())
    (compose,) = [one for one in data if one["name"] == "compose"]
    assert compose["depth"] == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot read the trace: no such file or directory"),
        (b"[]", "expected an object"),
        (b"{}", "/traceEvents: expected an array of events"),
        (b'{"traceEvents": []}', "no event has the phase X"),
        (b'{"traceEvents": [5]}', "/traceEvents/0: expected an object"),
        (b'{"traceEvents": [{"ph": "X"}]}', "/traceEvents/0/ts: expected a number of microseconds"),
        (b'{"traceEvents": [{"ph": "X", "ts": 1, "dur": true}]}', "/traceEvents/0/dur: expected a number"),
        (b'{"traceEvents": [{"ph": "X", "ts": 1e300, "dur": 1}]}', "/traceEvents/0/ts: expected a number"),
    ],
)
def test_what_is_no_trace(
    orlop_command: CommandLine, tmp_path: Path, content: bytes | None, words: str
) -> None:
    file = tmp_path / "t.json"
    if content is not None:
        file.write_bytes(content)
    status, out, err = orlop_command("trace", str(file))
    assert (status, out) == (1, "")
    assert words in err
    assert err.count("\n") == 1


def test_a_trace_of_another_program_can_be_drawn(orlop_command: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    odd = [
        {"ph": "M", "name": "process_name"},
        {"ph": "X", "ts": 3, "dur": 5.5, "name": "<b>&", "cat": 7, "pid": "one", "args": [1]},
        {"ph": "X", "ts": 1, "dur": -3},
    ]
    file.write_text(json.dumps({"traceEvents": odd}))
    assert orlop_command("trace", str(file))[0] == 0
    assert len(orlop_command.json("trace", "-f", "json", str(file))["spans"]) == 2


@pytest.mark.parametrize("kind", ["missing directory", "link", "directory", "fifo"])
def test_a_place_where_no_trace_can_be_written_is_told_before_anything_is_done(
    orlop_command: CommandLine, tmp_path: Path, kind: str
) -> None:
    run, file = orlop_command, tmp_path / "t.json"
    if kind == "missing directory":
        file = tmp_path / "none/t.json"
    elif kind == "link":
        file.symlink_to(tmp_path / "other")
    elif kind == "directory":
        file.mkdir()
    else:
        os.mkfifo(file)
    status, out, err = run("--trace", str(file), "create", "--bundle", str(run.bundle), "web")
    assert (status, out) == (1, "")
    assert "for the trace" in err
    assert err.count("\n") == 1
    assert run("list", "-q") == (0, "", "")


def test_a_trace_is_replaced(orlop_command: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    file.write_text("x" * 1_000_000)
    orlop_command("--trace", str(file), "schema", "state")
    assert names(file, "command") == ["schema"]


def test_pictures_of_a_plan(orlop_command: CommandLine) -> None:
    status, out, err = orlop_command("explain", "--format", "svg", str(orlop_command.bundle))
    assert (status, err) == (0, "")
    assert ET.fromstring(out).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - our own
    status, out, err = orlop_command("explain", "--format", "mermaid", str(orlop_command.bundle))
    assert (status, err) == (0, "")
    assert out.startswith("flowchart TB\n")
