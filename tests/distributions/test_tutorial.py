"""The tutorial on vendor plugins does what it says: its commands are run, its files written, in its order."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest
from tests import pages

PAGE = Path(__file__).resolve().parents[2] / "docs/tutorial/vendor-plugin.md"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return an environment whose pip installs without a network into a directory of the test."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, how in {
        "pip": "-m pip",
        "pytest": "-m pytest -p no:cacheprovider -p no:xdist",
        "orlop": "-c 'from orlop.cli.main import entry; entry()'",
    }.items():
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {how} "$@"\n')
        program.chmod(0o755)
    site = str(tmp_path / "site")
    made = os.environ | {
        "PATH": f"{programs}:/usr/bin:/bin",
        "PYTHONPATH": site,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PIP_TARGET": site,
        "PIP_UPGRADE": "1",
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this one the other way round
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "XDG_RUNTIME_DIR": str(tmp_path),
    }
    made.pop("PYTEST_ADDOPTS", None)
    return made


@pytest.mark.skipif(sys.platform != "linux", reason="needs the shell and the sed of a Linux host")
def test_the_page_does_what_it_says(tmp_path: Path, environment: dict[str, str]) -> None:
    place = tmp_path / "work"
    place.mkdir()
    ran = 0
    for name, text in pages.blocks(PAGE):
        if name:
            file = place / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("\n" + text if name == "more.py" else text)
        else:
            ran += pages.run(text, place, environment)
    assert ran >= 20


def test_the_page_has_its_blocks() -> None:
    found = list(pages.blocks(PAGE))
    assert len(found) >= 10
    assert {"bundle/config.json", "more.py", "fast-card/tests/test_statistics.py"} == {
        name for name, _ in found if name
    }
