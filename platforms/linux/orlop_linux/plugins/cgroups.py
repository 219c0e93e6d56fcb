"""Plugin ``cgroups``: ``linux.cgroupsPath``, ``linux.resources`` but for rdma (config-linux.md).

Every container has a cgroup of its own in every hierarchy, with or without resources. Which version of
cgroups the host has is the executor's to know: each step carries the forms of both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop_hookspecs.errors import ConfigError
from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Handle, Problem
from orlop_hookspecs.steps.cgroups import CreateCgroup, DelegateCgroup, JoinCgroup
from orlop_linux.plugins.cgroup_controllers import devices
from orlop_linux.plugins.shared import annotation, containers, has_new, path_fault, plugin_info, resources_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orlop_hookspecs.documents import Config, Resources
    from orlop_hookspecs.hooks.identity import PluginInfo
    from orlop_hookspecs.launch import PlanContext
    from orlop_hookspecs.steps.base import Step

PATH = "/linux/cgroupsPath"
RESOURCES = "/linux/resources"
ANNOTATION = "org.systemd.property."
"""Annotations that begin so change the unit of a container whose cgroup systemd makes."""

PROPERTIES = {
    "memory": (
        "limit",
        "reservation",
        "swap",
        "kernel",
        "kernelTCP",
        "swappiness",
        "disableOOMKiller",
        "useHierarchy",
        "checkBeforeUpdate",
    ),
    "cpu": (
        "shares",
        "quota",
        "burst",
        "period",
        "realtimeRuntime",
        "realtimePeriod",
        "cpus",
        "mems",
        "idle",
    ),
    "pids": ("limit",),
    "blockIO": (
        "weight",
        "leafWeight",
        "weightDevice",
        "throttleReadBpsDevice",
        "throttleWriteBpsDevice",
        "throttleReadIOPSDevice",
        "throttleWriteIOPSDevice",
    ),
    "network": ("classID", "priorities"),
}
"""Properties of each family that is an object."""


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info("cgroups", "the container's cgroup and its resources, v1 and v2", after=("devices",))


@hookimpl
def orlop_handles() -> Sequence[Handle]:
    """Return the path and the resources."""
    resources = "linux.resources"
    return (
        Handle("linux.cgroupsPath"),
        *containers(resources, *(f"{resources}.{family}" for family in PROPERTIES)),
        *(Handle(f"{resources}.{family}.{name}") for family, names in PROPERTIES.items() for name in names),
        Handle(f"{resources}.devices"),
        Handle(f"{resources}.hugepageLimits"),
        Handle(f"{resources}.unified"),
    )


@hookimpl
def orlop_features() -> Mapping[str, Any]:
    """Say which managers there are: the file system of both versions, and systemd's, the user's own too."""
    return {
        "linux.cgroup.v1": True,
        "linux.cgroup.v2": True,
        "linux.cgroup.systemd": True,
        "linux.cgroup.systemdUser": True,
        **annotation(
            ANNOTATION, "sets a property of the scope that systemd makes, of a few that are harmless"
        ),
    }


@hookimpl
def orlop_validate(config: Config, context: PlanContext) -> Sequence[Problem]:
    """Refuse paths that leave their hierarchy, values that no kernel takes, resources without a cgroup."""
    path = None if config.linux is None else config.linux.cgroups_path
    resources = resources_of(config)
    problems: list[Problem] = []
    if _by_systemd(context):
        from orlop_linux.plugins import scopes

        problems += scopes.problems(config, context)
    elif path is not None:
        problems += _path(path)
    if resources:
        if not context.options.manage_cgroups:
            problems += _unmanaged(resources)
        problems += _problems(resources)
    return problems


def _by_systemd(context: PlanContext) -> bool:
    return context.options.systemd_cgroup and context.options.manage_cgroups


def _path(path: str) -> Iterator[Problem]:
    fault = path_fault(path) if path else ""
    if fault:
        yield Problem(PATH, fault, path)
    elif not path.isprintable():
        yield Problem(PATH, "the path contains control characters", path)
    elif ".." in path.split("/"):
        yield Problem(PATH, "the path must not contain ..", path)
    elif path and not path.strip("/."):
        yield Problem(PATH, "the path is the root of the hierarchy", path)


def _unmanaged(resources: Resources) -> Iterator[Problem]:
    """Yield the resources that need a cgroup when the caller wants none.

    Rules for devices are tolerated: engines write them always, and what they deny no container may do without
    a cgroup either.
    """
    for name, _ in resources.properties():
        if name not in {"devices", "rdma"}:
            yield Problem(f"{RESOURCES}/{name}", "the caller asked for a container without a cgroup")


def _families(resources: Resources) -> Iterator[tuple[Any, Any, bool]]:
    """Yield module and part of each family that is set, and whether an update differs from a creation.

    A family's module is imported only for a config that sets it.
    """
    if resources.cpu is not None:
        from orlop_linux.plugins.cgroup_controllers import cpu

        yield cpu, resources.cpu, True
    if resources.memory is not None:
        from orlop_linux.plugins.cgroup_controllers import memory

        yield memory, resources.memory, True
    if resources.pids is not None:
        from orlop_linux.plugins.cgroup_controllers import pids

        yield pids, resources.pids, False
    if resources.block_io is not None:
        from orlop_linux.plugins.cgroup_controllers import blockio

        yield blockio, resources.block_io, False
    if resources.hugepage_limits:
        from orlop_linux.plugins.cgroup_controllers import hugepages

        yield hugepages, resources.hugepage_limits, False
    if resources.network is not None:
        from orlop_linux.plugins.cgroup_controllers import network

        yield network, resources.network, False
    if resources.unified:
        # Last: what is written by its own name has the last word.
        from orlop_linux.plugins.cgroup_controllers import unified

        yield unified, resources.unified, False


def _problems(resources: Resources, *, update: bool = False) -> Iterator[Problem]:
    yield from devices.problems(resources.devices or ())
    for module, part, _ in _families(resources):
        yield from (
            module.problems(part, update=True)
            if update and part is resources.memory
            else module.problems(part)
        )


def _writes(resources: Resources, *, update: bool) -> Iterator[Step]:
    for module, part, differs in _families(resources):
        yield from module.steps(part, update=update) if differs else module.steps(part)


@hookimpl
def orlop_plan(config: Config, context: PlanContext) -> Sequence[Step]:
    """Plan the cgroup, its device rules and its resources.

    Without a path the container gets one of its own below ``/orlop``, or below a directory of its store; or,
    by systemd, a scope that is named likewise.
    """
    if not context.options.manage_cgroups:
        return ()
    path = (None if config.linux is None else config.linux.cgroups_path) or ""
    resources = resources_of(config)
    create: Step
    if _by_systemd(context):
        from orlop_linux.plugins import scopes

        create = scopes.step(config, context)
    else:
        parent = f"/orlop-{context.store}" if context.store else "/orlop"
        create = CreateCgroup(because=PATH, path=path or f"{parent}/{context.container}", explicit=bool(path))
    steps: list[Step] = [
        create,
        *devices.steps((resources and resources.devices) or ()),
    ]
    if resources:
        steps += _writes(resources, update=False)
    steps.append(JoinCgroup(because=PATH))
    owner = _owner(config)
    if owner is not None:
        user = config.process and config.process.user
        steps.append(DelegateCgroup(because=owner, uid=(user and user.uid) or 0))
    return steps


def _owner(config: Config) -> str | None:
    """Return the pointer of the mount through which the container may write to its cgroup, if there is one.

    These are the conditions of config-linux.md, Cgroup ownership.
    """
    if not has_new(config, "cgroup"):
        return None
    for index, mount in enumerate(config.mounts or ()):
        if (
            mount.source == "cgroup"
            and mount.destination == "/sys/fs/cgroup"
            and "ro" not in (mount.options or ())
        ):
            return f"/mounts/{index}"
    return None


@hookimpl
def orlop_update(resources: Resources) -> Sequence[Step]:
    """Plan the change of a live container's resources.

    Rules for devices that are given replace those in force; without any these stay as they are.

    Raises:
        ConfigError: A value is refused.
    """
    for problem in _problems(resources, update=True):
        raise ConfigError(problem.message, pointer=problem.pointer, value=problem.value, hint=problem.hint)
    rules = devices.steps(resources.devices) if resources.devices else ()
    return (*_writes(resources, update=True), *rules)
