"""The one table that decides which operation a container's status allows.

The messages hold the words that engines look for in a runtime's errors.
"""

from __future__ import annotations

from orlop_hookspecs.errors import StateError

STATUSES = ("creating", "created", "running", "paused", "stopped")
"""Every status of a container (runtime.md, State), in the order of its life; ``paused`` is ours."""

_NOT_RUNNING = "container not running"
_NOT_PAUSED = "container not paused"

TABLE: dict[str, dict[str, str]] = {
    "state": {"creating": "", "created": "", "running": "", "paused": "", "stopped": ""},
    "start": {
        "creating": "cannot start a container that is still being created",
        "created": "",
        "running": "cannot start an already running container",
        "paused": "cannot start a container in the paused state",
        "stopped": "cannot start a container that has stopped",
    },
    "exec": {
        "creating": "cannot exec in a container that is still being created",
        "created": "",
        "running": "",
        "paused": "cannot exec in a paused container",
        "stopped": "cannot exec in a stopped container",
    },
    "kill": {
        "creating": "container not running: it is still being created",
        "created": "",
        "running": "",
        "paused": "",
        "stopped": _NOT_RUNNING,
    },
    "delete": {
        "creating": "cannot delete container {id} that is not stopped: creating",
        "created": "cannot delete container {id} that is not stopped: created",
        "running": "cannot delete container {id} that is not stopped: running",
        "paused": "cannot delete container {id} that is not stopped: paused",
        "stopped": "",
    },
    "pause": {
        "creating": "container not running: it is still being created",
        "created": "",
        "running": "",
        "paused": "container not running or created: paused",
        "stopped": _NOT_RUNNING,
    },
    "resume": {
        "creating": _NOT_PAUSED,
        "created": _NOT_PAUSED,
        "running": _NOT_PAUSED,
        "paused": "",
        "stopped": _NOT_PAUSED,
    },
    "update": {
        "creating": "container not running: it is still being created",
        "created": "",
        "running": "",
        "paused": "",
        "stopped": _NOT_RUNNING,
    },
    "checkpoint": {
        "creating": "container cannot be checkpointed in creating state",
        "created": "container cannot be checkpointed in created state",
        "running": "",
        "paused": "",
        "stopped": "container cannot be checkpointed in stopped state",
    },
    "processes": {"creating": "", "created": "", "running": "", "paused": "", "stopped": ""},
    "stats": {
        "creating": "container with id {id} is not running",
        "created": "",
        "running": "",
        "paused": "",
        "stopped": "container with id {id} is not running",
    },
    "wait": {"creating": "", "created": "", "running": "", "paused": "", "stopped": ""},
}
"""Operation to status to the reason why it is refused; an empty reason allows it."""

_HINTS = {
    ("start", "stopped"): "delete it and create it again",
    ("start", "paused"): "resume it",
    ("exec", "paused"): "use --ignore-paused to override, or resume it",
    ("exec", "stopped"): "only the processes of a live container can be joined",
    ("delete", "created"): "kill it first, or force the deletion",
    ("delete", "running"): "kill it first, or force the deletion",
    ("delete", "paused"): "resume and kill it first, or force the deletion",
    ("delete", "creating"): "force the deletion if its creator is stuck",
}


def check(operation: str, status: str, container: str) -> None:
    """Refuse *operation* in *status*.

    Raises:
        StateError: The table does not allow it.
    """
    reason = TABLE[operation].get(status)
    if reason is None:
        raise StateError(f"unknown status of the container: {status}", act=operation, container=container)
    if reason:
        raise StateError(
            reason.format(id=container),
            act=operation,
            container=container,
            hint=_HINTS.get((operation, status), ""),
        )
