"""Installing a distribution without a network, into a directory of its own, and running programs with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_WAIT = 600


class Installed:
    """A distribution in a directory that only the programs that are run here see."""

    def __init__(self, source: Path, place: Path) -> None:
        """Build the distribution in *source* and install it at *place*."""
        self.source = source
        self.place = place
        command = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-build-isolation"]
        done = self._run(*command, "--no-deps", "--no-index", "--target", str(place), str(source))
        assert done.returncode == 0, done.stderr

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        # Bytecode beside the sources of the repository is not for a test to write; neither is a cache.
        environment = os.environ | {"PYTHONPATH": str(self.place), "PYTHONDONTWRITEBYTECODE": "1"}
        environment.pop("PYTEST_ADDOPTS", None)
        return subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=_WAIT,
            env=environment,
            stdin=subprocess.DEVNULL,
            cwd=self.place,
        )

    def test(self) -> str:
        """Run the tests of the distribution; return what pytest says last."""
        options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", "error"]
        done = self._run("-m", "pytest", *options, f"--rootdir={self.source}", str(self.source / "tests"))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip().rpartition("\n")[2]

    def orlop(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command line with the distribution installed."""
        return self._run("-c", "from orlop.cli.main import entry; entry()", *arguments)
