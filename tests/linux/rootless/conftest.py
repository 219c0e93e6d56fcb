"""A rig of a plain user; what stands in the way of one is a reason to skip."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.linux.faults.rig import BUSYBOX
from tests.linux.rootless.plain import GID, UID, Plain


@pytest.fixture(scope="session")
def _usable() -> None:
    if not BUSYBOX.exists():
        pytest.skip("needs a static busybox")
    script = (
        f"import sys; sys.path[:0] = {[one for one in sys.path if one]!r}; import orlop, orlop_linux, attrs"
    )
    if _fails([sys.executable, "-I", "-c", script]):
        pytest.skip("needs a checkout and an environment that every user can read")
    if _fails(["unshare", "--user", "true"]):
        pytest.skip("the host denies user namespaces to plain users")


def _fails(command: list[str]) -> bool:
    done = subprocess.run(
        command, capture_output=True, check=False, cwd="/", user=UID, group=GID, extra_groups=()
    )
    return done.returncode != 0


@pytest.fixture
def plain(_usable: None) -> Iterator[Plain]:
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
