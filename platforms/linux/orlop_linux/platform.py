"""The plugin that supplies the Linux platform."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from orlop_hookspecs import CONTRACT_VERSION
from orlop_hookspecs.errors import CompositionError
from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.identity import PluginInfo

if TYPE_CHECKING:
    from orlop_hookspecs.kernel import Kernel, Platform

_OPTIONS = ("cgroup_root", "resctrl_root")


class LinuxPlatform:
    """Containers of the running Linux kernel."""

    name = "linux"

    def kernel(self, **options: Any) -> Kernel:  # noqa: ANN401 - verified below
        """Return a kernel.

        Args:
            options: ``cgroup_root`` (only hierarchies mounted there are used) and ``resctrl_root`` (where
            resctrl is mounted);
                both are absolute paths.

        Raises:
            CompositionError: An option is unknown or not an absolute path.
        """
        from orlop_linux.kernel.kernel import LinuxKernel

        for name, value in options.items():
            if name not in _OPTIONS:
                raise CompositionError(
                    f"the linux platform has no option {name}", hint=f"it has {', '.join(_OPTIONS)}"
                )
            if not isinstance(value, str) or not value.startswith("/"):
                raise CompositionError(
                    f"option {name} of the linux platform is not an absolute path", value=value
                )
        return LinuxKernel(**options)


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Say who the plugin is."""
    return PluginInfo(
        name="linux",
        platforms=("linux",),
        version="0.1.0",
        contract=CONTRACT_VERSION,
        summary="containers of the running Linux kernel",
    )


@hookimpl
def orlop_platform() -> Platform | None:
    """Supply the platform, on Linux only."""
    return LinuxPlatform() if sys.platform == "linux" else None
