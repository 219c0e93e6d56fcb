"""A plugin for pytest that writes down which of the collected tests belong to which machine of the lane."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.needs import lacks

# What a machine lacks however it is made; whatever else may be lacking is a reason to skip, found there.
LACKS = {
    "v2": {"cgroup-v1", "net_cls", "net_prio", "resctrl", "rt-group", "selinux"},
    "v1": {"cgroup-v2", "resctrl", "rt-group", "selinux"},
    "selinux": {"apparmor", "cgroup-v1", "net_cls", "net_prio", "resctrl", "rt-group"},
}


def machine_for(item: pytest.Item) -> str | None:
    """Return the machine that runs a test: one that each lane runs, or whose needs the host lacks."""
    needs = {need for marker in item.iter_markers("needs") for need in marker.args}
    if not any(map(lacks, needs)):
        everywhere = item.get_closest_marker("every_lane") is not None and not needs & LACKS["v2"]
        return "v2" if everywhere else None
    return next((kind for kind, lacked in LACKS.items() if not needs & lacked), None)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Write machines and ids to the file that the environment names."""
    machines = [(machine_for(item), item.nodeid) for item in session.items]
    found = [(kind, test) for kind, test in machines if kind is not None]
    Path(os.environ["ORLOP_COLLECTED"]).write_text(json.dumps(found))
