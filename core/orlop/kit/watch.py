"""Noticing what a plugin's code does to the machine, by the audit events of the interpreter (PEP 578)."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

HARMLESS = (
    "import",
    "object.__",
    "code.__new__",
    "sys._getframe",
    "compile",
    "exec",
    "marshal.",
    "builtins.id",
)
"""Beginnings of the names of events that touch nothing outside of the interpreter."""

_watching = threading.local()
_installed: list[bool] = []


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    seen = getattr(_watching, "seen", None)
    if seen is not None and not event.startswith(HARMLESS):
        first = f" {arguments[0]!r:.100}" if arguments else ""
        seen.append(f"{event}{first}")


class Watch:
    """A stretch in which this thread is watched; :attr:`seen` lists the events in their order."""

    def __init__(self) -> None:
        """Begin with nothing; the interpreter's hook, which cannot be taken away, is added once."""
        self.seen: list[str] = []
        if not _installed:
            _installed.append(True)
            sys.addaudithook(_hook)

    def __enter__(self) -> Self:
        """Begin to watch."""
        _watching.seen = self.seen
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        _watching.seen = None
