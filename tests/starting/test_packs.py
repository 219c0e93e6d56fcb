"""What the launcher loads at once: what an ordinary command needs, and nothing that a rare one does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.starting.test_launcher import Prefix, packed

__all__ = ["packed"]

ORDER = """
import sys
from marshal import load
with open(sys.argv[1], "rb") as file:
    first, rest = load(file)[2]
print(*first)
print(*rest)
"""


def order(prefix: Prefix, kind: str) -> tuple[list[str], list[str]]:
    """Return what is loaded at once by the pack of a kind, before and after the platform has begun."""
    place = next(prefix.site.rglob(f"{kind}.*.pack"))
    done = subprocess.run(
        [sys.executable, "-c", ORDER, str(place)], capture_output=True, text=True, check=True
    )
    first, rest = done.stdout.splitlines()
    return first.split(), rest.split()


def test_what_is_loaded_at_once_is_what_an_ordinary_command_needs(packed: Prefix, tmp_path: Path) -> None:
    line = ("--root", str(packed.path / "state"), "delete", "--force", "nobody")
    assert packed.run(*line).returncode == 0
    assert order(packed, "delete") == ([], [])  # loaded from sources: with what only type checkers read
    assert packed.run(*line).returncode == 0
    first, rest = order(packed, "delete")
    assert {"orlop.cli.main", "orlop.cli.commands.delete", "orlop.lifecycle.delete"} <= set(first)
    assert rest == []
    assert {"typing", "enum", "re", "orlop.cli.pack", "orlop.cli.boot"}.isdisjoint(first)
    # What a line with a rare flag loads is packed, at most, and not loaded by every other line.
    trace = ("--trace", str(tmp_path / "trace"))
    assert packed.run(*trace, *line).returncode == 0
    assert packed.run("--log-level", "debug", "--log", str(tmp_path / "log"), *line).returncode == 0
    assert order(packed, "delete") == (first, rest)
