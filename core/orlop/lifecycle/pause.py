"""Suspend all processes of a container; an operation beyond the specification, as engines expect it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.lifecycle.site import require
from orlop.lifecycle.states import check
from orlop_hookspecs.errors import OrlopError, PluginError

if TYPE_CHECKING:
    from orlop.lifecycle.site import Site


def pause(site: Site, container: str) -> None:
    """Suspend all processes of *container*.

    Raises:
        ContainerNotFoundError: There is no such container.
        StateError: It is neither created nor running.
        PluginError: A plugin objected; nothing is suspended.
        StepError: The kernel refused; the plugins have been told to resume.
    """
    slot = site.store.open(container)
    try:
        record = require(slot, container, site)
        kernel = site.kernel(record.platform)
        check("pause", kernel.status(record), container)
        hooks = site.hooks(record, "orlop_pause")
        if hooks is not None:
            hooks.pause(record, kernel)
        try:
            kernel.freeze(record, frozen=True)
        except OrlopError as error:
            error.act = error.act or "pause"
            error.container = error.container or container
            if hooks is not None:
                try:
                    hooks.resume(record, kernel)
                except PluginError as failure:
                    error.cleanup = failure
            raise
    finally:
        slot.close()
