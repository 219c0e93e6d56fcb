"""The bench: where the conformance kit lets containers of this platform live."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any

from orlop_dry_run.platform import DryRun


class DryBench:
    """A state root of its own; there is nothing else that could be left behind."""

    def __init__(self) -> None:
        """Make the state root."""
        self._place = tempfile.mkdtemp(prefix="orlop-dry-run-")
        self.root = f"{self._place}/state"
        self.platform = DryRun()

    def config(self) -> dict[str, Any]:
        """Return a config with a program; it is never run."""
        return {
            "ociVersion": "1.3.0",
            "root": {"path": "/"},
            "process": {
                "args": ["/bin/sleep", "9"],
                "cwd": "/",
                "user": {"uid": 0, "gid": 0},
                "env": ["A=1"],
            },
            "linux": {"cgroupsPath": "/kit", "namespaces": [{"type": "pid"}, {"type": "mount"}]},
        }

    def launch(self) -> Mapping[str, Any]:
        """Return no options."""
        return {}

    def put(self, files: Mapping[str, str]) -> str:
        """Return which of *files* the host lacks: a dry run writes none."""
        missing = [path for path in files if not os.path.exists(path)]
        return f"this host has no {', '.join(missing)}" if missing else ""

    def left(self) -> list[str]:
        """Return the containers that are still there."""
        try:
            return [f"state of container {name}" for name in sorted(os.listdir(self.root))]
        except FileNotFoundError:
            return []

    def close(self) -> None:
        """Remove the state root. Idempotent."""
        shutil.rmtree(self._place, ignore_errors=True)
