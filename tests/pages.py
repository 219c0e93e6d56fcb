"""Doing what a page of the documentation says: its files are written, its commands run and print that."""

from __future__ import annotations

import fnmatch
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

# Seconds for one command; only a hang takes them.
PATIENCE = 600
_BLOCK = re.compile(
    r"^```(?:console|\{code-block\} \w+\n:caption: (?P<file>\S+)\n)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Yield the file that each block is written to, empty for commands, and its text."""
    for found in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        yield found["file"] or "", found["text"]


def commands(text: str) -> list[tuple[str, list[str]]]:
    """Return the commands of a block with what each prints."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def run(text: str, place: Path, environment: Mapping[str, str]) -> int:
    """Run the commands of a block in the directory *place* and return how many there were.

    Three dots in what the page shows stand for anything, at the end of a line for further lines, too.

    Raises:
        AssertionError: One prints something else.
    """
    found = commands(text)
    for command, expected in found:
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=place,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        pattern = "".join(line.replace("[", "[[]").replace("...", "*") + "\n" for line in expected)
        assert fnmatch.fnmatchcase(done.stdout, pattern.replace("*\n", "*")), (
            f"$ {command}\n{done.stdout}\nexpected:\n{pattern}"
        )
    return len(found)
