"""Report what the kernel and the plugins account for a container."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.lifecycle.site import find
from orlop.lifecycle.states import check
from orlop_hookspecs.errors import PluginError

if TYPE_CHECKING:
    from orlop.lifecycle.site import Site


def stats(site: Site, container: str) -> dict[str, Any]:
    """Return the statistics of *container*: the kernel's by controller, the plugins' under keys of their own.

    Raises:
        ContainerNotFoundError: There is no such container.
        StateError: It is not created, running or paused.
        PluginError: A plugin failed, or used a key of somebody else.
    """
    record, kernel = find(site, container)
    check("stats", kernel.status(record), container)
    numbers = dict(kernel.stats(record))
    hooks = site.hooks(record, "orlop_stats")
    if hooks is not None:
        for key, value in hooks.stats(record, kernel).items():
            if key in numbers:
                raise PluginError(f"a plugin reports {key}, which is the kernel's", container=container)
            numbers[key] = value
    return numbers
