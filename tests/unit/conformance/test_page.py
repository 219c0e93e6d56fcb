"""The page of results: what is not clean anywhere has a reason, and every reason belongs to a program."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[3] / "docs/reference/conformance.md"
HOST, GUEST, NOTE = (1, 2), 7, 9


def rows() -> dict[str, list[str]]:
    lines = PAGE.read_text().splitlines()
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")
    ]
    return {row[0].strip("`"): row for row in cells}


def reasons() -> set[str]:
    return set(re.findall(r"^- \*\*([A-Z])\*\* ", PAGE.read_text(), re.MULTILINE))


def test_each_program_is_clean_somewhere_or_has_a_reason() -> None:
    table = rows()
    assert len(table) == 58
    for program, row in table.items():
        assert "clean" in (row[HOST[0]], row[HOST[1]], row[GUEST]) or row[NOTE], program


def test_the_count_is_that_of_the_table() -> None:
    clean = sum("clean" in (row[HOST[0]], row[HOST[1]], row[GUEST]) for row in rows().values())
    assert f"{clean} of the 58 programs are clean with orlop" in PAGE.read_text()


def test_reasons_and_notes_belong_together() -> None:
    assert {row[NOTE] for row in rows().values() if row[NOTE]} == reasons()
