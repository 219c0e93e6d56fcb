"""What a command is given: its line, where it reports to, and the containers that it works on."""

from __future__ import annotations

import os

from orlop import entrypoints
from orlop.lifecycle.site import Site
from orlop.store.directory import DirectoryStore
from orlop.store.root import absolute, default_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol

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


SYSTEM_SETTINGS = "/etc/orlop/runtime.toml"
"""Settings of the installed command, where ``--runtime-config`` names no others."""


class Context:
    """One call of one command."""

    __slots__ = ("_settings", "line", "parts", "recorder", "report")

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
        self._settings: Mapping[str, Any] | None = None

    @property
    def id(self) -> str:
        """The container that the command is about."""
        return self.line.arguments[0]

    @property
    def root(self) -> str:
        """The state root: ``--root``, else that of the settings, else the caller's."""
        return absolute(self.line.option("root") or self.settings().get("root") or default_root())

    def settings(self) -> Mapping[str, Any]:
        """Return the settings: those of ``--runtime-config``, else those of the system.

        Those of the system are for the installed command on this host; a composed runtime is settled.

        Raises:
            UsageError: They cannot be read, or are malformed.
        """
        if self._settings is None:
            path = self.line.options.get("runtime-config")
            if path:
                from orlop.settings import read_settings

                self._settings = read_settings(str(path))
            elif self.parts is None and entrypoints.frozen is None and os.path.lexists(SYSTEM_SETTINGS):
                from orlop.settings import read_system_settings

                self._settings = read_system_settings(SYSTEM_SETTINGS)
            else:
                self._settings = {}
        return self._settings

    def site(self) -> Site:
        """Return the containers, without loading any plugin."""
        if self.parts is not None:
            site = self.parts.site(self.report.warning)
        else:
            site = Site(DirectoryStore(self.root), warn=self.report.warning)
        return site if self.recorder is None else self.recorder.site(site)
