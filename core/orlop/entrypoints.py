"""Entry points of installed distributions, found without :mod:`importlib.metadata`, a costly import.

Only what the packaging standards fix is read: ``entry_points.txt`` in the ``.dist-info`` (or ``.egg-info``)
directories on :data:`sys.path`. The standard library is asked when a path holds something else than
directories, such as an archive.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_SUFFIXES = (".dist-info", ".egg-info")
_SIZE_LIMIT = 1 << 20


class EntryPoint:
    """One entry point: its name, what it refers to (``module`` or ``module:attribute``), and its home."""

    __slots__ = ("distribution", "name", "value")

    def __init__(self, name: str, value: str, distribution: str) -> None:
        """Keep the parts."""
        self.name = name
        self.value = value
        self.distribution = distribution

    def load(self) -> object:
        """Import the module and return the object that is referred to."""
        module, _, attribute = self.value.partition(":")
        module = module.strip()
        __import__(module)
        target: object = sys.modules[module]
        for part in attribute.split("[")[0].strip().split("."):
            if part:
                target = getattr(target, part)
        return target

    def __repr__(self) -> str:
        """Return the entry point as it is written, with its distribution."""
        return f"<EntryPoint {self.name} = {self.value} of {self.distribution}>"


def entry_points(group: str, *, first: str = "") -> list[EntryPoint]:
    """Return the entry points of *group*, by :data:`sys.path` and, in one directory, by distribution.

    Args:
        group: Name of the group.
        first: Return only this name, and look into distributions whose own name starts with ``orlop`` before
            others.
    """
    found: list[EntryPoint] = []
    seen: set[str] = set()
    archives = False
    for directory in sys.path:
        distributions = _distributions(directory or ".", preferred="orlop" if first else "")
        archives = archives or distributions is None
        for distribution in distributions or ():
            key = distribution.partition("-")[0].lower().replace(".", "_")
            if key in seen:
                continue
            seen.add(key)
            for name, value in _read(os.path.join(directory, distribution, "entry_points.txt"), group):
                point = EntryPoint(name, value, distribution.rpartition(".")[0])
                if name == first:
                    return [point]
                found.append(point)
    if archives and not found:
        found = _from_standard_library(group)
    return [point for point in found if point.name == first] if first else found


def _distributions(directory: str, *, preferred: str) -> list[str] | None:
    """Return the metadata directories in *directory*, sorted; ``None`` when it is no directory but a file."""
    try:
        names = os.listdir(directory)
    except NotADirectoryError:
        return None
    except OSError:
        return []
    found = sorted(name for name in names if name.endswith(_SUFFIXES))
    if preferred:
        found.sort(key=lambda name: not name.startswith(preferred))
    return found


def _read(path: str, group: str) -> Iterator[tuple[str, str]]:
    try:
        with open(path, "rb") as file:
            text = file.read(_SIZE_LIMIT).decode("utf-8", "replace")
    except OSError:
        return
    if f"[{group}]" not in text:
        return
    inside = False
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("["):
            inside = line == f"[{group}]"
        elif inside and "=" in line and line[0] not in "#;":
            name, _, value = line.partition("=")
            yield name.strip(), value.strip()


def _from_standard_library(group: str) -> list[EntryPoint]:
    from importlib import metadata

    return [
        EntryPoint(point.name, point.value, point.dist.name if point.dist else "")
        for point in metadata.entry_points(group=group)
    ]
