"""The tutorial on composing does what it says: its files are written and its commands run, in its order."""

from __future__ import annotations

import os
import re
import shlex
import sys
from importlib import metadata
from pathlib import Path

from tests import pages
from tests.engines.conftest import Podman

PAGE = Path(__file__).resolve().parents[2] / "docs/tutorial/compose-a-runtime.md"

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


def test_the_page_does_what_it_says(podman: Podman) -> None:
    place = podman.scratch / "work"
    place.mkdir()
    around = environment(podman)
    ran = 0
    for file, text in pages.blocks(PAGE):
        if not file:
            ran += pages.run(text, place, around)
            continue
        pinned = text
        for name in ("orlop", "jeepney"):
            pinned = re.sub(f'(?m)^{name} = ".*"$', f'{name} = "{metadata.version(name)}"', pinned)
        (place / file).write_text(pinned)
    assert ran >= 15
