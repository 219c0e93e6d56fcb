"""Planning: the plugins' steps, put into the phases and slots of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop_hookspecs.errors import PluginError
from orlop_hookspecs.plan import PHASES, Plan, PlannedStep
from orlop_hookspecs.steps.base import STEP_TYPES
from orlop_hookspecs.steps.hooks import RunHook

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orlop_hookspecs.steps.base import Step

Late = dict[str, list[dict[str, Any]]]
"""Kind of hook to the fields of its RunHook steps: what the lifecycle runs after the plan."""

LATE_KINDS = ("poststart", "poststop")
"""Hooks that stand in no phase (runtime.md, Lifecycle, steps 9 and 13)."""

_PLACES: dict[tuple[str, str], int] = {
    place: number
    for number, place in enumerate((phase, slot) for phase, slots in PHASES.items() for slot in slots)
}
_ORDER = tuple(_PLACES)


def make_plan(answers: Iterable[tuple[str, Sequence[Step]]]) -> tuple[Plan, Late]:
    """Return the plan made of each plugin's steps, and the hooks that are run after it.

    Raises:
        PluginError: A step stands in no phase or slot of the contract, or is of a class that no kernel knows.
    """
    buckets: list[list[PlannedStep] | None] = [None] * len(_ORDER)
    late: Late = {}
    for plugin, steps in answers:
        for step in steps:
            phase, slot = step.phase, step.slot
            place = _PLACES.get((phase, slot))
            if place is None:
                if isinstance(step, RunHook) and step.kind in LATE_KINDS:
                    late.setdefault(step.kind, []).append(step.as_data())
                    continue
                raise PluginError(
                    f"step {type(step).__name__} stands in unknown phase {phase!r}, slot {slot!r}",
                    plugin=plugin,
                )
            if STEP_TYPES.get(type(step).__name__) is not type(step):
                raise PluginError(
                    f"{type(step).__name__} is no step of the contract: kernels execute only those",
                    plugin=plugin,
                )
            bucket = buckets[place]
            if bucket is None:
                bucket = buckets[place] = []
            bucket.append(PlannedStep(step, phase, slot, plugin))
    phases: dict[str, tuple[PlannedStep, ...]] = {}
    for (phase, _), bucket in zip(_ORDER, buckets, strict=True):
        if bucket is not None:
            phases[phase] = phases.get(phase, ()) + tuple(bucket)
    return Plan(phases), late
