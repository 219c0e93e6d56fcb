"""Who a plugin is: asked once, when it is loaded, before any other hook of it is called."""

from __future__ import annotations

from orlop_hookspecs.frozen import Frozen, frozen_keywords
from orlop_hookspecs.hooks.markers import hookspec


@frozen_keywords
class PluginInfo(Frozen):
    """A plugin's identity and its place among others. Names are those of other plugins' infos."""

    name: str
    """Lower-case letters, digits and hyphens; unique in a composition."""
    version: str
    """The plugin's own version."""
    contract: str
    """The :data:`orlop_hookspecs.CONTRACT_VERSION` that it was written for; the major number must agree."""
    summary: str
    """One line for ``orlop plugins``."""
    requires: tuple[str, ...] = ()
    """Plugins without which this one cannot work; the composition is refused when one is missing."""
    conflicts: tuple[str, ...] = ()
    """Plugins that may not be in the same composition."""
    after: tuple[str, ...] = ()
    """Plugins that come earlier in every order, when they are there."""
    before: tuple[str, ...] = ()
    """Plugins that come later in every order, when they are there."""
    platforms: tuple[str, ...] = ()
    """Platforms for which the plugin plans; empty: all. On others it is inactive."""


@hookspec(firstresult=True)
def orlop_plugin() -> PluginInfo:  # type: ignore[empty-body]
    """Say who the plugin is.

    When: once, when the plugin is loaded; every plugin must implement it.
    Process: the caller of ``Runtime.compose``; no privileges, no namespaces.
    May change: nothing.
    None: not allowed; the plugin is refused.
    Raising: the composition is refused, naming the plugin.
    Order: each plugin is asked alone.
    Since: 1.0.
    """
