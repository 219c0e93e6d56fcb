"""The host as plugins that adjust a config see it: through the platform, asked only when somebody looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.errors import PlatformError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orlop_hookspecs.host import HostDevice, HostView
    from orlop_hookspecs.kernel import Kernel


class LateView:
    """The view of a kernel that is made when somebody looks; most compositions never do."""

    __slots__ = ("_kernel", "_view")

    def __init__(self, kernel: Callable[[], Kernel]) -> None:
        """Keep what makes the kernel."""
        self._kernel = kernel
        self._view: HostView | None = None

    def _look(self) -> HostView:
        view = self._view
        if view is None:
            kernel = self._kernel()
            look: Callable[[], HostView] | None = getattr(kernel, "host_view", None)
            if look is None:
                raise PlatformError(
                    f"platform {kernel.name} shows plugins nothing of its host",
                    hint="it was written for contract 1.0",
                )
            view = self._view = look()
        return view

    def names(self, directory: str) -> Sequence[str]:
        """Return the names in a directory; see :class:`orlop_hookspecs.host.HostView`."""
        return self._look().names(directory)

    def read(self, path: str) -> bytes:
        """Return the content of a file; see :class:`orlop_hookspecs.host.HostView`."""
        return self._look().read(path)

    def device(self, path: str) -> HostDevice:
        """Return a device node; see :class:`orlop_hookspecs.host.HostView`."""
        return self._look().device(path)
