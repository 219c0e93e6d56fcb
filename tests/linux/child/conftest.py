"""One box for each test; the host has to look the same afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.linux.child.support import Box, fds_of


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    """Return a bundle with its runtime, and clean up after the test."""
    mounts = Path("/proc/self/mountinfo").read_text()
    made = Box(tmp_path)
    before = set(fds_of("self"))
    yield made
    made.close()
    assert set(fds_of("self")) <= before | {
        number for number, what in fds_of("self").items() if "python" in what
    }
    assert Path("/proc/self/mountinfo").read_text() == mounts
