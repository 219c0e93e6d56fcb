"""Planning: the plugins' steps, put into the phases and slots of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop_hookspecs.errors import PluginError
from orlop_hookspecs.plan import PHASES, Plan, PlannedStep
from orlop_hookspecs.steps.base import STEP_TYPES, Step
from orlop_hookspecs.steps.hooks import RunHook

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Late = dict[str, list[dict[str, Any]]]
    """Kind of hook to the fields of its RunHook steps: what the lifecycle runs after the plan."""

LATE_KINDS = ("poststart", "poststop")
"""Hooks that stand in no phase (runtime.md, Lifecycle, steps 9 and 13)."""

_PLACES: dict[tuple[str, str], int] = {
    place: number
    for number, place in enumerate((phase, slot) for phase, slots in PHASES.items() for slot in slots)
}
_ORDER = tuple(_PLACES)


def make_plan(answers: Iterable[tuple[str, Sequence[Step]]], *, joins: bool = False) -> tuple[Plan, Late]:
    """Return the plan made of each plugin's steps, and the hooks that are run after it.

    With *joins* it is the plan of a process that joins a container: only steps with ``JOINS`` are in it.

    Raises:
        PluginError: A step stands in no phase or slot of the contract, or is of a class that no kernel knows.
    """
    buckets: dict[int, list[PlannedStep]] = {}
    late: Late = {}
    for plugin, steps in answers:
        for step in steps:
            if joins and not step.JOINS:
                continue
            place = _FIXED.get(type(step))
            if place is None:
                place = _place(step, plugin, late)
                if place < 0:
                    continue
            phase, slot = _ORDER[place]
            planned = PlannedStep(step=step, phase=phase, slot=slot, plugin=plugin)
            bucket = buckets.get(place)
            if bucket is None:
                buckets[place] = [planned]
            else:
                bucket.append(planned)
    phases: dict[str, list[PlannedStep]] = {}
    for place in sorted(buckets):
        phases.setdefault(_ORDER[place][0], []).extend(buckets[place])
    return Plan({phase: tuple(steps) for phase, steps in phases.items()}), late


_FIXED: dict[type[Step], int] = {}
"""Classes of the contract whose steps all stand in one place, with that place; filled as they are met."""


def _place(step: Step, plugin: str, late: Late) -> int:
    """Return the place of *step* in the order of all slots; -1 for a hook that went to *late*."""
    cls = type(step)
    phase, slot = step.phase, step.slot
    place = _PLACES.get((phase, slot), -1)
    if place < 0:
        if isinstance(step, RunHook) and step.kind in LATE_KINDS:
            late.setdefault(step.kind, []).append(step.as_data())
            return -1
        raise PluginError(
            f"step {cls.__name__} stands in unknown phase {phase!r}, slot {slot!r}", plugin=plugin
        )
    if STEP_TYPES.get(cls.__name__) is not cls:
        raise PluginError(
            f"{cls.__name__} is no step of the contract: kernels execute only those", plugin=plugin
        )
    if cls.phase is Step.phase and cls.slot is Step.slot:
        _FIXED[cls] = place
    return place
