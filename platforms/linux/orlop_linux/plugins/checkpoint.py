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
_CHANGERS = frozenset(("CAP_SETUID", "CAP_SETGID"))
"""Who has one of these can become another user, or member of another group (credentials(7))."""
_CONTEXT = "context="
_STRICT = frozenset(("ro", "nosuid", "nodev", "noexec", "nosymfollow"))
"""Attributes of mounts that forbid something (mount_setattr(2))."""
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
    _refuse_mapped(plan)
    label = _label(plan)
    return (
        DumpProcesses(
            because="",
            options=dict(vars(checkpoint)),
            mounts=tuple(_mounts(plan)),
            cgroups=tuple(_cgroups(plan)),
            joined=joined,
            own=own,
            module=label[0] if label else "",
        ),
    )


@hookimpl
def orlop_restore(plan: Plan, restore: RestoreOptions) -> Sequence[Step]:
    """Return the step that brings the container back, with all that the config demands of it."""
    own, joined = _namespaces(plan)
    _refuse_mapped(plan)
    found: dict[str, Any] = {}
    for step in _steps(plan):
        name = type(step).__name__
        if name == "SetIdMappings":
            found.update(uid=step.uid, gid=step.gid)
        elif name == "SetCapabilities":
            found["bounding"] = tuple(sorted(step.bounding))
        elif name == "SetNoNewPrivileges":
            found["no_new_privileges"] = True
        elif name == "LoadSeccomp":
            found["filtered"] = True
    options = dict(vars(restore))
    kind, _, label = restore.lsm_profile.partition(":")
    demanded = (kind, label, "") if label else _label(plan)
    if demanded is not None:
        # What the images say of it is not asked, unless nobody else says anything.
        options["lsm_profile"] = f"{demanded[0]}:{demanded[1]}"
    contexts = tuple(_contexts(plan, restore.lsm_mount_context))
    if len({context for _, context, _ in contexts}) == 1:
        # CRIU gives one to all, so that it can be told one only.
        options["lsm_mount_context"] = contexts[0][1]
    return (
        RestoreProcesses(
            because="",
            options=options,
            mounts=tuple(_mounts(plan)),
            places=tuple(step.destination for step in _steps(plan) if _is_mount(step)),
            attributes=tuple(_attributes(plan)),
            contexts=contexts,
            cgroups=tuple(_cgroups(plan)),
            joined=joined,
            own=own,
            label=demanded,
            user=_user(plan),
            **found,
        ),
    )


def _label(plan: Plan) -> tuple[str, str, str] | None:
    """Return what the config has the process confined by."""
    for step in _steps(plan):
        if type(step).__name__ == "SetApparmorProfile":
            return "apparmor", step.profile, step.because
        if type(step).__name__ == "SetSelinuxLabel":
            return "selinux", step.label, step.because
    return None


def _user(plan: Plan) -> tuple[int, int, tuple[int, ...]] | None:
    """Return who each process is, if it is not root and has no way to become somebody else."""
    steps = {type(step).__name__: step for step in _steps(plan)}
    user, capabilities = steps.get("SetUser"), steps.get("SetCapabilities")
    kept = capabilities.ambient if capabilities is not None else ()
    if user is None or user.uid == 0 or "SetNoNewPrivileges" not in steps or _CHANGERS.intersection(kept):
        return None
    return user.uid, user.gid, user.groups


def _contexts(plan: Plan, other: str) -> Iterator[tuple[str, str, str]]:
    """Yield the SELinux contexts of mounts: the config's, or *other* if the caller has one.

    A mqueue has been made before it could get one from an option, and criu does not keep it.
    """
    for step in _steps(plan):
        if type(step).__name__ == "MountFilesystem" and step.type != "mqueue":
            for option in step.data:
                if option.startswith(_CONTEXT):
                    yield step.destination, other or option.removeprefix(_CONTEXT), step.because


def _is_mount(step: Step) -> bool:
    return type(step).__name__.startswith("Mount")


def _refuse_mapped(plan: Plan) -> None:
    """Refuse mounts that show other owners than their files have: CRIU would make them without the mapping.

    Raises:
        ConfigError: There is one.
    """
    for step in _steps(plan):
        if getattr(step, "idmap", None) is not None:
            raise ConfigError(
                "a container with an id-mapped mount cannot be checkpointed or restored",
                pointer=step.because,
                value=step.destination,
            )


def _attributes(plan: Plan) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...], str]]:
    """Yield what mounts must not allow: mount point, its own attributes, those below it, JSON pointer."""
    for step in _steps(plan):
        name = type(step).__name__
        if name == "MakeRootReadonly":
            yield "/", ("ro",), (), step.because
        elif name == "ReadonlyPath":
            yield step.path, ("ro",), ("ro",), step.because
        elif _is_mount(step):
            own = set(step.attributes).intersection(_STRICT)
            # On version 1 of cgroups the mount is a directory with one mount for each hierarchy.
            below = set(own) if name == "MountCgroup" else set()
            for attribute, value in step.recursive:
                if attribute in _STRICT:
                    for names in (own, below):
                        names.add(attribute) if value else names.discard(attribute)
            # One without any, too: it may cover another.
            yield step.destination, tuple(sorted(own)), tuple(sorted(below)), step.because


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
