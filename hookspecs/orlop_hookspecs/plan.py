"""A plan: what will be done for one container, in which phase, in which order and for whom.

The phases follow the lifecycle of the runtime-spec (runtime.md, Lifecycle). Inside a phase the *slots*
below give the order, whatever plugin a step comes from: a plugin cannot mask a path before it is mounted,
nor drop capabilities before the seccomp filter that needs them. Inside a slot, plugins run in their
declared order and a plugin's steps in the order in which it returned them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from orlop_hookspecs.frozen import Frozen, frozen
from orlop_hookspecs.steps.base import Step

PHASES: Mapping[str, tuple[str, ...]] = {
    # On the host, before there is a container process. Each step may leave something behind and names its
    # undo.
    "host": ("require", "cgroup", "resources", "resctrl"),
    # The birth of the container process: namespaces are entered and made, ids are mapped, clocks are set. A
    # process that joins the container gets its CPUs first.
    "clone": ("affinity", "join", "new", "idmap", "clocks"),
    # On the host, with a container process that waits: membership first, because from here on it may consume.
    "host-with-pid": ("cgroup", "resctrl", "process", "netdev", "hooks"),
    # In the container process, in its namespaces, with the host's root still reachable.
    "container": ("root", "mounts", "devices", "links", "console", "hooks", "switch"),
    # In the container process, after the root switch: the host's files can no longer be named.
    "confined": ("names", "network", "sysctl", "session", "lookup", "protect", "root", "traits"),
    # On the host, with a container process that has made its container and waits for its start: what would
    # have hindered the making.
    "built": ("process",),
    # At start, in the container process: from the least to the most confined, ending in execve(2).
    "exec": ("hooks", "limits", "filter-early", "user", "capabilities", "filter-late", "execute"),
    # Not part of a creation. On the host, with a live container: its processes are written to images.
    "checkpoint": ("settings", "processes"),
    # In place of the phases from clone to exec: processes are made from images.
    "restore": ("settings", "processes"),
}
"""Phases in the order of the lifecycle, each with its slots in order."""


@frozen
class PlannedStep(Frozen):
    """A step with its place in the plan and the plugin that asked for it."""

    step: Step
    phase: str
    slot: str
    plugin: str

    def __init__(self, step: Step, phase: str, slot: str, plugin: str) -> None:
        """Set the fields; each plan has dozens of these, so they are set without being verified."""
        self.__dict__.update(step=step, phase=phase, slot=slot, plugin=plugin)


@frozen
class Plan(Frozen):
    """All planned steps of one container, grouped by phase and ordered inside each."""

    phases: Mapping[str, tuple[PlannedStep, ...]]

    def steps(self, phase: str) -> tuple[PlannedStep, ...]:
        """Return the ordered steps of *phase*; empty when nothing is planned there."""
        return self.phases.get(phase, ())

    def __iter__(self) -> Iterator[PlannedStep]:
        """Yield every planned step in the order of execution."""
        for phase in PHASES:
            yield from self.phases.get(phase, ())
