"""Manual pages are made from the table, in a language that formatters accept."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.unit.cli.conftest import CommandLine

from orlop.cli.flags import Command
from orlop.cli.help import ENVIRONMENT, meaning, spelling
from orlop.cli.manual import name_of, page
from orlop.cli.table import COMMANDS, OPTIONS


def shown(text: str) -> str:
    """Return a page as a formatter shows it, in one line; the formatter must have nothing to complain of."""
    if shutil.which("groff") is None:
        pytest.skip("needs groff")
    done = subprocess.run(
        ["groff", "-man", "-Tascii", "-P-c", "-ww", "-rLL=400n"],
        input=text,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    plain = re.sub(".[\b]", "", done.stdout)  # bold is a letter struck twice
    return " ".join(plain.split())


@pytest.mark.parametrize("command", [None, *COMMANDS], ids=lambda one: one.name if one else "whole")
def test_a_formatter_shows_everything(command: Command | None) -> None:
    text = shown(page(command))
    flags = command.flags if command else OPTIONS
    for flag in flags:
        entry = f"{spelling(flag)} {meaning(flag)}"
        assert (" ".join(entry.split()) in text) is not flag.hidden
    assert all(f"{name} {what}" in text for name, what in ENVIRONMENT if command is None)
    for one in COMMANDS if command is None else [command]:
        assert f"{name_of(one)}" in text
        assert one.summary in text


def test_the_command_prints_a_page(orlop_command: CommandLine) -> None:
    assert orlop_command("manual") == (0, page(), "")
    assert orlop_command("manual", "run") == (0, page(next(c for c in COMMANDS if c.name == "run")), "")


def test_the_command_writes_all_pages(orlop_command: CommandLine, tmp_path: Path) -> None:
    place = tmp_path / "man8"
    place.mkdir()
    assert orlop_command("manual", "--directory", str(place)) == (0, "", "")
    expected = {"orlop.8", *(f"orlop-{command.name}.8" for command in COMMANDS)}
    assert {file.name for file in place.iterdir()} == expected
    assert (place / "orlop.8").read_text() == page()


def test_bad_input(orlop_command: CommandLine, tmp_path: Path) -> None:
    for arguments, word in (
        (("manual", "absent"), "'absent'"),
        (("manual", "--directory", str(tmp_path / "absent")), "no such file or directory"),
        (("manual", "--directory", str(tmp_path), "run"), "'run'"),
    ):
        status, out, err = orlop_command(*arguments)
        assert (status, out, err.count("\n")) == (1, "", 1)
        assert word in err
    assert not list(tmp_path.glob("*.8"))
