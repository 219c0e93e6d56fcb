"""What there is to prove: every property of a config that means something on Linux, and every named MUST."""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
REVIEWED = HERE.parent / "unit/documents/properties.txt"

ELSEWHERE = ("freebsd", "solaris", "vm", "windows", "zos")
"""Sections of config.json that are other platforms'."""


class Property(NamedTuple):
    """A property that has no properties of its own."""

    path: str
    """Its path: ``[]`` stands for the elements of an array, ``*`` for the keys of a map."""
    kind: str
    """Its JSON type."""
    limits: str
    """What the document's classes say of its values: a range, words, a pattern; may be empty."""

    @property
    def handle(self) -> str:
        """Its path as plugins write it in their handles."""
        return self.path.replace(".*", "{}")


class Must(NamedTuple):
    """A requirement of the specification."""

    name: str
    """What code, tests and the table call it."""
    where: str
    """Document and section."""
    gist: str
    """What is required, in a few words."""
    by: tuple[str, ...]
    """The plugins that fulfil it, or ``core``; of the engines' contract: who relies on it."""
    tests: tuple[str, ...]
    """What proves it: file, ``::``, function, and in brackets the case of a parametrized one."""


@functools.cache
def properties() -> dict[str, Property]:
    """Return the properties, by path."""
    found: dict[str, tuple[str, str]] = {}
    for line in REVIEWED.read_text(encoding="utf-8").splitlines():
        document, path, kind, limits = f"{line} ".split(" ", 3)
        if document == "config":
            found[path.replace("!", "")] = kind, limits.strip()
    parents = {path[: -len(tail)] for path in found for tail in _tails(path)}
    return {
        path: Property(path, kind, limits)
        for path, (kind, limits) in found.items()
        if path not in parents and path.split(".")[0] not in ELSEWHERE
    }


def _tails(path: str) -> list[str]:
    """Return the endings of a path whose removal gives the path of something that it is a part of."""
    last = path.rpartition(".")[2]
    tails = [f".{last}"]
    while last.endswith("[]"):
        tails.append("[]")
        last = last[:-2]
    return tails


@functools.cache
def musts() -> dict[str, Must]:
    """Return the named requirements, by name."""
    return _read(HERE / "musts.toml")


@functools.cache
def contract() -> dict[str, Must]:
    """Return what engines count on, by name."""
    return _read(HERE.parent / "engines/contract.toml")


def _read(file: Path) -> dict[str, Must]:
    data = tomllib.loads(file.read_text(encoding="utf-8"))
    return {
        name: Must(name, one["where"], one["gist"], tuple(one["by"]), tuple(one["tests"]))
        for name, one in data.items()
    }
