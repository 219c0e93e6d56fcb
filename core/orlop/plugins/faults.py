"""What is wrong with plugins: faults, and the one error that reports all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.errors import CompositionError
from orlop_hookspecs.frozen import Frozen, frozen

if TYPE_CHECKING:
    from collections.abc import Sequence


@frozen
class PluginFault(Frozen):
    """One thing that is wrong with one plugin."""

    plugin: str
    """The plugin's name, or where it comes from when it has none."""
    message: str
    """What is wrong, in lower case, without the plugin."""
    rule: str = ""
    """Stable name of the rule that is broken (``default-parameter``, ``order-cycle``), for programs."""
    needs: str = ""
    """The plugin that is required and not there, where that is the fault."""

    def __str__(self) -> str:
        """Return the fault as one line."""
        return f"{self.plugin}: {self.message}"


class RefusedPluginsError(CompositionError):
    """Plugins that are refused; nothing has been registered. ``faults`` holds everything that is wrong."""

    def __init__(self, faults: Sequence[PluginFault]) -> None:
        """Join all faults into one line."""
        self.faults = tuple(faults)
        first = self.faults[0]
        if len(self.faults) == 1:
            super().__init__(first.message, act="load plugins", plugin=first.plugin)
        else:
            text = "; ".join(map(str, self.faults))
            super().__init__(f"{len(self.faults)} faults in plugins: {text}", act="load plugins")
