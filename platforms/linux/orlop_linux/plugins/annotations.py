"""Plugin ``annotations``: ``annotations``, which are carried along and change nothing (config.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Handle
from orlop_linux.plugins.shared import VERSION, containers, plugin_info

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orlop_hookspecs.hooks.identity import PluginInfo


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info("annotations", "annotations of the container and of the runtime")


@hookimpl
def orlop_handles() -> Sequence[Handle]:
    """Return what says something about the document instead of the container."""
    return (*containers("linux"), Handle("annotations"))


@hookimpl
def orlop_features() -> Mapping[str, Any]:
    """Name the runtime; annotations that it acts on are named by the plugin that does."""
    return {"annotations": {"io.orlop.version": VERSION}}
