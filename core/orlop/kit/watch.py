"""Noticing what a plugin's code does to the machine, by the audit events of the interpreter (PEP 578)."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from orlop_hookspecs.host import HostDevice, HostView

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


class Unwatched:
    """A view of the host's files whose own system calls are not the plugin's."""

    def __init__(self, view: HostView) -> None:
        """Look through *view*."""
        self._view = view

    def _look(self, name: str, path: str) -> Any:  # noqa: ANN401 - what the view returns
        seen, _watching.seen = getattr(_watching, "seen", None), None
        try:
            return getattr(self._view, name)(path)
        finally:
            _watching.seen = seen

    def names(self, directory: str) -> Sequence[str]:
        """Return the names in a directory."""
        found: Sequence[str] = self._look("names", directory)
        return found

    def read(self, path: str) -> bytes:
        """Return the content of a file."""
        content: bytes = self._look("read", path)
        return content

    def device(self, path: str) -> HostDevice:
        """Return a device node."""
        found: HostDevice = self._look("device", path)
        return found
