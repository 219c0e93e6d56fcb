"""Send a signal to a container (runtime.md, Kill)."""

from __future__ import annotations

from orlop.lifecycle.site import find
from orlop.lifecycle.states import check
from orlop_hookspecs.errors import StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.lifecycle.site import Site


def kill(site: Site, container: str, number: int, *, everything: bool = False) -> None:
    """Send signal *number* to the container process, or with *everything* to each process of the container.

    The container is not locked: a signal must get through while ``start`` waits for a hook.

    Raises:
        ContainerNotFoundError: There is no such container.
        StateError: The container process has ended; with *everything* that is no error.
        PluginError: A plugin that may replace the signal failed; nothing was sent.
    """
    record, kernel = find(site, container)
    status = kernel.status(record)
    if not (everything and status == "stopped"):
        check("kill", status, container)
    hooks = site.hooks(record, "orlop_signal") if record.live else None
    if hooks is not None:
        number = hooks.signal(record, number)
    try:
        kernel.signal(record, number, everything=everything)
    except StateError as error:
        if everything:
            return
        error.act = error.act or "kill"
        error.container = error.container or container
        raise
