"""From a ``process`` document to the plan of a process that joins a container. Pure: nothing is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.engine.plan import make_plan
from orlop.engine.prepare import RefusedConfigError, coverage_problem, objection
from orlop_hookspecs.documents.process import User

if TYPE_CHECKING:
    from typing import Any

    from orlop.plugins.composition import Composition
    from orlop_hookspecs.documents import Config, Process
    from orlop_hookspecs.launch import PlanContext
    from orlop_hookspecs.plan import Plan

_PATH = "process"
_POINTER = "/process"

INHERITED = (
    "capabilities",
    "rlimits",
    "no_new_privileges",
    "apparmor_profile",
    "oom_score_adj",
    "selinux_label",
    "scheduler",
    "io_priority",
    "exec_cpu_affinity",
)
"""What a process document may leave to the container's own process: how it is confined and scheduled."""


def complete(process: Process, base: Process | None) -> Process:
    """Return *process* with what it leaves to *base*, the container's own process.

    What is confined by the container's config shall not be less confined because a document is short. What a
    process does and where (arguments, environment, directory, user, terminal) is the document's alone.
    """
    if base is None:
        return process
    changes: dict[str, Any] = {
        name: getattr(base, name) for name in INHERITED if getattr(process, name) is None
    }
    umask = base.user.umask if base.user is not None else None
    user = process.user or User(uid=0, gid=0)
    if umask is not None and user.umask is None:
        changes["user"] = user.evolve(umask=umask)
    return process.evolve(**changes)


def plan_of(
    composition: Composition,
    config: Config,
    process: Process,
    context: PlanContext,
    *,
    path: str = "",
) -> Plan:
    """Return the plan for *process* in the container of *config*.

    Args:
        composition: The plugins.
        config: The container's effective config.
        process: The whole process, completed.
        context: What planners may know beside it.
        path: Name of the file that holds the process document; empty: it was made of flags.

    Raises:
        ConfigError: A property is not covered, or a plugin objects.
        PluginError: A plugin failed, or did not keep to its hook.
    """
    problems = [
        coverage_problem(composition, finding, {})
        for finding in composition.coverage.refusals_at(process, _PATH, _POINTER)
    ]
    joining = config.evolve(process=process)
    if not problems:
        problems = [
            objection(plugin, problem) for plugin, problem in composition.hooks.validate(joining, context)
        ]
    if problems:
        raise RefusedConfigError(
            [(_pointer(pointer, path), *rest) for pointer, *rest in problems],  # type: ignore[misc]
            container=context.container,
            path=path,
        )
    plan, _ = make_plan(composition.hooks.plan(joining, context), joins=True)
    return plan


def _pointer(pointer: str, path: str) -> str:
    """Return *pointer* as one into the document at *path*, which is the process alone."""
    return pointer.removeprefix(_POINTER) if path else pointer
