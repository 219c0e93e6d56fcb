"""A machine for bad plugins, and deadlines that pass when a hook waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from tests.kit import bad
from tests.kit.reach import LONGEST

from orlop.plugins import deadline
from orlop_fake import FakeKernel


@pytest.fixture
def kernel() -> FakeKernel:
    made = FakeKernel()
    made.add_rootfs("/image")
    return made


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the deadline pass when the bad hook waits, and no sooner; then let its thread end."""
    bad.STUCK.clear()
    bad.HELD.clear()

    def wait(thread: threading.Thread, _: float) -> None:
        end = time.monotonic() + LONGEST
        while thread.is_alive() and time.monotonic() < end:
            if thread in bad.HELD and not bad.STUCK.is_set():
                break
            thread.join(0.01)

    monkeypatch.setattr(deadline, "wait", wait)
    yield
    bad.STUCK.set()
