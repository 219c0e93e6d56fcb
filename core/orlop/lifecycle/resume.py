"""Let the processes of a paused container go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.lifecycle.site import require
from orlop.lifecycle.states import check

if TYPE_CHECKING:
    from orlop.lifecycle.site import Site


def resume(site: Site, container: str) -> None:
    """Let the processes of *container* go on.

    Raises:
        ContainerNotFoundError: There is no such container.
        StateError: It is not paused.
        StepError: The kernel refused.
        PluginError: A plugin failed; the container goes on all the same.
    """
    slot = site.store.open(container)
    try:
        record = require(slot, container, site)
        kernel = site.kernel(record.platform)
        check("resume", kernel.status(record), container)
        kernel.freeze(record, frozen=False)
        hooks = site.hooks(record, "orlop_resume")
        if hooks is not None:
            hooks.resume(record, kernel)
    finally:
        slot.close()
