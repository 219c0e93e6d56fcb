"""Where plans are executed: a platform plugin supplies a kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.hooks.markers import hookspec

if TYPE_CHECKING:
    from orlop_hookspecs.kernel import Platform


@hookspec
def orlop_platform() -> Platform | None:
    """Supply a platform.

    When: once per composition, after all plugins have been loaded.
    Process: the caller of ``Runtime.compose``; no privileges, no namespaces; touching the host is not
    allowed yet.
    May change: nothing.
    None: the plugin has no platform to offer on this operating system.
    Raising: the composition is refused, naming the plugin.
    Order: all are asked; the composition takes the one whose name was chosen, and two of one name are
    refused.
    Since: 1.0.
    """
