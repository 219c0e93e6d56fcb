"""Plugin ``rootfs``: ``root`` (config.md, Root) and ``linux.rootfsPropagation`` (config-linux.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Handle, Problem
from orlop_hookspecs.steps.rootfs import MakeRootReadonly, PrepareRoot, SetRootPropagation, SwitchRoot
from orlop_linux.plugins.shared import (
    NO_MOUNT_NAMESPACE,
    NO_MOUNT_NAMESPACE_HINT,
    can_mount,
    containers,
    mounts_below_root,
    owns_mounts,
    path_fault,
    plugin_info,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orlop_hookspecs.documents import Config
    from orlop_hookspecs.hooks.identity import PluginInfo
    from orlop_hookspecs.launch import PlanContext
    from orlop_hookspecs.steps.base import Step

# What the host's mounts become in the container's namespace before the root is prepared. Never weaker than
# the property asks: a plain "private" or "slave" is applied to all of them, or a bind of a shared host mount
# would still propagate to the host. "shared" has to leave the host's mounts below alone, because engines ask
# for it together with volumes that shall propagate both ways. Unbindable mounts cannot be bound, so only the
# root becomes that, later.
PROPAGATIONS = {
    "private": "rprivate",
    "rprivate": "rprivate",
    "slave": "rslave",
    "rslave": "rslave",
    "shared": "shared",
    "rshared": "rshared",
    "unbindable": "rprivate",
    "runbindable": "rprivate",
}
"""Accepted values (the specification's and the r-forms that engines write), and what each begins with."""

ALREADY_PRIVATE = ("private", "rprivate")


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info(
        "rootfs", "the root file system, its propagation and the switch to it", after=("user-mappings",)
    )


@hookimpl
def orlop_handles() -> Sequence[Handle]:
    """Return the root and its propagation."""
    return (
        *containers("root"),
        Handle("root.path"),
        Handle("root.readonly"),
        Handle("linux.rootfsPropagation", values=frozenset(PROPAGATIONS)),
    )


@hookimpl
def orlop_validate(config: Config) -> Sequence[Problem]:
    """Refuse a config without a root, and what needs a mount namespace where there is none."""
    return tuple(_problems(config))


def _problems(config: Config) -> Iterator[Problem]:
    if config.root is None:
        yield Problem("/root", "the property is required")
        return
    if path_fault(config.root.path):
        yield Problem("/root/path", path_fault(config.root.path), config.root.path)
    if owns_mounts(config):
        return
    if config.root.readonly and not can_mount(config):
        yield Problem("/root/readonly", NO_MOUNT_NAMESPACE, hint=NO_MOUNT_NAMESPACE_HINT)
    if config.linux is not None and config.linux.rootfs_propagation is not None:
        yield Problem(
            "/linux/rootfsPropagation",
            NO_MOUNT_NAMESPACE,
            config.linux.rootfs_propagation,
            NO_MOUNT_NAMESPACE_HINT,
        )


@hookimpl
def orlop_plan(config: Config, context: PlanContext) -> Sequence[Step]:
    """Plan how the root becomes the container's root directory."""
    because = "/root/path"
    if not owns_mounts(config):
        bound = mounts_below_root(config)
        shared: list[Step] = [
            PrepareRoot(because=because, path=context.rootfs, own_namespace=False, bound=bound),
            SwitchRoot(because=because, method="chroot"),
        ]
        if config.root is not None and config.root.readonly:
            shared.append(MakeRootReadonly(because="/root/readonly"))
        return shared
    wanted = (config.linux and config.linux.rootfs_propagation) or ""
    steps: list[Step] = [
        PrepareRoot(because=because, path=context.rootfs, propagation=PROPAGATIONS.get(wanted, "rslave")),
        SwitchRoot(because=because, method="move" if context.options.no_pivot else "pivot"),
    ]
    if wanted and wanted not in ALREADY_PRIVATE:
        steps.append(SetRootPropagation(because="/linux/rootfsPropagation", propagation=wanted))
    if config.root is not None and config.root.readonly:
        steps.append(MakeRootReadonly(because="/root/readonly"))
    return steps
