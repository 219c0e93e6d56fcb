"""The table of states, exhaustively, on containers that are in them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.core.stub import Host, config

from orlop import Container, Runtime
from orlop.lifecycle.states import STATUSES, TABLE, check
from orlop.lifecycle.steps import LIFECYCLE
from orlop_hookspecs.documents import vocabulary
from orlop_hookspecs.errors import StateError, WaitTimeoutError

OPERATIONS: dict[str, Callable[[Container], object]] = {
    "state": Container.state,
    "start": Container.start,
    "exec": lambda container: container.exec(["/bin/true"]),
    "kill": Container.kill,
    "delete": Container.delete,
    "pause": Container.pause,
    "resume": Container.resume,
    "checkpoint": lambda container: container.checkpoint("/images"),
    "update": lambda container: container.update({"memory": {"limit": 1}}),
    "processes": Container.processes,
    "stats": Container.stats,
    "wait": Container.wait,
}

REASONS = {
    ("start", "creating"): "cannot start a container that is still being created",
    ("start", "running"): "cannot start an already running container",
    ("start", "paused"): "cannot start a container in the paused state",
    ("start", "stopped"): "cannot start a container that has stopped",
    ("exec", "creating"): "cannot exec in a container that is still being created",
    ("exec", "paused"): "cannot exec in a paused container",
    ("exec", "stopped"): "cannot exec in a stopped container",
    ("kill", "creating"): "container not running",
    ("kill", "stopped"): "container not running",
    ("delete", "creating"): "cannot delete container box that is not stopped: creating",
    ("delete", "created"): "cannot delete container box that is not stopped: created",
    ("delete", "running"): "cannot delete container box that is not stopped: running",
    ("delete", "paused"): "cannot delete container box that is not stopped: paused",
    ("pause", "creating"): "container not running",
    ("pause", "paused"): "container not running or created: paused",
    ("pause", "stopped"): "container not running",
    ("resume", "creating"): "container not paused",
    ("resume", "created"): "container not paused",
    ("resume", "running"): "container not paused",
    ("resume", "stopped"): "container not paused",
    ("checkpoint", "creating"): "container cannot be checkpointed in creating state",
    ("checkpoint", "created"): "container cannot be checkpointed in created state",
    ("checkpoint", "stopped"): "container cannot be checkpointed in stopped state",
    ("update", "creating"): "container not running",
    ("update", "stopped"): "container not running",
    ("stats", "creating"): "container with id box is not running",
    ("stats", "stopped"): "container with id box is not running",
}


def put(container: Container, host: Host, status: str) -> None:
    """Bring *container* into *status*."""
    record = container.record()
    if status == "stopped":
        del host.processes[record.pid]
    elif status == "creating":
        record.phase = "creating"
    else:
        host.processes[record.pid] = status
    assert container.status == status
    host.calls.clear()


def test_the_table_is_complete() -> None:
    assert set(TABLE) == set(OPERATIONS)
    for row in TABLE.values():
        assert tuple(row) == STATUSES
    assert set(vocabulary.STATUSES) <= set(STATUSES)
    refused = {
        (operation, status) for operation, row in TABLE.items() for status, reason in row.items() if reason
    }
    assert refused == set(REASONS)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_in_each_status(runtime: Runtime, host: Host, operation: str, status: str) -> None:
    container = runtime.create("box", config())
    put(container, host, status)
    reason = REASONS.get((operation, status))
    if reason is None:
        if operation == "wait" and status != "stopped":
            with pytest.raises(WaitTimeoutError):
                container.wait(0)
        else:
            OPERATIONS[operation](container)
        return
    with pytest.raises(StateError) as caught:
        OPERATIONS[operation](container)
    assert reason in caught.value.message
    assert caught.value.act == operation
    assert caught.value.container == "box"
    assert container.status == status
    assert host.calls == []


@pytest.mark.parametrize("status", STATUSES)
def test_a_forced_delete_is_always_allowed(runtime: Runtime, host: Host, status: str) -> None:
    container = runtime.create("box", config())
    put(container, host, status)
    container.delete(force=True)
    assert host.processes == {}
    assert host.things == set()
    assert runtime.list() == []
    assert ("terminate" in host.calls) == (status != "stopped")


def test_a_status_that_nobody_knows_is_refused() -> None:
    with pytest.raises(StateError, match="unknown status"):
        check("start", "melted", "box")


def test_the_lifecycle_has_thirteen_steps() -> None:
    assert [step.number for step in LIFECYCLE] == list(range(1, 14))
    for number in (3, 4, 5, 7, 9):
        assert "step 12" in LIFECYCLE[number - 1].on_failure
    assert "warning" in LIFECYCLE[12].on_failure


def test_the_table_of_the_documentation_is_this_one() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/explanation/lifecycle.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", page, re.MULTILINE)
    commands = {"processes": "ps", "stats": "events"}
    allowed = {
        status: [
            commands.get(operation, operation)
            for operation, reasons in TABLE.items()
            if operation != "wait" and not reasons[status]
        ]
        for status in STATUSES
    }
    assert {status: sorted(operations.split(", ")) for status, operations in rows} == {
        status: sorted(operations) for status, operations in allowed.items()
    }
