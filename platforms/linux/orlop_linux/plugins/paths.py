"""Plugin ``paths``: ``linux.maskedPaths`` and ``linux.readonlyPaths`` (config-linux.md, Masked Paths)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Handle, Problem
from orlop_hookspecs.steps.rootfs import MaskPath, ReadonlyPath
from orlop_linux.plugins.shared import (
    NO_MOUNT_NAMESPACE,
    NO_MOUNT_NAMESPACE_HINT,
    can_mount,
    clean_path,
    container_path_fault,
    is_absolute,
    plugin_info,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orlop_hookspecs.documents import Config
    from orlop_hookspecs.hooks.identity import PluginInfo
    from orlop_hookspecs.steps.base import Step


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info("paths", "masked and read-only paths", after=("rootfs", "mounts"))


@hookimpl
def orlop_handles() -> Sequence[Handle]:
    """Return both lists."""
    return (Handle("linux.maskedPaths"), Handle("linux.readonlyPaths"))


def _lists(config: Config) -> tuple[tuple[str, Sequence[str], type[MaskPath | ReadonlyPath]], ...]:
    linux = config.linux
    if linux is None:
        return ()
    # Read-only first: a path that is in both lists ends up masked.
    return (
        ("/linux/readonlyPaths", linux.readonly_paths or (), ReadonlyPath),
        ("/linux/maskedPaths", linux.masked_paths or (), MaskPath),
    )


@hookimpl
def orlop_validate(config: Config) -> Sequence[Problem]:
    """Refuse paths that are not absolute, the root itself, and lists without a mount namespace."""
    return tuple(_problems(config))


def _problems(config: Config) -> Iterator[Problem]:
    for pointer, paths, _ in _lists(config):
        if paths and not can_mount(config):
            yield Problem(pointer, NO_MOUNT_NAMESPACE, hint=NO_MOUNT_NAMESPACE_HINT)
        for index, path in enumerate(paths):
            if not is_absolute(path):
                yield Problem(f"{pointer}/{index}", "the path must be absolute", path)
            elif container_path_fault(path):
                yield Problem(f"{pointer}/{index}", container_path_fault(path), path)


@hookimpl
def orlop_plan(config: Config) -> Sequence[Step]:
    """Plan one step for each path, in order; a path that is listed twice is protected once."""
    steps: list[Step] = []
    for pointer, paths, step in _lists(config):
        seen: set[str] = set()
        for index, path in enumerate(paths):
            clean = clean_path(path)
            if clean not in seen:
                seen.add(clean)
                steps.append(step(because=f"{pointer}/{index}", path=clean))
    return steps
