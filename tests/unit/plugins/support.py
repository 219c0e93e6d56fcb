"""What the tests of the planners share: configs as JSON, calls of single hooks, and readable results."""

from __future__ import annotations

import copy
from importlib import import_module
from typing import TYPE_CHECKING, Any

from orlop.documents.codec import decode, decode_config
from orlop_hookspecs.documents import Resources
from orlop_hookspecs.launch import LaunchOptions, PlanContext
from orlop_hookspecs.record import Record
from orlop_hookspecs.steps import CreateCgroup, JoinCgroup, SetDeviceRules

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from orlop_hookspecs.documents import Config
    from orlop_hookspecs.hooks.capability import Problem
    from orlop_hookspecs.steps import Step

PLUGINS = {
    "annotations": "annotations",
    "namespaces": "namespaces",
    "user-mappings": "user_mappings",
    "net-devices": "net_devices",
    "rootfs": "rootfs",
    "mounts": "mounts",
    "paths": "paths",
    "devices": "devices",
    "names": "names",
    "sysctl": "sysctl",
    "process": "process",
    "capabilities": "capabilities",
    "rlimits": "rlimits",
    "seccomp": "seccomp",
    "hooks": "hooks",
    "cgroups": "cgroups",
    "rdma": "rdma",
    "intel-rdt": "intel_rdt",
    "terminal": "terminal",
    "keyring": "keyring",
    "apparmor": "apparmor",
    "selinux": "selinux",
    "scheduling": "scheduling",
    "personality": "personality",
    "memory-policy": "memory_policy",
    "checkpoint": "checkpoint",
}
"""Every built-in planner: the plugin's name and its module."""

BASE: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "root": {"path": "rootfs"},
    "process": {"user": {"uid": 0, "gid": 0}, "args": ["sh"], "cwd": "/"},
    "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
}
"""A config that nobody objects to."""


def module(name: str) -> ModuleType:
    """Return the module of the plugin *name*."""
    return import_module(f"orlop_linux.plugins.{PLUGINS[name]}")


def config(**sections: Any) -> Config:
    """Return :data:`BASE` with *sections* merged in; ``None`` removes a property."""
    data = copy.deepcopy(BASE)
    _merge(data, sections)
    return decode_config(data)


def _merge(data: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if value is None:
            data.pop(key, None)
        elif isinstance(value, dict) and isinstance(data.get(key), dict):
            _merge(data[key], value)
        else:
            data[key] = value


def namespaces(*types: str, **paths: str) -> list[dict[str, str]]:
    """Return ``linux.namespaces``: the base's, new ones of *types* and joined ones of *paths*."""
    return [
        *BASE["linux"]["namespaces"],
        *({"type": kind} for kind in types),
        *({"type": kind, "path": path} for kind, path in paths.items()),
    ]


def context(**options: Any) -> PlanContext:
    """Return the context of container ``box`` in /bundle, launched with *options*."""
    return PlanContext(
        container="box", bundle="/bundle", rootfs="/bundle/rootfs", options=LaunchOptions(**options)
    )


def call(name: str, hook: str, **arguments: Any) -> Any:
    """Call a hook of the plugin *name* with those of *arguments* that it takes; an absent one is empty."""
    function = getattr(module(name), hook, None)
    if function is None:
        return ()
    code = function.__code__
    return function(**{key: arguments[key] for key in code.co_varnames[: code.co_argcount]})


def objections(name: str, wanted: Config, **options: Any) -> list[Problem]:
    """Return the problems that the plugin has with *wanted*."""
    return list(call(name, "orlop_validate", config=wanted, context=context(**options)))


def pointers(name: str, wanted: Config, **options: Any) -> list[str]:
    """Return where the plugin has problems with *wanted*."""
    return [problem.pointer for problem in objections(name, wanted, **options)]


def steps(name: str, wanted: Config, **options: Any) -> list[Step]:
    """Return the plugin's plan for *wanted*, to which it must not object."""
    assert objections(name, wanted, **options) == []
    return list(call(name, "orlop_plan", config=wanted, context=context(**options)))


def update(name: str, resources: dict[str, Any]) -> Sequence[Step]:
    """Return the plugin's plan for a change of *resources*."""
    wanted = decode(resources, Resources)
    return tuple(call(name, "orlop_update", resources=wanted, record=Record(id="box")))


Pairs = tuple[tuple[str, str], ...]
RESOURCES = "/linux/resources"


def limited(**resources: Any) -> Config:
    """Return the base with ``linux.resources``."""
    return config(linux={"resources": resources})


def writes(**resources: Any) -> list[Step]:
    """Return what plugin ``cgroups`` plans for *resources*, between making the cgroup and joining it."""
    planned = steps("cgroups", limited(**resources))
    assert isinstance(planned[0], CreateCgroup)
    assert isinstance(planned[1], SetDeviceRules)
    assert isinstance(planned[-1], JoinCgroup)
    return planned[2:-1]


def forms(planned: Any) -> list[tuple[str, Pairs | None, Pairs | None]]:
    """Return property, v1 form and v2 form of each of the *planned* steps."""
    return [(step.because.removeprefix(RESOURCES), step.v1, step.v2) for step in planned]


def refused(**resources: Any) -> list[str]:
    """Return where plugin ``cgroups`` objects to *resources*."""
    return [pointer.removeprefix(RESOURCES) for pointer in pointers("cgroups", limited(**resources))]
