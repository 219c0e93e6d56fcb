"""Plugins that fit together: what the engine asks, however they were brought together."""

from __future__ import annotations

from orlop.engine.coverage import Coverage
from orlop.engine.features import Merged, merge
from orlop.engine.known import KnownConfigs
from orlop_hookspecs.frozen import Frozen, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from functools import cached_property
    from typing import Any

    import pluggy

    from orlop.plugins.facade import Hooks
    from orlop.plugins.verify import Verified
    from orlop_hookspecs.hooks.capability import Handle
    from orlop_hookspecs.kernel import Platform
else:

    class cached_property:  # noqa: N801 - it stands for the one of functools, whose import is not free
        """A method that is called once for each object, and whose answer the object keeps."""

        def __init__(self, method: Callable[[Any], Any]) -> None:
            """Keep the *method* and what it says of itself."""
            self._method = method
            self.__doc__ = method.__doc__

        def __get__(self, instance: Any, owner: type | None = None) -> Any:  # noqa: ANN401 - whatever it answers
            """Ask the method, and never again."""
            if instance is None:
                return self
            value = instance.__dict__[self._method.__name__] = self._method(instance)
            return value


NOT_CHOSEN = "not chosen"
"""Why a plugin is inactive that is installed, where others were named."""

LEFT_OUT = "left out"
"""How it begins why a plugin is inactive that somebody did not want."""


@frozen
class Inactive(Frozen):
    """A known plugin that is not part of the composition, and why."""

    name: str
    reason: str
    source: str
    load: Any
    """Returns the plugin; imports it when nobody has."""


class Composition:
    """Plugins that fit together, in their order, for one platform.

    Args:
        platform_name: The platform's name.
        platform: What supplies the kernel; ``None`` in a composition for a record, whose kernel is known.
        plugins: The active plugins.
        inactive: Those that are known and not active.
        hooks: What calls the plugins.
    """

    def __init__(
        self,
        platform_name: str,
        platform: Platform | None,
        plugins: tuple[Verified, ...],
        inactive: tuple[Inactive, ...],
        hooks: Hooks,
    ) -> None:
        """Keep the parts."""
        self.platform_name = platform_name
        self.platform = platform
        self.plugins = plugins
        self.inactive = inactive
        self.hooks = hooks
        self.known = KnownConfigs()
        """Configs that have been decoded and found covered."""

    @cached_property
    def names(self) -> list[str]:
        """Names of the plugins in their order."""
        return [plugin.info.name for plugin in self.plugins]

    @cached_property
    def live(self) -> list[str]:
        """Hooks of existing containers that some plugin implements."""
        from orlop.plugins.specs import LIVE

        return [hook for hook in LIVE if self.hooks.implementers(hook)]

    @cached_property
    def handles(self) -> list[tuple[str, Sequence[Handle]]]:
        """What each plugin declared; asked once."""
        return self.hooks.handles()

    @cached_property
    def coverage(self) -> Coverage:
        """What the plugins handle."""
        return Coverage(self.handles)

    @cached_property
    def features(self) -> Merged:
        """The merged features document with its provenance."""
        return merge(self.handles, self.hooks.features())

    def why_here(self, name: str) -> list[str]:
        """Return why plugin *name* stands where it does in the order: what it and others declared."""
        from orlop.plugins import order

        infos = {plugin.info.name: plugin.info for plugin in self.plugins}
        reasons = list(order.predecessors(infos)[name].values())
        return reasons or ["by name: nothing is declared that puts it later"]

    @cached_property
    def manager(self) -> pluggy.PluginManager:
        """The plugins in a pluggy manager, for tools that inspect one; it calls in the declared order."""
        import pluggy

        from orlop.plugins.specs import MODULES

        made = pluggy.PluginManager("orlop")
        for module in MODULES:
            made.add_hookspecs(module)
        for verified in reversed(self.plugins):  # pluggy calls last in, first out
            made.register(verified.plugin, verified.info.name)
        return made
