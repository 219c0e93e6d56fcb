"""A composed runtime, as a contestant beside the installed command that composed it."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path


def compose(orlop: str, place: Path) -> Path:
    """Compose a runtime of the installed versions and return its path."""
    versions = {name: metadata.version(name) for name in ("orlop", "jeepney")}
    pins = "\n".join(f'{name} = "{version}"' for name, version in versions.items())
    manifest = place / "composed.toml"
    manifest.write_text(f'profile = "docker-like"\n[distributions]\n{pins}\n')
    made = place / "composed"
    subprocess.run([orlop, "compose", str(manifest), "-o", str(made)], check=True, stdout=subprocess.DEVNULL)
    return made
