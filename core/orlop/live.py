"""The part of a platform that small commands load: its live kernel, found by the platform's name."""

from __future__ import annotations

from orlop_hookspecs.errors import PlatformError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop_hookspecs.kernel import LiveKernel

GROUP = "orlop.live"
"""Entry-point group: name of a platform to a callable without arguments that returns its live kernel."""


def find_kernel(platform: str) -> LiveKernel:
    """Return the live kernel of *platform*.

    Raises:
        PlatformError: No installed distribution supplies it, or it cannot be loaded.
    """
    from orlop.entrypoints import entry_points

    for point in entry_points(GROUP, first=platform):
        try:
            factory = point.load()
        except (ImportError, AttributeError) as error:
            raise PlatformError(f"platform {platform} cannot be loaded: {error}") from None
        kernel: LiveKernel = factory()  # type: ignore[operator]
        return kernel
    raise PlatformError(
        f"platform {platform} is not installed",
        value=platform,
        hint=f"the container was made by it; install what supplies it in entry-point group {GROUP}",
    )
