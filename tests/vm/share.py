"""The work tree and the installation of orlop, as they go into the guest."""

from __future__ import annotations

import io
import os
import tarfile
import tomllib
from pathlib import Path

from tests.vm.finish import ENVIRONMENT, site_packages
from tests.vm.machine import WORK
from tests.vm.recipe import ROOT

_LEFT_OUT = frozenset({".git", ".venv", "__pycache__", "build", "dist", "node_modules"})
_LEFT_OUT_ENDS = ("_cache", ".egg-info", ".pyc")
_PACKAGES = ("core", "hookspecs", "platforms/linux", "platforms/fake")


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mode |= 0o444 | (0o111 if member.isdir() or member.mode & 0o100 else 0)
    return member


def _add_tree(archive: tarfile.TarFile) -> None:
    for base, directories, files in os.walk(ROOT):
        directories[:] = sorted(
            name for name in directories if name not in _LEFT_OUT and not name.endswith(_LEFT_OUT_ENDS)
        )
        place = WORK[1:] + base.removeprefix(str(ROOT))
        for name in sorted(files):
            if not name.endswith(_LEFT_OUT_ENDS) and name not in _LEFT_OUT:
                archive.add(f"{base}/{name}", f"{place}/{name}", filter=_plain)


def _add_text(archive: tarfile.TarFile, name: Path, text: str, mode: int = 0o644) -> None:
    data = text.encode()
    member = tarfile.TarInfo(str(name).removeprefix("/"))
    member.size = len(data)
    member.mode = mode
    archive.addfile(member, io.BytesIO(data))


def _add_installation(archive: tarfile.TarFile, version: str) -> None:
    """Add what an editable installation consists of."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    packages = site_packages(version)
    information = packages / f"orlop-{project['version']}.dist-info"
    sections = []
    for group, entries in project["entry-points"].items():
        lines = [f"{name} = {value}" for name, value in entries.items()]
        sections.append("\n".join([f"[{group}]", *lines, ""]))
    metadata = f"Metadata-Version: 2.1\nName: orlop\nVersion: {project['version']}\n"
    _add_text(archive, information / "METADATA", metadata)
    _add_text(archive, information / "entry_points.txt", "\n".join(sections))
    _add_text(archive, packages / "_orlop.pth", "".join(f"{WORK}/{name}\n" for name in _PACKAGES))
    _add_text(archive, ENVIRONMENT / "bin/orlop", (ROOT / "scripts/orlop").read_text(), 0o755)


def pack(version: str) -> bytes:
    """Return an archive to be unpacked at the guest's root.

    Args:
        version: The minor version of the guest's Python.
    """
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        _add_tree(archive)
        _add_installation(archive, version)
    return data.getvalue()
