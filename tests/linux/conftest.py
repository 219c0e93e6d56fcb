"""What tests on the real kernel share: what none of them may change, and profiles and labels for programs."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.linux.security import LABELS, is_valid, loaded_profile

SHARED = ("/", "/tmp", "/var/tmp", "/dev", "/run")


@pytest.fixture(scope="module", autouse=True)
def _host() -> Iterator[None]:
    """Compare the host before and after the tests of each file."""
    before = _seen()
    yield
    assert _seen() == before


def _seen() -> dict[str, object]:
    modes = {place: stat.S_IMODE(os.stat(place).st_mode) for place in SHARED if os.path.isdir(place)}
    # Links come and go with other programs; what has an address is the host's.
    return {**modes, "addresses": Path("/proc/net/fib_trie").read_text(), "routes": _routes()}


def _routes() -> list[str]:
    return sorted(Path("/proc/net/route").read_text().splitlines())


@pytest.fixture(scope="module")
def profile() -> Iterator[str]:
    """Provide a profile that forbids /data; loaded with it are some whose names begin like its own."""
    with loaded_profile() as name:
        yield name


@pytest.fixture
def labels() -> tuple[str, str]:
    """Provide a label for processes and one for their files."""
    for process, files in LABELS:
        if is_valid(process) and is_valid(files):
            return process, files
    pytest.skip("needs a policy with labels for containers")
