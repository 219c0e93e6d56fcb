"""A plugin for pytest that writes down which of the collected tests belong to the lane."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.needs import lacks


def belongs(item: pytest.Item) -> bool:
    """Tell whether a test runs in the machine: each lane runs it, or the host lacks what it needs."""
    if item.get_closest_marker("every_lane") is not None:
        return True
    return any(lacks(need) for marker in item.iter_markers("needs") for need in marker.args)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Write the ids to the file that the environment names."""
    found = [item.nodeid for item in session.items if belongs(item)]
    Path(os.environ["ORLOP_COLLECTED"]).write_text(json.dumps(found))
