"""Plugin ``dry-run``: the platform."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop_hookspecs.errors import CompositionError
from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.identity import PluginInfo

if TYPE_CHECKING:
    from orlop_hookspecs.kernel import Kernel, Platform


class DryRun:
    """The platform.

    Args:
        log: File to which each line is appended as well; empty: none.
    """

    name = "dry-run"
    executes = ("linux",)
    """Plugins that plan for Linux are active here, too."""

    def __init__(self, log: str = "") -> None:
        """Begin with no lines."""
        self.log = log
        self.lines: list[str] = []
        """What would have been done so far."""

    def kernel(self, **options: Any) -> Kernel:  # noqa: ANN401 - verified below
        """Return a kernel that writes to :attr:`lines`; *options*: ``log``.

        Raises:
            CompositionError: There is another option.
        """
        from orlop_dry_run.kernel import DryKernel

        log = options.pop("log", self.log)
        if options or not isinstance(log, str):
            raise CompositionError("platform dry-run has one option, log, the path of a file", value=options)
        return DryKernel(self.lines, log)


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Say who the plugin is."""
    return PluginInfo(
        name="dry-run",
        version="0.1.0",
        contract="1.1",
        summary="executes nothing and writes down what would be done",
        platforms=("dry-run",),
    )


@hookimpl
def orlop_platform() -> Platform | None:
    """Supply the platform, on every operating system."""
    return DryRun()
