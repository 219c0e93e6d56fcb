"""The reference page says what the table says."""

from __future__ import annotations

from pathlib import Path

import pytest

from orlop.cli import help as texts
from orlop.cli.flags import Command
from orlop.cli.reference import page
from orlop.cli.table import COMMANDS, OPTIONS

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "cli.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "run `python -m orlop.cli.reference` into docs/reference/cli.md"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_help_and_page_name_every_flag(command: Command) -> None:
    shown = texts.of_command(command)
    for flag in command.flags:
        assert (f"--{flag.names[0]}" in shown) is not flag.hidden
        assert f"--{flag.names[0]}" in page()
    assert texts.usage(command) in shown


def test_the_overview_names_everything() -> None:
    shown = texts.overview()
    for command in COMMANDS:
        assert f"\n   {texts.names(command)} " in shown
    for flag in OPTIONS:
        assert f"--{flag.names[0]}" in shown
