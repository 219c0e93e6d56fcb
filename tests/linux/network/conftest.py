"""A rig whose commands run in a network namespace of the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.linux.faults.rig import Rig, opened
from tests.linux.network.stage import Host


class Quiet(Rig):
    """A rig whose commands mount in a mount namespace of the test, which looks after that itself."""

    def left(self) -> list[str]:
        """Return what is left of containers but for mounts of the host: they are somebody else's."""
        return [line for line in super().left() if not line.startswith("mount ")]


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
    with opened(Quiet, tmp_path) as made:
        yield made
