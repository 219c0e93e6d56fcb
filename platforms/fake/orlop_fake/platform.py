"""The platform plugin ``fake``: what the composition finds by its entry point, or is handed as an object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop_hookspecs import CONTRACT_VERSION
from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.identity import PluginInfo

if TYPE_CHECKING:
    from orlop_fake.kernel import FakeKernel
    from orlop_hookspecs.kernel import Kernel, Platform


class FakePlatform:
    """Supplies a fake kernel: the one that it was given, or a fresh one for each composition."""

    name = "fake"

    def __init__(self, kernel: FakeKernel | None = None) -> None:
        """Supply *kernel*."""
        self._kernel = kernel

    def kernel(self, **options: Any) -> Kernel:  # noqa: ANN401 - the options of FakeKernel
        """Return the kernel; *options* are those of :class:`FakeKernel` and are for a fresh one only."""
        if self._kernel is not None:
            if options:
                msg = "options are for a fresh kernel; this platform was given one"
                raise ValueError(msg)
            return self._kernel
        # Not earlier: every composition loads this plugin, few use its kernel.
        from orlop_fake.kernel import FakeKernel

        return FakeKernel(**options)


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Say who the plugin is."""
    return PluginInfo(
        name="fake",
        platforms=("fake",),
        version="0.1.0",
        contract=CONTRACT_VERSION,
        summary="a deterministic kernel in memory, for tests without root",
    )


@hookimpl
def orlop_platform() -> Platform | None:
    """Supply the platform."""
    return FakePlatform()
