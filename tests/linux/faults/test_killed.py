"""A runtime killed at any point leaves what ``delete --force`` removes; then the identifier is free again."""

from __future__ import annotations

import os
import select
import signal
from typing import Any

import pytest
from tests.linux.faults import points
from tests.linux.faults.points import Point, named, run, run_to, trace
from tests.linux.faults.rig import PATIENCE, Outcome, Rig

PLAIN = {"creating", "created", "running", "stopped"}


def _hooked(rig: Rig) -> dict[str, Any]:
    hook = {"path": "/bin/true"}
    kinds = ("createRuntime", "poststart", "poststop")
    return rig.config(hooks={kind: [hook] for kind in kinds})


def _creation(rig: Rig) -> tuple[str, ...]:
    return ("create", "--bundle", str(rig.bundle), "box")


def _quick(rig: Rig, *command: str) -> Outcome:
    outcome = run(rig, *command)
    assert outcome.status == 0, outcome
    return outcome


def _judge_state(rig: Rig) -> str:
    """Ask for the state, which must be a plain answer, and return it; empty: there is no such container."""
    outcome = run(rig, "state", "box")
    if outcome.status == 0:
        status = str(outcome.state["status"])
        assert status in PLAIN, outcome
        return status
    assert outcome.status == 1, outcome
    assert outcome.err.count("\n") == 1, outcome
    assert "container does not exist" in outcome.err, outcome
    return ""


def _die_at(rig: Rig, point: Point, *command: str) -> None:
    """Kill the runtime at *point*; how often it polls, and thus the last calls of some functions, differ."""
    outcome = run_to(rig, point, points.die, *command)
    assert outcome.status in {-signal.SIGKILL, 0}, outcome


def _delete(rig: Rig) -> None:
    outcome = _quick(rig, "delete", "--force", "box")
    assert outcome.err == "", outcome
    assert rig.left() == []


def _spread(found: list[Point], count: int) -> list[Point]:
    """Return *count* of the points, evenly, the first and the last among them."""
    if len(found) <= count:
        return found
    return [found[round(index * (len(found) - 1) / (count - 1))] for index in range(count)]


def test_create_killed_at_any_point(rig: Rig) -> None:
    rig.write(_hooked(rig))
    found = trace(rig, *_creation(rig))
    _delete(rig)
    assert len(found) > 40
    seen = set()
    for number, point in enumerate(_spread(found, 48)):
        with named(point):
            _die_at(rig, point, *_creation(rig))
            status = _judge_state(rig)
            seen.add(status)
            if status in {"", "stopped"}:
                listed = run(rig, "list", "--quiet")
                assert listed.status == 0, listed
            _delete(rig)
            if number % 6 == 0:
                _quick(rig, *_creation(rig))
                _quick(rig, "start", "box")
                assert _judge_state(rig) == "running"
                _delete(rig)
    assert {"", "stopped", "created"} <= seen


def test_delete_killed_at_any_point(rig: Rig) -> None:
    rig.write(_hooked(rig))
    for start, force in ((True, True), (False, False)):
        deletion = ("delete", *(["--force"] if force else []), "box")

        def prepare(start: bool = start, force: bool = force) -> None:
            _quick(rig, *_creation(rig))
            if start:
                _quick(rig, "start", "box")
            if not force:
                _kill(rig)

        prepare()
        found = trace(rig, *deletion)
        assert rig.left() == []
        for point in _spread(found, 18):
            with named(point):
                prepare()
                _die_at(rig, point, *deletion)
                assert _judge_state(rig) in {"", "stopped", "created", "running"}
                _delete(rig)
    _quick(rig, *_creation(rig))
    _delete(rig)


def _kill(rig: Rig) -> None:
    """Kill the container and return when it has ended."""
    pid = run(rig, "state", "box").state["pid"]
    fd = os.pidfd_open(pid)
    try:
        _quick(rig, "kill", "box", "KILL")
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        assert poller.poll(PATIENCE * 1000)
    finally:
        os.close(fd)


def test_start_killed_at_any_point(rig: Rig) -> None:
    rig.write(_hooked(rig))
    _quick(rig, *_creation(rig))
    found = trace(rig, "start", "box")
    _delete(rig)
    seen = set()
    for point in _spread(found, 24):
        with named(point):
            _quick(rig, *_creation(rig))
            _die_at(rig, point, "start", "box")
            status = _judge_state(rig)
            assert status in {"created", "running"}
            seen.add(status)
            if status == "created":
                _quick(rig, "start", "box")
                assert _judge_state(rig) == "running"
            _delete(rig)
    assert seen == {"created", "running"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda one: one.name)
def test_create_told_to_end_undoes_everything(rig: Rig, number: signal.Signals) -> None:
    rig.write(_hooked(rig))
    found = trace(rig, *_creation(rig))
    _delete(rig)
    for point in _spread(found, 30):
        with named(point):
            outcome = run_to(rig, point, lambda: os.kill(os.getpid(), number), *_creation(rig))
            if outcome.status == 0:
                # The creation was over: the signal came when there was nothing left to interrupt.
                assert _judge_state(rig) == "created"
                _delete(rig)
                continue
            assert outcome.status in {128 + number, -number}, outcome
            assert "Traceback" not in outcome.err, outcome
            assert rig.left() == [], outcome
    _quick(rig, *_creation(rig))
    _delete(rig)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda one: one.name)
def test_a_whole_command_told_to_end_leaves_nothing(rig: Rig, number: signal.Signals) -> None:
    """The real command, not a fork: the signal arrives while a hook of the container runs."""
    ready = rig.place / "ready"
    os.mkfifo(ready)
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"echo x >{ready}; exec sleep 1000"]}
    rig.write(rig.config(hooks={"createRuntime": [hook]}))
    running = rig.begin("create", "--bundle", str(rig.bundle), "box")
    assert ready.read_text() == "x\n"
    running.process.send_signal(number)
    outcome = running.end()
    assert outcome.status == 128 + number, outcome
    assert outcome.err.count("\n") == 1
    assert rig.left() == []
