"""The rig for tests of crashes and failures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.linux.faults.rig import BUSYBOX, Rig


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
