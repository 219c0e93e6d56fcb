"""Plugin ``rdma``: ``linux.resources.rdma`` (config-linux.md, RDMA), in the cgroup of plugin ``cgroups``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop_hookspecs.errors import ConfigError
from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Handle, Problem
from orlop_hookspecs.steps.cgroups import WriteCgroup
from orlop_linux.plugins.shared import plugin_info, resources_of, token

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orlop_hookspecs.documents import Config, Rdma, Resources
    from orlop_hookspecs.hooks.identity import PluginInfo
    from orlop_hookspecs.launch import PlanContext
    from orlop_hookspecs.steps.base import Step

POINTER = "/linux/resources/rdma"
NAME_MAX = 63
"""Longest name of an RDMA device (rdma/ib_verbs.h, IB_DEVICE_NAME_MAX less its NUL)."""

LIMIT_MAX = (1 << 31) - 1
"""Largest limit: the controller counts in a signed int, and this is its ``max`` (kernel/cgroup/rdma.c)."""


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info("rdma", "limits of RDMA devices", requires=("cgroups",), after=("cgroups",))


@hookimpl
def orlop_handles() -> Sequence[Handle]:
    """Return the limits."""
    return (Handle("linux.resources.rdma"),)


@hookimpl
def orlop_features() -> Mapping[str, Any]:
    """Say that the rdma controller is implemented."""
    return {"linux.cgroup.rdma": True}


def _devices(resources: Resources | None) -> Mapping[str, Rdma]:
    return (resources and resources.rdma) or {}


def _problems(devices: Mapping[str, Rdma]) -> Iterator[Problem]:
    for name, limits in devices.items():
        here = f"{POINTER}/{token(name)}"
        if (
            not name
            or name in {".", ".."}
            or len(name.encode(errors="surrogateescape")) > NAME_MAX
            or any(c in "/=" or c.isspace() or not c.isprintable() for c in name)
        ):
            yield Problem(here, "this is not the name of an RDMA device", name)
        if limits.hca_handles is None and limits.hca_objects is None:
            yield Problem(here, "at least one of hcaHandles and hcaObjects must be set")
        for key, value in (("hcaHandles", limits.hca_handles), ("hcaObjects", limits.hca_objects)):
            if value is not None and not 0 <= value <= LIMIT_MAX:
                yield Problem(f"{here}/{key}", f"the limit must be from 0 to {LIMIT_MAX}", value)


@hookimpl
def orlop_validate(config: Config, context: PlanContext) -> Sequence[Problem]:
    """Refuse names that are none, limits that the kernel cannot count, and limits without a cgroup."""
    devices = _devices(resources_of(config))
    if devices and not context.options.manage_cgroups:
        return (Problem(POINTER, "the caller asked for a container without a cgroup"),)
    return tuple(_problems(devices))


def _steps(devices: Mapping[str, Rdma]) -> Sequence[Step]:
    """Return one step for each device; v1 and v2 have the same file, and what is not set stays as it is."""
    steps: list[Step] = []
    for name, limits in devices.items():
        words = [name]
        if limits.hca_handles is not None:
            words.append(f"hca_handle={limits.hca_handles}")
        if limits.hca_objects is not None:
            words.append(f"hca_object={limits.hca_objects}")
        pairs = (("rdma.max", " ".join(words)),)
        steps.append(
            WriteCgroup(
                because=f"{POINTER}/{token(name)}", controller="rdma", v1=pairs, v2=pairs, append=True
            )
        )
    return steps


@hookimpl
def orlop_plan(config: Config) -> Sequence[Step]:
    """Plan the limits."""
    return _steps(_devices(resources_of(config)))


@hookimpl
def orlop_update(resources: Resources) -> Sequence[Step]:
    """Plan the change of a live container's limits.

    Raises:
        ConfigError: A value is refused.
    """
    devices = _devices(resources)
    for problem in _problems(devices):
        raise ConfigError(problem.message, pointer=problem.pointer, value=problem.value, hint=problem.hint)
    return _steps(devices)
