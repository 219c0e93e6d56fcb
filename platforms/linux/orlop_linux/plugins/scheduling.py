"""Plugin ``scheduling``: scheduler, I/O priority, CPU affinity of the process (config.md, Linux Process)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Handle
from orlop_linux.plugins.shared import plugin_info

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop_hookspecs.documents import Config
    from orlop_hookspecs.hooks.capability import Problem
    from orlop_hookspecs.hooks.identity import PluginInfo
    from orlop_hookspecs.launch import PlanContext
    from orlop_hookspecs.steps.base import Step


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info("scheduling", "CPU scheduler, I/O priority and CPU affinity", after=("process",))


@hookimpl
def orlop_handles() -> Sequence[Handle]:
    """Return the three properties, each with all that is in it."""
    return (
        Handle("process.scheduler"),
        Handle("process.ioPriority"),
        Handle("process.execCPUAffinity"),
    )


def _wanted(config: Config) -> bool:
    process = config.process
    return process is not None and bool(process.scheduler or process.io_priority or process.exec_cpu_affinity)


@hookimpl
def orlop_validate(config: Config, context: PlanContext) -> Sequence[Problem]:
    """Refuse what no kernel takes, and what the kernel would take and ignore."""
    if not _wanted(config):
        return ()
    from orlop_linux.plugins.scheduling_rules import problems

    return tuple(problems(config, joins=context.joins))


@hookimpl
def orlop_plan(config: Config, context: PlanContext) -> Sequence[Step]:
    """Plan policy, priority and, for processes that are executed later, the affinity."""
    if not _wanted(config):
        return ()
    from orlop_linux.plugins.scheduling_rules import steps

    return tuple(steps(config, joins=context.joins))
