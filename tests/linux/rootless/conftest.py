"""A rig of a plain user."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.linux.faults.rig import BUSYBOX
from tests.linux.rootless.plain import Plain


@pytest.fixture
def plain() -> Iterator[Plain]:
    if not BUSYBOX.exists():
        pytest.skip("needs a static busybox")
    # Not pytest's directory, which other users may not enter.
    place = Path(tempfile.mkdtemp(prefix="orlop-rootless-"))
    made = Plain(place)
    try:
        yield made
        left = made.left()
    finally:
        made.close()
        shutil.rmtree(place)
    assert left == []
