"""Control files as figures, and how figures are collected."""

from __future__ import annotations

import os
from typing import Any

from orlop_linux.live.cgroups import read_file

HUGE = 0x7FFF_FFFF_FFFF_0000
"""What v1 shows for "no limit" is a number of whole pages above this."""


class Files:
    """The control files of one open cgroup; what does not exist reads as nothing."""

    def __init__(self, fd: int) -> None:
        """Borrow *fd*."""
        self.fd = fd

    def text(self, name: str) -> str:
        """Return what a file says; nothing when it cannot be read."""
        try:
            return read_file(self.fd, name)
        except OSError:
            return ""

    def word(self, name: str) -> str | None:
        """Read a file of one word; ``None`` when it is empty or not there."""
        return self.text(name).strip() or None

    def number(self, name: str) -> int | None:
        """Read a file of one number."""
        text = self.text(name).strip()
        return int(text) if text.lstrip("-").isascii() and text.lstrip("-").isdigit() else None

    def flat(self, name: str) -> dict[str, int]:
        """Read ``key value`` lines."""
        lines = (line.split() for line in self.text(name).splitlines())
        return {parts[0]: int(parts[1]) for parts in lines if len(parts) == 2 and parts[1].isdigit()}

    def nested(self, name: str) -> dict[str, dict[str, int | str | None]]:
        """Read ``name key=value key=value`` lines."""
        result: dict[str, dict[str, int | str | None]] = {}
        for line in self.text(name).splitlines():
            first, *pairs = line.split()
            values = result.setdefault(first, {})
            for pair in pairs:
                key, _, value = pair.partition("=")
                values[key] = None if value == "max" else int(value) if value.isdigit() else value
        return result

    def names(self, prefix: str) -> list[str]:
        """Return the names of the files that begin with *prefix*."""
        return sorted(name for name in os.listdir(self.fd) if name.startswith(prefix))


def put(found: dict[str, Any], controller: str, **figures: Any) -> None:  # noqa: ANN401 - numbers, maps
    """Keep the *figures* that there are."""
    known = {key: value for key, value in figures.items() if value is not None}
    if known:
        found.setdefault(controller, {}).update(known)


def with_limit(found: dict[str, Any], controller: str, name: str, text: str) -> None:
    """Keep a limit, ``None`` when there is none."""
    text = text.strip()
    if text:
        found.setdefault(controller, {})[name] = limit_of(text)


def limit_of(text: str) -> int | None:
    """Return the limit that *text* says; ``None``: there is none."""
    value = int(text) if text.isdigit() else None
    return None if value is None or value >= HUGE else value
