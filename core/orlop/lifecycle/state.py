"""Query the state of a container (runtime.md, Query State), and of all of them."""

from __future__ import annotations

from orlop.lifecycle.site import find
from orlop_hookspecs.errors import ContainerNotFoundError, OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orlop.lifecycle.site import Site
    from orlop_hookspecs.record import Record

STATE_VERSION = "1.3.0"
"""Version of the specification that the state document complies with, whatever the config's version is."""

_WITH_PID = frozenset(("created", "running", "paused"))


def document(record: Record, status: str, *, pid: int = 0) -> dict[str, Any]:
    """Return the state document of *record* in *status* (runtime.md, State).

    Args:
        record: The container.
        status: Its status.
        pid: Process id to show although *status* has none: hooks that run while a container is being created
            need it.
    """
    state: dict[str, Any] = {"ociVersion": STATE_VERSION, "id": record.id, "status": status}
    if status in _WITH_PID:
        state["pid"] = record.pid
    elif pid:
        state["pid"] = pid
    state["bundle"] = record.bundle
    if record.annotations:
        state["annotations"] = record.annotations
    return state


def extended(record: Record, status: str) -> dict[str, Any]:
    """Return what engines expect from ``state`` and ``list`` beyond the specification.

    ``pid`` is always there, 0 when the container has none; ``rootfs``, ``created`` (RFC 3339, UTC) and
    ``owner`` (user id of the creator) are added.
    """
    state = document(record, status)
    return {
        "ociVersion": state["ociVersion"],
        "id": record.id,
        "pid": state.get("pid", 0),
        "status": status,
        "bundle": record.bundle,
        "rootfs": record.rootfs,
        "created": record.created,
        **({"annotations": record.annotations} if record.annotations else {}),
        "owner": record.owner,
    }


def state(site: Site, container: str) -> dict[str, Any]:
    """Return the state document of *container*.

    Raises:
        ContainerNotFoundError: There is no such container.
        StoreError: Its stored state cannot be trusted.
    """
    record, kernel = find(site, container)
    return document(record, kernel.status(record))


def extended_state(site: Site, container: str) -> dict[str, Any]:
    """Return the state of *container* with what engines expect beyond the spec; raises as :func:`state`."""
    record, kernel = find(site, container)
    return extended(record, kernel.status(record))


def list_states(site: Site) -> list[dict[str, Any]]:
    """Return the extended states of all containers, by identifier; one that cannot be loaded is a warning."""
    states = []
    for container in site.store.list():
        try:
            states.append(extended_state(site, container))
        except ContainerNotFoundError:
            continue  # removed since, or not yet more than a name
        except OrlopError as error:
            site.warn(f"load container {container}: {error}")
    return states
