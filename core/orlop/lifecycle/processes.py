"""List the processes of a container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.lifecycle.site import find
from orlop.lifecycle.states import check

if TYPE_CHECKING:
    from orlop.lifecycle.site import Site


def processes(site: Site, container: str) -> list[int]:
    """Return the process ids of *container* as the caller sees them, sorted; none when it has stopped.

    Raises:
        ContainerNotFoundError: There is no such container.
        PluginError: A plugin that lists processes failed.
    """
    record, kernel = find(site, container)
    status = kernel.status(record)
    check("processes", status, container)
    if status == "stopped":
        return []
    hooks = site.hooks(record, "orlop_ps")
    known = hooks.processes(record, kernel) if hooks is not None else None
    return list(kernel.processes(record)) if known is None else known
