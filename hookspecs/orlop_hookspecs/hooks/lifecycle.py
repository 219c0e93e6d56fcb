"""What has happened to a container: notifications that nobody can veto."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orlop_hookspecs.hooks.markers import hookspec


@hookspec
def orlop_created(state: Mapping[str, Any]) -> None:
    """Learn that a container has been created.

    When: after step 5 of the spec's lifecycle, when the record has been saved.
    Process: the caller, with its privileges and namespaces.
    May change: nothing of the container.
    None: always returned.
    Raising: reported as a warning that names the plugin; the container is not affected.
    Order: plugin order.
    Since: 1.0.
    """


@hookspec
def orlop_started(state: Mapping[str, Any]) -> None:
    """Learn that the user-specified program runs.

    When: after step 9 of the spec's lifecycle, when the poststart hooks have succeeded.
    Process: the caller, with its privileges and namespaces.
    May change: nothing of the container.
    None: always returned.
    Raising: reported as a warning that names the plugin; the container is not affected.
    Order: plugin order.
    Since: 1.0.
    """


@hookspec
def orlop_deleted(state: Mapping[str, Any]) -> None:
    """Learn that a container is gone.

    When: after step 13 of the spec's lifecycle, also when create or start failed after something had been
    made.
    Process: the caller, with its privileges and namespaces.
    May change: nothing of the container.
    None: always returned.
    Raising: reported as a warning that names the plugin.
    Order: plugin order.
    Since: 1.0.
    """
