"""A rig with a place on the host that no container may change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.attacks.target import Target
from tests.linux.faults.rig import BUSYBOX


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    if not BUSYBOX.exists():
        pytest.skip("needs a static busybox")
    tmp_path.chmod(0o755)
    made = Target(tmp_path)
    try:
        yield made
        made.verify()
    finally:
        made.close()
