"""What no test on the real kernel may change: the host's own network, and who may use its directories."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

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
