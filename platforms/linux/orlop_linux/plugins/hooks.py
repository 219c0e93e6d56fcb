"""Plugin ``hooks``: the six kinds of hooks (config.md, POSIX-platform Hooks).

Each hook is one step. Those of ``poststart`` and ``poststop`` stand in no phase of the plan; the lifecycle
runs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Handle, Problem
from orlop_hookspecs.steps.hooks import RunHook
from orlop_linux.plugins.shared import (
    argument_problems,
    containers,
    environment_problems,
    is_absolute,
    path_fault,
    plugin_info,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orlop_hookspecs.documents import Config, Hook
    from orlop_hookspecs.hooks.identity import PluginInfo
    from orlop_hookspecs.steps.base import Step

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
"""The kinds in the order of the lifecycle."""

TIMEOUT_MAX = (1 << 31) - 1
"""Longest timeout in seconds, 68 years: what poll(2) and timers of all kinds can still count."""


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info("hooks", "hooks of all six kinds with their timeouts", after=("process", "cgroups"))


@hookimpl
def orlop_handles() -> Sequence[Handle]:
    """Return the kinds of hooks."""
    return (*containers("hooks"), *(Handle(f"hooks.{kind}") for kind in KINDS))


@hookimpl
def orlop_features() -> Mapping[str, Any]:
    """Name the kinds of hooks."""
    return {"hooks": KINDS}


def _all(config: Config) -> Iterator[tuple[str, int, Hook]]:
    """Yield kind, index and hook of every hook of *config*, in the order of the lifecycle."""
    hooks = config.hooks
    if hooks is None:
        return
    for kind, listed in zip(
        KINDS,
        (
            hooks.prestart,
            hooks.create_runtime,
            hooks.create_container,
            hooks.start_container,
            hooks.poststart,
            hooks.poststop,
        ),
        strict=True,
    ):
        for index, hook in enumerate(listed or ()):
            yield kind, index, hook


@hookimpl
def orlop_validate(config: Config) -> Sequence[Problem]:
    """Refuse relative paths, timeouts that are over before they begin, and what execve(2) could not take."""
    return tuple(_problems(config))


def _problems(config: Config) -> Iterator[Problem]:
    for kind, index, hook in _all(config):
        here = f"/hooks/{kind}/{index}"
        if not is_absolute(hook.path):
            yield Problem(f"{here}/path", "the path of a hook must be absolute", hook.path)
        elif path_fault(hook.path):
            yield Problem(f"{here}/path", path_fault(hook.path), hook.path)
        yield from argument_problems(hook.args or (), f"{here}/args")
        yield from environment_problems(hook.env or (), f"{here}/env")
        if hook.timeout is not None and not 0 < hook.timeout <= TIMEOUT_MAX:
            yield Problem(f"{here}/timeout", f"a timeout is from 1 to {TIMEOUT_MAX} seconds", hook.timeout)


@hookimpl
def orlop_plan(config: Config) -> Sequence[Step]:
    """Plan the hooks of all kinds."""
    return tuple(
        RunHook(
            because=f"/hooks/{kind}/{index}",
            kind=kind,
            index=index,
            path=hook.path,
            args=hook.args or (),
            env=hook.env or (),
            timeout=hook.timeout,
        )
        for kind, index, hook in _all(config)
    )
