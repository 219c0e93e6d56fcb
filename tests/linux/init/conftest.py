"""The host must look the same after each test: mounts, descriptors, and the directory that plays it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.linux.faults.rig import lingering, mounts
from tests.linux.init.forked import open_fds, snapshot


@pytest.fixture
def unchanged_host() -> Iterator[None]:
    """Compare the host's mounts and this process's descriptors before and after."""
    before = mounts()
    fds = open_fds()
    yield
    assert lingering(before) == []
    assert before <= mounts()
    assert open_fds() == fds


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    """Return an empty directory that is to be a root."""
    path = tmp_path / "rootfs"
    path.mkdir()
    return path


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Path]:
    """Return a directory outside of the root in which nothing may change."""
    path = tmp_path / "host"
    path.mkdir()
    (path / "secret").write_text("secret", encoding="utf-8")
    (path / "ptmx").write_text("", encoding="utf-8")
    (path / "directory").mkdir()
    before = snapshot(path)
    yield path
    assert snapshot(path) == before
