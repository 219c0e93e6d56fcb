"""Settings of the command line: a file that is named, or the one of the system."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orlop.cli import context
from orlop.cli.main import main
from orlop.composing.profiles import plugins_of
from orlop.settings import read_system_settings
from orlop_hookspecs.errors import UsageError


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the place of the system's settings, where nothing is yet."""
    place = tmp_path / "runtime.toml"
    monkeypatch.setattr(context, "SYSTEM_SETTINGS", str(place))
    return place


def active(capfd: pytest.CaptureFixture[str], *arguments: str) -> set[str]:
    assert main([*arguments, "plugins", "--format", "json"]) == 0
    return {one["name"] for one in json.loads(capfd.readouterr().out) if one["state"] == "active"}


def error(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 1
    (line,) = capfd.readouterr().err.splitlines()
    return line


def test_a_profile_and_more(system: Path, capfd: pytest.CaptureFixture[str]) -> None:
    everything = active(capfd)
    system.write_text('profile = "minimal"\nplugins = ["sysctl"]\n')
    assert active(capfd) == {"linux", "sysctl", *plugins_of("minimal")} < everything


def test_what_stays_out(system: Path, capfd: pytest.CaptureFixture[str]) -> None:
    everything = active(capfd)
    system.write_text('block = ["seccomp"]\n')
    assert active(capfd) == everything - {"seccomp"}


def test_a_file_that_is_named_counts_instead(
    system: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    everything = active(capfd)
    system.write_text("nonsense")
    other = tmp_path / "other.toml"
    other.write_text('block = ["hooks"]\n')
    assert active(capfd, "--runtime-config", str(other)) == everything - {"hooks"}
    assert active(capfd, "--runtime-config", "/dev/null") == everything


def test_a_choice_on_the_command_line_stands_alone(system: Path, capfd: pytest.CaptureFixture[str]) -> None:
    everything = active(capfd)
    system.write_text('profile = "minimal"\nblock = ["rlimits"]\n')
    assert active(capfd, "--plugins", "rlimits,sysctl") == {"linux", "rlimits", "sysctl"}
    assert active(capfd, "--plugins", "-hooks") == everything - {"hooks"}


def test_the_state_root(system: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "state"
    system.write_text(f'root = "{root}"\n')
    root.mkdir(mode=0o777)
    root.chmod(0o777)
    assert str(root) in error(capfd, "list")
    assert error(capfd, "state", "nobody").count(str(root)) == 1
    (tmp_path / "another").mkdir(mode=0o700)
    assert main(["--root", str(tmp_path / "another"), "list"]) == 0
    root.chmod(0o700)
    assert main(["list"]) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plugins = 3\n", "expected a list of names for plugins (value: 3)"),
        ("plugins = [3]\n", "expected a list of names for plugins (value: [3])"),
        ("root = 3\n", "expected a text for root (value: 3)"),
        ('profile = ["minimal"]\n', "expected a text for profile"),
        ("plugin = []\n", "unknown setting: plugin"),
        ("= 3\n", "malformed settings: "),
        ('profile = "large"\n', "no such profile (value: 'large'); there are: docker-like, "),
        ('platform = "moon"\n', "no plugin supplies platform moon"),
        ("[kernel]\nspeed = 3\n", "the linux platform has no option speed"),
    ],
)  # fmt: skip
def test_bad_settings(
    text: str, expected: str, system: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    system.write_text(text)
    line = ["create", "-b", str(tmp_path), "one"] if "kernel" in text else ["features"]
    if "kernel" in text:
        line = ["--root", str(tmp_path / "state"), *line]
        (tmp_path / "config.json").write_text('{"ociVersion": "1.0.2", "root": {"path": "."}}')
    assert expected in error(capfd, *line)


def test_a_missing_file_that_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    place = str(tmp_path / "none.toml")
    assert f"{place}: cannot read the settings: no such file" in error(
        capfd, "--runtime-config", place, "list"
    )


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_settings_that_others_can_change_are_refused(mode: int, tmp_path: Path) -> None:
    place = tmp_path / "runtime.toml"
    place.write_text("")
    place.chmod(0o644)
    assert read_system_settings(str(place)) == {}
    place.chmod(mode)
    with pytest.raises(UsageError, match="others can change the settings"):
        read_system_settings(str(place))


def test_settings_of_somebody_else_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "runtime.toml"
    place.write_text("")
    owner: Any = place.stat().st_uid
    monkeypatch.setattr("os.geteuid", lambda: owner + 1)
    if owner == 0:
        assert read_system_settings(str(place)) == {}
        return
    with pytest.raises(UsageError, match="others can change the settings"):
        read_system_settings(str(place))
