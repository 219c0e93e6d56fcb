"""A rig of a plain user."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.linux.faults.rig import opened
from tests.linux.rootless.plain import Plain


@pytest.fixture
def plain() -> Iterator[Plain]:
    # Not pytest's directory, which other users may not enter.
    place = Path(tempfile.mkdtemp(prefix="orlop-rootless-"))
    try:
        with opened(Plain, place) as made:
            yield made
    finally:
        shutil.rmtree(place)
