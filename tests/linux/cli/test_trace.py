"""Timelines of commands on the real kernel, by the installed command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.linux.cli.conftest import Bundle, Runtime


def events(file: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(file.read_text())["traceEvents"]
    return found


def names(file: Path, category: str) -> set[str]:
    return {one["name"].partition("(")[0] for one in events(file) if one["cat"] == category}


def test_a_whole_life_is_recorded_and_lives_as_without(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    bundle.configure(args=["/bin/sh", "-c", "exit 7"])
    file, output = tmp_path / "t.json", tmp_path / "output"
    done = run("--trace", str(file), "run", "--bundle", str(bundle), "one", output=output)
    assert done.returncode == 7, output.read_text()
    assert {"clone", "build", "commit"} <= names(file, "step")
    assert {"identity", "sandbox", "start"} <= names(file, "kernel")
    assert "append journal" in names(file, "store")
    assert "orlop_plan mounts" in names(file, "plugin")
    assert names(file, "command") == {"run"}
    (build,) = [one for one in events(file) if one["name"] == "build"]
    (whole,) = [one for one in events(file) if one["cat"] == "command"]
    assert 0 < build["dur"] < whole["dur"]
    assert run.names() == []
    drawn = run("trace", str(file))
    assert (drawn.returncode, drawn.stderr) == (0, "")
    assert drawn.stdout.startswith("<svg ")


def test_a_command_that_loads_no_plugin_is_recorded_too(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    assert run("create", "--bundle", str(bundle), "one", output=tmp_path / "output").returncode == 0
    for command, expected in (
        (["start", "one"], "start"),
        (["state", "one"], "status"),
        (["kill", "one", "KILL"], "signal"),
        (["delete", "--force", "one"], "undo cgroup"),
    ):
        assert run("--trace", str(file), *command).returncode == 0
        assert expected in names(file, "kernel"), command
        assert names(file, "plugin") == set()
