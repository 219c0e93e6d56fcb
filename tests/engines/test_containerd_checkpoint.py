"""Checkpoint and restore by containerd, on orlop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engines.conftest import orlop_command
from tests.engines.containerd import Containerd
from tests.engines.daemon import nothing_left, until

pytestmark = pytest.mark.needs("criu")

IMAGE = "box/checkpoint:1"
COUNT = "i=0; trap 'i=$((i+1)); echo $i >/count' USR1; echo up; while :; do sleep 0.1 & wait $!; done"
"""Counts signals: how many there were is in its memory only, until the next one comes."""


@pytest.fixture
def containerd() -> Iterator[Containerd]:
    engine = Containerd(orlop_command())
    try:
        before = engine.left()
        yield engine
        engine.clear()
        nothing_left(before, engine.left)
    finally:
        engine.close()


def _count(containerd: Containerd, ident: str, expected: int) -> None:
    """Send a signal to a task, and wait until it has counted so many."""
    file = containerd.daemon.inside(f"/proc/{containerd.pid(ident)}/root/count")
    containerd.call("tasks", "kill", "--signal=SIGUSR1", ident)
    until(lambda: file.exists() and file.read_text() == f"{expected}\n", containerd.log)


def test_a_task_is_checkpointed_stopped_and_restored(containerd: Containerd, tmp_path: Path) -> None:
    out = containerd.scratch / "out"
    containerd.start("one", "sh", "-c", COUNT, options=(f"--log-uri=file://{out}",))
    until(lambda: out.exists() and out.read_text() == "up\n", containerd.log)
    _count(containerd, "one", 1)

    # The task is paused meanwhile, and goes on afterwards.
    containerd.call("containers", "checkpoint", "--image", "--rw", "--task", "one", IMAGE)
    assert containerd.status("one") == "RUNNING"
    _count(containerd, "one", 2)

    images, work = tmp_path / "images", tmp_path / "work"
    for place in (images, work):
        place.mkdir()
    places = (f"--image-path={images}", f"--work-path={work}")
    containerd.call("tasks", "checkpoint", "--exit", *places, "one")
    containerd.stopped("one")
    assert (images / "inventory.img").exists()
    assert "Dumping finished successfully" in (work / "dump.log").read_text()
    containerd.ctr("tasks", "delete", "one")
    containerd.call("containers", "delete", "one")

    # What was the null device stays it: ctr has pipes, and ends when the task runs.
    containerd.call("containers", "restore", "--live", "--rw", "two", IMAGE)
    assert containerd.status("two") == "RUNNING"
    _count(containerd, "two", 2)
