"""An engine that is killed while it makes a container: the container process and its hooks go with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.linux.child.support import PATIENCE, Box, command_line, is_gone, orlop_command, until

from orlop.lifecycle.delete import delete
from orlop_hookspecs.errors import StateError
from orlop_hookspecs.record import Record
from orlop_linux.live import start


class Engine:
    """A ``create`` that takes as long as the test wants."""

    def __init__(self, box: Box, config: dict[str, Any], script: str = "") -> None:
        import json

        placed = box.placed(config, "box")
        (box.bundle / "config.json").write_text(json.dumps(placed))
        command = [orlop_command(), "--root", str(box.place / "state"), "create", "box"]
        if script:
            command = [sys.executable, "-I", "-c", script]
        self.process = subprocess.Popen(
            command,
            cwd=box.bundle,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        """Kill it as the kernel does when memory is short."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)


@pytest.fixture
def engines() -> Iterator[list[Engine]]:
    made: list[Engine] = []
    yield made
    for engine in made:
        engine.kill()


def forget(box: Box) -> None:
    """Delete by force whatever is there."""
    delete(box.runtime.site, "box", force=True)
    assert box.left() == []


@pytest.mark.parametrize("pid_namespace", [True, False])
def test_while_a_hook_hangs(box: Box, engines: list[Engine], pid_namespace: bool) -> None:
    report = box.place / "pids"
    script = f"echo $$ >>{report}; {box.busybox} sleep 781 & echo $! >>{report}; wait"
    if pid_namespace:
        # The pids of a new namespace say nothing here; a file that the hook holds open does.
        script = f"exec 9>{box.place}/held; {box.busybox} touch {report}; {box.busybox} sleep 782"
    hooks = {"createContainer": [{"path": box.busybox, "args": ["sh", "-c", script]}]}
    kinds = ["mount", "pid"] if pid_namespace else ["mount"]
    config = box.config(hooks=hooks, linux={"namespaces": [{"type": kind} for kind in kinds]})
    engine = Engine(box, config)
    engines.append(engine)
    until(lambda: report.exists() and (pid_namespace or report.read_text().count("\n") == 2), "no hook")
    pids = holders(box.place / "held") if pid_namespace else {int(pid) for pid in report.read_text().split()}
    assert pids
    child = box.runtime.get("box").pid
    engine.kill()
    until(lambda: all(map(is_gone, [*pids, child])), "the child or its hook is left")
    assert box.runtime.get("box").status == "stopped"
    forget(box)


def holders(path: Path) -> set[int]:
    """Return the processes that have a file open."""
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                held = [os.readlink(f"/proc/{name}/fd/{fd}") for fd in os.listdir(f"/proc/{name}/fd")]
            except OSError:
                continue
            if str(path) in held:
                found.add(int(name))
    return found


STOP_IN = """
import os, sys
sys.path[:0] = {path!r}
import orlop
from orlop_linux.kernel.spawn import Launch
def stop(*arguments, **options):
    open({mark!r}, "w").write(str(os.getpid()))
    os.read(os.pipe()[0], 1)
if {after}:
    real = Launch.{method}
    def stop_after(*arguments, **options):
        real(*arguments, **options)
        stop()
    Launch.{method} = stop_after
else:
    Launch.{method} = stop
orlop.Runtime.compose(root={root!r}).create("box", {bundle!r})
"""


@pytest.mark.parametrize("stage", [False, True])
@pytest.mark.parametrize("place", ["clone after", "build before", "build after", "commit before"])
def test_at_a_point_of_the_handshake(box: Box, engines: list[Engine], place: str, stage: bool) -> None:
    method, moment = place.split()
    mark = box.place / "mark"
    script = STOP_IN.format(
        path=sys.path,
        mark=str(mark),
        method=method,
        after=moment == "after",
        root=str(box.place / "state"),
        bundle=str(box.bundle),
    )
    kinds = ("mount", "pid", "time") if stage else ("mount", "pid")
    engine = Engine(box, box.config(linux={"namespaces": [{"type": kind} for kind in kinds]}), script)
    engines.append(engine)
    until(lambda: mark.exists() and mark.read_text(), "the engine never came there")
    found = Path(f"/proc/{engine.process.pid}/task/{engine.process.pid}/children").read_text().split()
    children = [int(pid) for pid in found]
    assert len(children) == 2  # the zygote and the container's
    engine.kill()
    until(lambda: all(map(is_gone, children)), "a process is left")
    forget(box)


def test_after_the_commit_the_container_stays(box: Box) -> None:
    assert command_line(box, "create", "box", config=box.config()).returncode == 0
    made = box.runtime.get("box")
    assert made.status == "created"
    made.start()
    assert made.status == "running"


def test_killed_start_does_not_stop_the_program(box: Box, engines: list[Engine]) -> None:
    """A hook of the container's own is under way: it goes on, and then the program runs."""
    script = "/bin/busybox touch /tmp/hook; while ! test -e /tmp/go; do /bin/busybox usleep 5000; done"
    hooks = {"startContainer": [{"path": "/bin/busybox", "args": ["sh", "-c", script]}]}
    assert command_line(box, "create", "box", config=box.config(hooks=hooks)).returncode == 0
    starter = subprocess.Popen(
        [orlop_command(), "--root", str(box.place / "state"), "start", "box"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until((box.rootfs / "tmp/hook").exists, "no hook")
    starter.send_signal(signal.SIGKILL)
    starter.wait(PATIENCE)
    (box.rootfs / "tmp/go").touch()
    pid = box.runtime.get("box").pid
    until(lambda: Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"/bin/busybox\0sleep"), "never ran")


def test_a_second_start_after_one_that_was_killed_says_that_it_runs(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "/bin/busybox touch /tmp/hook; while ! test -e /tmp/go; do /bin/busybox usleep 5000; done"
    hooks = {"startContainer": [{"path": "/bin/busybox", "args": ["sh", "-c", script]}]}
    assert command_line(box, "create", "box", config=box.config(hooks=hooks)).returncode == 0
    command = [orlop_command(), "--root", str(box.place / "state"), "start", "box"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as first:
        until((box.rootfs / "tmp/hook").exists, "no hook")
        first.send_signal(signal.SIGKILL)
    made = box.runtime.get("box")
    assert made.status == "created"
    connect = start._connect

    def connect_and_let_the_hook_end(record: Record) -> int:
        connected = connect(record)
        (box.rootfs / "tmp/go").touch()
        return connected

    monkeypatch.setattr(start, "_connect", connect_and_let_the_hook_end)
    with pytest.raises(StateError, match="cannot start an already running container"):
        made.start()
    assert made.status == "running"


def test_probes_do_not_start_it(box: Box) -> None:
    made = box.create()
    for _ in range(200):
        assert made.status == "created"
    made.start()
    assert made.status == "running"


def test_a_connection_that_stays_silent_does_not_block_the_start_for_ever(box: Box) -> None:
    import socket

    made = box.create()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(f"{made.record().directory}/start.sock")
        silent.send(b"x")
        made.start()
    assert made.status == "running"
