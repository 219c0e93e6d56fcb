"""Runtimes that are composed once, for all tests that look at them."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import attrs
import pytest

MINIMAL = """\
name = "tiny"
profile = "minimal"

[distributions]
{pins}
"""


def pins(*distributions: str) -> str:
    """Return the lines that pin *distributions* to what is installed."""
    return "".join(f'{name} = "{metadata.version(name)}"\n' for name in distributions)


def orlop(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line of the package under test."""
    program = "from orlop.cli.main import entry; entry()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        timeout=600,
    )


@attrs.frozen
class Composed:
    """A composed runtime."""

    path: Path
    manifest: Path
    report: str

    def run(self, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run one of its commands, in an empty environment."""
        return subprocess.run(
            [str(self.path), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env=env or {},
            timeout=600,
        )


def compose(directory: Path, text: str) -> Composed:
    """Compose what the manifest *text* says."""
    manifest = directory / "manifest.toml"
    manifest.write_text(text)
    path = directory / "runtime"
    done = orlop("compose", str(manifest), "--output", str(path), "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    return Composed(path, manifest, done.stdout)


@pytest.fixture(scope="session")
def minimal(tmp_path_factory: pytest.TempPathFactory) -> Composed:
    """Return a runtime of the profile ``minimal``."""
    return compose(tmp_path_factory.mktemp("minimal"), MINIMAL.format(pins=pins("orlop", "jeepney")))
