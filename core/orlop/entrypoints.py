"""Entry points of installed distributions, found without :mod:`importlib.metadata`, a costly import.

Only what the packaging standards fix is read: ``entry_points.txt`` in the ``.dist-info`` (or ``.egg-info``)
directories on :data:`sys.path`. The standard library is asked when a path holds something else than
directories, such as an archive.
"""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Stamp = tuple[int, int, int, int] | None
    Points = dict[
        tuple[str, str, tuple[str, ...]],
        tuple[tuple[tuple[str, Stamp], ...], tuple[tuple[str, str, str], ...]],
    ]
    """A question and the path that it was asked of: everything that was looked at, and the answer."""

_SUFFIXES = (".dist-info", ".egg-info")
_SIZE_LIMIT = 1 << 20
SETTLING = 2 * 10**9
"""Nanoseconds after which a change is sure to show in a time stamp: file systems keep coarse ones."""

known: Points = {}
"""Answers, for as long as nothing changes that was looked at; the launcher keeps them in its packs."""


settled: Any = None
"""What a pack holds of the composition of everything that is installed (:mod:`orlop.plugins.settled`)."""

frozen: dict[str, list[tuple[str, str, str]]] | None = None
"""All entry points of a composed runtime, by group; nothing is searched for then."""


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
    if frozen is not None:
        every = [EntryPoint(*parts) for parts in frozen.get(group, ())]
        return [point for point in every if point.name == first] if first else every
    question = group, first, tuple(sys.path)
    answer = known.get(question)
    if answer is not None and all(stamp(path) == then for path, then in answer[0]):
        return [EntryPoint(*parts) for parts in answer[1]]
    looked: dict[str, Stamp] = {}
    found = _find(group, first, looked)
    newest = max((one[0] for one in looked.values() if one), default=0)
    if looked and newest < time.time_ns() - SETTLING:
        parts = tuple((point.name, point.value, point.distribution) for point in found)
        known[question] = tuple(looked.items()), parts
    return found


def _find(group: str, first: str, looked: dict[str, Stamp]) -> list[EntryPoint]:
    """Search; everything that the answer depends on is noted in *looked*, before it is read."""
    found: list[EntryPoint] = []
    seen: set[str] = set()
    archives = False
    for directory in sys.path:
        looked[directory or "."] = stamp(directory or ".")
        distributions = _distributions(directory or ".", preferred="orlop" if first else "")
        archives = archives or distributions is None
        for distribution in distributions or ():
            key = distribution.partition("-")[0].lower().replace(".", "_")
            if key in seen:
                continue
            seen.add(key)
            file = os.path.join(directory, distribution, "entry_points.txt")
            looked[file] = stamp(file)
            for name, value in _read(file, group):
                point = EntryPoint(name, value, distribution.rpartition(".")[0])
                if name == first:
                    return [point]
                found.append(point)
    if archives and not found:
        looked.clear()  # what is in archives is not looked at here
        found = _from_standard_library(group)
    return [point for point in found if point.name == first] if first else found


def stamp(path: str) -> Stamp:
    """Return by what a file is known not to have changed; ``None`` when it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_ctime_ns


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
