"""A rig whose commands run in a network namespace of the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.linux.faults.rig import BUSYBOX, Rig
from tests.linux.network.stage import Host


@pytest.fixture
def host() -> Iterator[Host]:
    """Return the network namespace in which the commands run."""
    made = Host.new()
    yield made
    left = made.left()
    made.close()
    assert left == []


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    if not BUSYBOX.exists():
        pytest.skip("needs a static busybox")
    tmp_path.chmod(0o755)
    made = Rig(tmp_path)
    try:
        yield made
        left = made.left()
    finally:
        made.close()
    assert left == []
