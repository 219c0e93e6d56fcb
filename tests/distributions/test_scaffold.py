"""``orlop plugin new``: what it writes can be installed, tested and checked as it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.distributions.installed import Installed
from tests.unit.cli.conftest import CommandLine, orlop_command

from orlop.scaffold import scaffold
from orlop_hookspecs.errors import UsageError

__all__ = ["orlop_command"]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a distribution that was just begun."""
    place = tmp_path_factory.mktemp("scaffold") / "fast-card"
    scaffold("fast-card", str(place))
    return place


@pytest.fixture(scope="module")
def installed(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(made, tmp_path_factory.mktemp("site"))


def test_its_own_tests_pass(installed: Installed) -> None:
    assert "12 passed" in installed.test()


def test_it_keeps_the_contract(installed: Installed) -> None:
    done = installed.orlop("plugin", "check", "--verbose", "fast-card")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("plugin fast-card 0.1.0 (fast_card.plugin of fast_card-0.1.0), contract ")
    for rule in (
        "owns-what-it-changes",
        "refuses-what-it-says",
        "undoes-everything-at-every-fault",
        "is-typed",
    ):
        assert f"  passed   {rule}\n" in done.stdout
    assert " 0 broken" in done.stdout


def test_it_is_in_the_composition_and_in_the_features(installed: Installed) -> None:
    listed = installed.orlop("plugins")
    assert any(line.startswith("fast-card ") and "active" in line for line in listed.stdout.splitlines())
    assert '"com.example.fast-card.devices": "8"' in installed.orlop("features").stdout


def test_it_has_the_style_of_the_house(made: Path) -> None:
    ruff = Path(sys.executable).with_name("ruff")
    if not ruff.exists():
        pytest.skip("needs ruff, which the environments of other Pythons lack")
    rules = ["--isolated", "--line-length", "110", "--select", "E,F,W,UP,B,D,ANN,SIM,RUF,PL,TC"]
    ignored = ["--ignore", "D1,D203,D213,ANN401,PLR2004,D100,RUF001", "--target-version", "py311"]
    done = subprocess.run(
        [str(ruff), "check", "--no-cache", *rules, *ignored, str(made)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "@" not in "".join(
        line for file in made.rglob("*.md") for line in file.read_text().splitlines() if "://" not in line
    )


@pytest.mark.parametrize("name", ["", "Fast", "9card", "fast_card", "-x", "x-", "a--b", "../x", "fast card"])
def test_names_that_cannot_be_used(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lower-case letters"):
        scaffold(name, str(tmp_path / "x"))
    assert not (tmp_path / "x").exists()


def test_names_and_places_that_are_taken(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="installed already, by orlop"):
        scaffold("rdma", str(tmp_path / "x"))
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        scaffold("fast-card", str(tmp_path))
    with pytest.raises(UsageError, match="not a directory"):
        scaffold("fast-card", str(tmp_path / "file"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_the_command_prints_what_it_has_written(orlop_command: CommandLine, tmp_path: Path) -> None:
    place = tmp_path / "new"
    status, out, err = orlop_command("plugin", "new", "--directory", str(place), "fast-card")
    assert (status, err) == (0, "")
    written = {Path(line).relative_to(place).as_posix() for line in out.splitlines()}
    assert written == {file.relative_to(place).as_posix() for file in place.rglob("*") if file.is_file()}
    assert {"pyproject.toml", "README.md", "src/fast_card/plugin.py", "tests/test_plugin.py"} <= written
    other = str(tmp_path / "other")
    said = orlop_command.json("plugin", "new", "--format", "json", "--directory", other, "fast-card")
    assert said["name"] == "fast-card"
    assert {Path(file).relative_to(other).as_posix() for file in said["files"]} == written
