"""One box for each test; the host has to look the same afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.linux.child.support import Box, fds_of
from tests.linux.faults.rig import lingering, mounts


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    """Return a bundle with its runtime, and clean up after the test."""
    before_mounts = mounts()
    made = Box(tmp_path)
    before = set(fds_of("self"))
    yield made
    made.close()
    assert set(fds_of("self")) <= before | {
        number for number, what in fds_of("self").items() if "python" in what
    }
    assert lingering(before_mounts) == []
    assert before_mounts <= mounts()
