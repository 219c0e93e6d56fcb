"""Whatever a container leaves behind is seen by those who look for it after each test of an engine."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.engines import store as podmans
from tests.engines.conftest import orlop_command
from tests.engines.daemon import PATIENCE, Daemon, Left, hierarchies, left_by, nothing_left, require, until
from tests.engines.store import Store

STATE = "/run/rt/default"


def kinds(before: Left, now: Left) -> set[str]:
    """Return what there is more of."""
    return {kind for kind in now if now[kind] - before[kind]}


def looked_for(left: Callable[[], Left], kind: str, plant: Callable[[], Callable[[], object]]) -> None:
    """Assert that *left* sees what *plant* makes, until the function that it returns has been called."""
    before = left()
    remove = plant()
    try:
        assert kinds(before, left()) == {kind}
    finally:
        remove()
    nothing_left(before, left)


def process(*command: str, group: Path | None = None) -> Callable[[], object]:
    made = subprocess.Popen(command, stdin=subprocess.PIPE)
    # The kernel lets the parent go on before the new command line can be read.
    until(Path(f"/proc/{made.pid}/cmdline").read_bytes, lambda: "no command line")
    if group is not None:
        (group / "cgroup.procs").write_text(str(made.pid))

    def end() -> None:
        made.kill()
        made.communicate(timeout=PATIENCE)

    return end


def directory(place: Path) -> Callable[[], object]:
    place.mkdir(parents=True)
    return place.rmdir


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """Return a daemon that does nothing."""
    require("unshare", "nsenter", "/bin/busybox", packages="util-linux, busybox-static")
    made = Daemon("lf")
    try:
        made.start(
            ["sleep", "1000"],
            lambda: Path(f"/proc/{made.pid}/comm").read_text() == "sleep\n",
            shutil.which("true") or "",
        )
        yield made
    finally:
        made.stop()


@pytest.mark.every_lane
def test_after_a_daemon(daemon: Daemon) -> None:
    def left() -> Left:
        return left_by(daemon, STATE)

    def mounted() -> Callable[[], object]:
        inside("mount", "-t", "tmpfs", "tmpfs", "/mnt")
        return lambda: inside("umount", "/mnt")

    def inside(*command: str) -> None:
        target = ("nsenter", f"--target={daemon.pid}", "--mount", "--")
        subprocess.run([*target, *command], check=True, timeout=PATIENCE)

    for root in hierarchies():
        top = root / daemon.parent
        looked_for(left, "cgroups", partial(directory, top / "box"))
        if (top / "daemon").is_dir():
            own = top / "daemon"
            looked_for(left, "processes", partial(process, "sleep", "1000", group=own))
    looked_for(left, "mounts", mounted)
    daemon.inside(STATE).mkdir(parents=True)
    looked_for(left, "state", lambda: directory(daemon.inside(STATE) / "box"))


def test_after_podman(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    podman = Store(orlop_command())

    def mounted() -> Callable[[], object]:
        place = podman.scratch / "mount"
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], check=True, timeout=PATIENCE)
        return lambda: subprocess.run(["umount", str(place)], check=True, timeout=PATIENCE)

    try:
        for root in hierarchies():
            looked_for(podman.left, "cgroups", partial(directory, root / podman.parent / "box"))
        # Whoever works on the store names it on its command line: monitors, and podman when it tidies up.
        looked_for(podman.left, "processes", lambda: process("sh", "-c", f"read x; : {podman.scratch}"))
        looked_for(podman.left, "mounts", mounted)
        # Others have containers, too.
        monkeypatch.setattr(podmans, "STATE", tmp_path / "state")
        monkeypatch.setattr(podmans, "NETWORKS", tmp_path)
        looked_for(podman.left, "networks", partial(directory, tmp_path / "netns-box"))
        (tmp_path / "state").mkdir()
        looked_for(podman.left, "state", partial(directory, tmp_path / "state/box"))
    finally:
        podman.close()
