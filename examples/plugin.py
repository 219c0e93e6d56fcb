"""A whole plugin: a container with the annotation ``com.example.scratch`` gets a tmpfs of that size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs import CONTRACT_VERSION
from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Adjustment, Problem
from orlop_hookspecs.hooks.identity import PluginInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop_hookspecs.documents import Config

ANNOTATION = "com.example.scratch"


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Say who the plugin is; a plugin that plans by another's properties requires that plugin."""
    return PluginInfo(
        name="example-scratch",
        version="1.0",
        contract=CONTRACT_VERSION,
        summary="a scratch disk in memory for containers that ask for one",
        requires=("mounts",),
    )


@hookimpl
def orlop_adjust(config: Config) -> Adjustment | None:
    """Propose the mount; the core applies it and remembers whose it is."""
    size = (config.annotations or {}).get(ANNOTATION)
    if size is None:
        return None
    mount = {
        "destination": "/scratch",
        "type": "tmpfs",
        "source": "scratch",
        "options": ["nosuid", "nodev", f"size={size}"],
    }
    return Adjustment(append={"/mounts": [mount]})


@hookimpl
def orlop_validate(config: Config) -> Sequence[Problem]:
    """Refuse what is no size; a hook may leave out the arguments that it does not use."""
    size = (config.annotations or {}).get(ANNOTATION, "1m")
    if size[:-1].isdecimal() and size[-1] in "kmg":
        return ()
    pointer = f"/annotations/{ANNOTATION}"
    return (Problem(pointer, "not a size", value=size, hint="write a number and k, m or g, such as 64m"),)
