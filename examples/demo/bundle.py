"""Make a small bundle out of what a Debian machine has: a static busybox, or the host's own shell."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

BUSYBOX = Path("/bin/busybox")
TOOLS = ("sh", "sleep", "hostname")

# The trap is set before the first line is written: whoever has read that line may send the signal.
PROGRAM = """
trap 'echo "container: SIGTERM, good bye"; exit 7' TERM
echo "container: process $$ on host $(hostname)"
sleep 1000 & wait $!
"""


def libraries(program: Path) -> list[Path]:
    """Return the shared libraries and the loader of *program*; none when it is linked statically."""
    listing = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False).stdout
    return [Path(found) for found in re.findall(r"(/\S+) \(0x", listing)]


def fill_root(root: Path) -> str:
    """Put a shell and its companions under *root*; return what they are."""
    binaries = root / "bin"
    binaries.mkdir(parents=True)
    if BUSYBOX.exists() and not libraries(BUSYBOX):
        shutil.copy(BUSYBOX, binaries / "busybox")
        for tool in TOOLS:
            (binaries / tool).symlink_to("busybox")
        return "Debian's static busybox"
    for tool in TOOLS:
        found = shutil.which(tool, path="/bin:/usr/bin")
        if found is None:
            continue
        shutil.copy(found, binaries / tool)
        for library in libraries(Path(found)):
            place = root / library.relative_to("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, place)
    return "the host's own shell and its libraries"


def make_bundle(bundle: Path, config: dict[str, Any], program: list[str]) -> str:
    """Make *bundle* with *config*, changed to run *program*; return what its root file system holds."""
    tools = fill_root(bundle / config["root"]["path"])
    config["process"]["terminal"] = False
    config["process"]["args"] = program
    config["hostname"] = "demo"
    (bundle / "config.json").write_text(json.dumps(config, indent=2))
    return tools
