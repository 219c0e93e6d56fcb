"""The tutorial on composing does what it says: its files are written and its commands run, in its order."""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from tests.engines.conftest import Podman

PAGE = Path(__file__).resolve().parents[2] / "docs/tutorial/compose-a-runtime.md"
_WAIT = 600
_BLOCK = re.compile(
    r"^```(?:console|\{code-block\} \w+\n:caption: (?P<file>\S+)\n)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)

# Limits that podman would raise beyond what this machine allows.
CONTAINERS = '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]\n'


def environment(podman: Podman) -> dict[str, str]:
    """Return an environment with the command under test, and podman on storage of its own."""
    programs = podman.scratch / "programs"
    programs.mkdir()
    base = [word for word in podman.base if not word.startswith("--runtime=")]
    orlop = f"{shlex.quote(sys.executable)} -c 'from orlop.cli.main import entry; entry()'"
    lines = {"orlop": f"exec {orlop}", "podman": f"PATH={os.environ['PATH']} exec {shlex.join(base)}"}
    for name, line in lines.items():
        program = programs / name
        program.write_text(f'#!/bin/sh\n{line} "$@"\n')
        program.chmod(0o755)
    settings = podman.scratch / "containers.conf"
    settings.write_text(CONTAINERS)
    path = f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin"
    return os.environ | {"PATH": path, "CONTAINERS_CONF": str(settings)}


def commands(text: str) -> list[tuple[str, list[str]]]:
    """Return the commands of a block with what each prints."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def test_the_page_does_what_it_says(podman: Podman) -> None:
    place = podman.scratch / "work"
    place.mkdir()
    around = environment(podman)
    ran = 0
    for found in _BLOCK.finditer(PAGE.read_text()):
        text = found["text"]
        if found["file"]:
            for name in ("orlop", "jeepney"):
                text = re.sub(f'(?m)^{name} = ".*"$', f'{name} = "{metadata.version(name)}"', text)
            (place / found["file"]).write_text(text)
            continue
        for command, expected in commands(text):
            ran += 1
            done = subprocess.run(
                ["/bin/sh", "-c", command],
                cwd=place,
                env=around,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=_WAIT,
            )
            pattern = "".join(line.replace("[", "[[]").replace("...", "*") + "\n" for line in expected)
            assert fnmatch.fnmatchcase(done.stdout, pattern), (
                f"$ {command}\n{done.stdout}\nexpected:\n{pattern}"
            )
    assert ran >= 15
