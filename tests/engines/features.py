"""The features document, as engines pass it on."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from tests.engines.conftest import orlop_command
from tests.engines.daemon import PATIENCE


def own() -> dict[str, Any]:
    """Return what orlop itself prints."""
    command = [orlop_command(), "features"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=PATIENCE)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def known(whole: Any, part: Any) -> Any:
    """Return of a document what another one has names for: engines leave out what they do not know."""
    if not isinstance(whole, dict):
        return whole
    return {name: known(value, part[name]) for name, value in whole.items() if name in part}
