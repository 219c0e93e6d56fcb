"""Explaining: the plan of a config as data and text, with who asked for a step, why, and how it is undone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop_hookspecs.frozen import Frozen, frozen
from orlop_hookspecs.plan import PHASES

if TYPE_CHECKING:
    from orlop.engine.prepare import Prepared
    from orlop_hookspecs.plan import PlannedStep

_WHERE = {
    "host": "before there is a container process",
    "clone": "the birth of the container process",
    "host-with-pid": "on the host, while the container process waits",
    "container": "in the container process, the host's root still reachable",
    "confined": "in the container process, after the root switch",
    "built": "on the host, when the container is made and its process waits",
    "exec": "at start, in the container process",
}


@frozen
class Explanation(Frozen):
    """The plan of one config."""

    prepared: Prepared

    def as_data(self) -> dict[str, Any]:
        """Return the explanation as JSON data."""
        prepared = self.prepared
        return {
            "bundle": prepared.context.bundle,
            "rootfs": prepared.context.rootfs,
            "phases": [
                {"phase": phase, "steps": [_step(planned) for planned in prepared.plan.steps(phase)]}
                for phase in PHASES
                if prepared.plan.steps(phase)
            ],
            "hooks": prepared.late,
            "adjusted": prepared.owners,
        }

    def as_svg(self) -> str:
        """Return the explanation as a picture."""
        from orlop.drawing.plan import as_svg

        return as_svg(self.as_data(), _WHERE)

    def as_mermaid(self) -> str:
        """Return the explanation as a Mermaid flowchart."""
        from orlop.drawing.plan import as_mermaid

        return as_mermaid(self.as_data(), _WHERE)

    def as_text(self) -> str:
        """Return the explanation as lines for people."""
        prepared = self.prepared
        lines: list[str] = []
        for pointer, plugin in prepared.owners.items():
            lines.append(f"adjusted {pointer} [{plugin}]")
        for phase in PHASES:
            steps = prepared.plan.steps(phase)
            if steps:
                lines.append(f"{phase}: {_WHERE[phase]}")
                for planned in steps:
                    because = f" ({planned.step.because})" if planned.step.because else ""
                    lines.append(f"  {planned.step.describe()} [{planned.plugin}]{because}")
                    if planned.step.UNDO:
                        lines.append(f"    undo: {planned.step.UNDO}")
        for kind, hooks in prepared.late.items():
            lines.append(
                f"{kind}: {'after the program has started' if kind == 'poststart' else 'after delete'}"
            )
            lines.extend(f"  run {hook['path']} ({hook['because']})" for hook in hooks)
        return "\n".join(lines)

    def __str__(self) -> str:
        """Return the text."""
        return self.as_text()


def _step(planned: PlannedStep) -> dict[str, Any]:
    step = planned.step
    data: dict[str, Any] = {
        "step": type(step).__name__,
        "slot": planned.slot,
        "plugin": planned.plugin,
        "describe": step.describe(),
        "because": step.because,
    }
    if step.UNDO:
        data["undo"] = step.UNDO
    return data
