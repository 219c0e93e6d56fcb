"""A bench: a machine of a platform on which the kit lets containers live.

Each platform supplies its own by an entry point of the group ``orlop.bench``, under the platform's name: a
class that makes a fresh bench when it is called. Nothing else of a platform is known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from orlop.entrypoints import entry_points
from orlop_hookspecs.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orlop_hookspecs.kernel import Platform

GROUP = "orlop.bench"
"""Entry-point group of benches."""


class Bench(Protocol):
    """What a bench is; one lasts for one rule."""

    @property
    def platform(self) -> Platform:
        """The platform, with this machine as its kernel."""

    @property
    def root(self) -> str | None:
        """State root for containers; ``None`` where the kernel has its own store."""

    def config(self) -> dict[str, Any]:
        """Return a config whose program runs until it is killed; its paths are those of this machine."""

    def launch(self) -> Mapping[str, Any]:
        """Return launch options (:class:`orlop_hookspecs.launch.LaunchOptions`) for this machine."""

    def put(self, files: Mapping[str, str]) -> str:
        """Put *files* into the machine's file system, by path; return why that cannot be done, or nothing."""

    def left(self) -> list[str]:
        """Return what containers have left on the machine, one line for each thing."""

    def close(self) -> None:
        """Give back what the bench itself has taken. Idempotent."""


@runtime_checkable
class FaultyBench(Protocol):
    """A bench whose machine can be made to fail."""

    def every_fault(self, operation: Callable[[Any], Any], runtime: Callable[[Any], Any]) -> Sequence[Any]:
        """Run *operation* once for each fault that can happen to it, each time on a fresh machine.

        Args:
            operation: Called with a runtime.
            runtime: Makes a runtime on a platform.

        Returns:
            What happened at each fault.

        Raises:
            AssertionError: Something was left behind, or the operation could not be repeated.
        """


def find_bench(platform: str) -> Callable[[], Bench]:
    """Return what makes a bench of *platform*.

    Raises:
        UsageError: Nobody supplies one.
    """
    for point in entry_points(GROUP, first=platform):
        made: Any = point.load()
        found: Callable[[], Bench] = made
        return found
    raise UsageError(
        f"platform {platform} supplies no bench to test on",
        hint=f"its distribution adds an entry point {platform} to the group {GROUP}",
    )
