"""The same commands for orlop, runc and crun, and what an engine would notice of each.

python -m tests.engines.comparison            what differs now, as rows for differences.toml
python -m tests.engines.comparison --page     the reference page made of differences.toml
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.engines.cases import CASES
from tests.engines.daemon import until
from tests.engines.world import World

HERE = Path(__file__).resolve().parent
DATA = HERE / "differences.toml"
PAGE = HERE.parent.parent / "docs/reference/differences.md"
ASPECTS = ("status", "words", "output")
PEERS = ("runc", "crun")

# What callers look for in messages, without regard to case (podman, containerd's shim, CRI-O, dockerd).
WORDS = (
    *("does not exist", "already exists", "not running", "no such process", "executable file not found in"),
    *("no such file or directory", "permission denied", "is not stopped", "already running", "has stopped"),
    *("paused", "requires", "flag needs an argument"),
)


class Seen(NamedTuple):
    """What an engine would notice of a command."""

    status: str
    words: str
    output: str


def observe(name: str, command: str, scratch: Path) -> dict[str, Seen]:
    """Run the sequence with one runtime and return what was seen of each case."""
    world = World(name, command, scratch)
    found = {}
    try:
        for case in CASES:
            status, text = world(case.arguments, notify=case.notify)
            try:
                output = case.view(world, text)
            except (ValueError, KeyError, IndexError, OSError) as error:
                output = f"nothing that can be read: {type(error).__name__}"
            said = world.last.lower()
            words = ", ".join(word for word in WORDS if word in said)
            shown = output if isinstance(output, str) else json.dumps(output)
            found[case.name] = Seen(str(status), words, shown)
            if case.name == "kill":
                until(lambda: world(("state", "one"))[1].find('"stopped"') > 0, lambda: world.last)
    finally:
        world.close()
    return found


class Row(NamedTuple):
    """A difference."""

    case: str
    aspect: str
    peer: str
    ours: str
    theirs: str


def differences(ours: dict[str, Seen], peer: str, theirs: dict[str, Seen]) -> Iterator[Row]:
    """Yield what is not the same."""
    for case, seen in ours.items():
        for aspect in ASPECTS:
            one, other = getattr(seen, aspect), getattr(theirs[case], aspect)
            if one != other:
                yield Row(case, aspect, peer, one, other)


def observed(orlop: str) -> list[Row]:
    """Run everything and return all differences."""
    with tempfile.TemporaryDirectory(prefix="oe-x-") as directory:
        scratch = Path(directory)
        ours = observe("orlop", orlop, scratch / "orlop")
        rows: list[Row] = []
        for peer in PEERS:
            found = shutil.which(peer)
            assert found, f"{peer} is not installed"
            rows += differences(ours, peer, observe(peer, found, scratch / peer))
        return rows


def listed() -> dict[Row, str]:
    """Return the differences that are known, each with its reason."""
    data: dict[str, Any] = tomllib.loads(DATA.read_text())
    return {
        Row(*(one[field] for field in Row._fields)): data["reasons"][one["why"]] for one in data["difference"]
    }


_HEAD = """\
<!-- Made by `make pages`; a test compares it with tests/engines/differences.toml. -->

# Differences from runc and crun

{count} commands are run with orlop, and with runc and crun as Debian 12 has them (1.1.5 and 1.8.1). Of each,
three things are compared that a caller may look at: the exit status, which of the words that engines look for
are in the messages, and what was printed or done, as a program reads it. All that differs is on this page,
with the reason; a difference that is not here fails a test.

Words are looked for without regard to case: {words}.
"""


def _cell(text: str) -> str:
    shown = text.replace("|", "\\|").replace("\n", " ").strip()
    return f"`{shown}`" if shown else "(nothing)"


def page() -> str:
    """Return the reference page."""
    known = listed()
    words = ", ".join(f"`{word}`" for word in WORDS)
    parts = [_HEAD.format(count=len(CASES), words=words)]
    lines = {case.name: " ".join(case.arguments) for case in CASES}
    for peer in PEERS:
        rows = [(row, why) for row, why in known.items() if row.peer == peer]
        parts.append(
            f"\n## {peer}\n\n{len({row.case for row, _ in rows})} of {len(CASES)} commands differ.\n"
        )
        for why in dict.fromkeys(why for _, why in rows):
            parts.append(f"\n{why}\n\n| Command | What | orlop | {peer} |\n|---|---|---|---|\n")
            for row, _ in ((row, reason) for row, reason in rows if reason == why):
                command = _cell(lines[row.case]) if lines[row.case] else ""
                cells = f"{_cell(row.ours)} | {_cell(row.theirs)}"
                parts.append(f"| {row.case}: {command} | {row.aspect} | {cells} |\n".replace(": |", " |"))
    return "".join(parts)


if __name__ == "__main__":
    if "--page" in sys.argv:
        sys.stdout.write(page())
    else:
        for row in observed(str(Path(sys.executable).parent / "orlop")):
            sys.stdout.write("[[difference]]\n")
            for field, value in row._asdict().items():
                sys.stdout.write(f"{field} = {json.dumps(value)}\n")
            sys.stdout.write('why = ""\n\n')
