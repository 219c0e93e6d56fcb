"""What a command is given: its line, where it reports to, and the containers that it works on."""

from __future__ import annotations

import os

from orlop.lifecycle.site import Site
from orlop.store.directory import DirectoryStore
from orlop.store.root import default_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from orlop.cli.flags import Parsed
    from orlop.cli.report import Reporter
    from orlop.runtime import Runtime
    from orlop.timeline.record import Recorder

    class Parts(Protocol):
        """Where a command line finds its containers and its plugins, when that is not this host."""

        def site(self, warn: Callable[[str], None]) -> Site:
            """Return the containers."""

        def runtime(
            self, plugins: list[str] | None, block: list[str], warn: Callable[[str], None]
        ) -> Runtime:
            """Return the composition of *plugins* (``None``: all) but *block*, with the same containers."""


class Context:
    """One call of one command."""

    __slots__ = ("line", "parts", "recorder", "report")

    def __init__(
        self,
        line: Parsed,
        report: Reporter,
        parts: Parts | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        """Keep the parts; without *parts* the command works on this host, without *recorder* untimed."""
        self.line = line
        self.report = report
        self.parts = parts
        self.recorder = recorder

    @property
    def id(self) -> str:
        """The container that the command is about."""
        return self.line.arguments[0]

    @property
    def root(self) -> str:
        """The state root: ``--root``, else the caller's."""
        return os.path.abspath(self.line.option("root") or default_root())

    def site(self) -> Site:
        """Return the containers, without loading any plugin."""
        if self.parts is not None:
            site = self.parts.site(self.report.warning)
        else:
            site = Site(DirectoryStore(self.root), warn=self.report.warning)
        return site if self.recorder is None else self.recorder.site(site)
