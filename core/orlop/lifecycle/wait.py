"""Wait for the end of a container's process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.lifecycle.site import find

if TYPE_CHECKING:
    from orlop.lifecycle.site import Site


def wait(site: Site, container: str, timeout: float | None = None) -> int | None:
    """Wait until the container process of *container* has ended, at most *timeout* seconds.

    Returns:
        Its exit status, or 128 plus the signal that ended it; ``None`` when the caller is not its parent, so
        that nobody can tell.

    Raises:
        ContainerNotFoundError: There is no such container.
        WaitTimeoutError: *timeout* seconds passed.
    """
    record, kernel = find(site, container)
    return kernel.wait(record, timeout)
