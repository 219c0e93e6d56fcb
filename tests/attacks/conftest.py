"""A rig with a place on the host that no container may change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.attacks.target import Target
from tests.linux.faults.rig import opened


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    with opened(Target, tmp_path) as made:
        yield made
