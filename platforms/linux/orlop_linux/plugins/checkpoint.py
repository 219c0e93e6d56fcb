"""Plugin ``checkpoint``: containers that are written to images and brought back, by CRIU (criu(8)).

What an image says about the host is never asked: the mounts of the host, the namespaces of others and the
root are those of the config, and what the config forbids has to be forbidden in what comes back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop_hookspecs.errors import ConfigError
from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.steps.checkpoint import DumpProcesses, RestoreProcesses
from orlop_linux.plugins.shared import plugin_info

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orlop_hookspecs.checkpoint import CheckpointOptions, RestoreOptions
    from orlop_hookspecs.hooks.identity import PluginInfo
    from orlop_hookspecs.plan import Plan
    from orlop_hookspecs.steps.base import Step

_NULL = "/dev/null"
_JOINABLE = ("network", "pid", "ipc", "uts", "time")
"""Namespaces of others that restored processes can be put into."""


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info("checkpoint", "checkpoint and restore by CRIU", requires=("rootfs", "namespaces"))


@hookimpl
def orlop_features() -> Mapping[str, Any]:
    """Say, by the annotation that engines look for, that there are checkpoints."""
    return {"annotations": {"org.opencontainers.runc.checkpoint.enabled": "true"}}


@hookimpl
def orlop_checkpoint(plan: Plan, checkpoint: CheckpointOptions) -> Sequence[Step]:
    """Return the step that writes the container."""
    own, joined = _namespaces(plan)
    return (
        DumpProcesses(
            because="",
            options=dict(vars(checkpoint)),
            mounts=tuple(_mounts(plan)),
            cgroups=tuple(_cgroups(plan)),
            joined=joined,
            own=own,
        ),
    )


@hookimpl
def orlop_restore(plan: Plan, restore: RestoreOptions) -> Sequence[Step]:
    """Return the step that brings the container back, with all that the config demands of it."""
    own, joined = _namespaces(plan)
    found: dict[str, Any] = {}
    places, readonly = [], []
    for step in _steps(plan):
        name = type(step).__name__
        if name.startswith("Mount"):
            places.append(step.destination)
            if name == "MountBind" and ("ro" in step.attributes or ("ro", True) in step.recursive):
                readonly.append(step.destination)
        elif name == "MakeRootReadonly":
            readonly.append("/")
        elif name == "SetIdMappings":
            found.update(uid=step.uid, gid=step.gid)
        elif name == "SetCapabilities":
            found["bounding"] = tuple(sorted(step.bounding))
        elif name == "SetNoNewPrivileges":
            found["no_new_privileges"] = True
        elif name == "LoadSeccomp":
            found["filtered"] = True
    return (
        RestoreProcesses(
            because="",
            options=dict(vars(restore)),
            mounts=tuple(_mounts(plan)),
            readonly=tuple(readonly),
            places=tuple(places),
            cgroups=tuple(_cgroups(plan)),
            joined=joined,
            own=own,
            **found,
        ),
    )


def _steps(plan: Plan) -> Iterator[Any]:
    for planned in plan:
        yield planned.step


def _mounts(plan: Plan) -> Iterator[tuple[str, str, str]]:
    """Yield what comes from the host, or may: a path that is masked is a file or a directory."""
    for step in _steps(plan):
        name = type(step).__name__
        if name == "MountBind":
            yield step.destination, step.source, step.because
        elif name == "MaskPath":
            yield step.path, _NULL, step.because
        elif name == "CreateDevice" and step.type != "p":
            yield step.path, step.path, step.because


def _cgroups(plan: Plan) -> Iterator[tuple[str, str]]:
    for step in _steps(plan):
        if type(step).__name__ == "MountCgroup" and not step.own_namespace:
            yield step.destination, step.because


def _namespaces(plan: Plan) -> tuple[tuple[str, ...], tuple[tuple[str, str, str], ...]]:
    """Return the container's own namespaces and those of others.

    Raises:
        ConfigError: Nobody could bring the container back into them.
    """
    own, joined = [], []
    for step in _steps(plan):
        name = type(step).__name__
        if name == "NewNamespace":
            own.append(step.type)
        elif name == "JoinNamespace":
            if step.type not in _JOINABLE:
                raise ConfigError(
                    f"a container in the {step.type} namespace of others cannot be checkpointed or restored",
                    pointer=step.because,
                    value=step.path,
                )
            joined.append((step.type, step.path, step.because))
    if "mount" not in own:
        raise ConfigError(
            "a container without a mount namespace of its own cannot be checkpointed or restored",
            pointer="/linux/namespaces",
        )
    return tuple(own), tuple(joined)
