"""A container while it would be created, and a process while it would join one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from orlop_dry_run.kernel import DryKernel
    from orlop_hookspecs.kernel import Journal
    from orlop_hookspecs.plan import Plan, PlannedStep
    from orlop_hookspecs.record import Record


def describe(planned: PlannedStep) -> str:
    """Return a step in words, with who asked for it and why."""
    because = f" ({planned.step.because})" if planned.step.because else ""
    return f"{planned.step.describe()} [{planned.plugin}]{because}"


class DrySandbox:
    """Implements :class:`orlop_hookspecs.kernel.Sandbox`."""

    def __init__(self, kernel: DryKernel, plan: Plan, record: Record, journal: Journal) -> None:
        """Begin; nothing is written down yet."""
        self._kernel = kernel
        self._plan = plan
        self._record = record
        self._journal = journal
        self.pid = 0
        self.start_time = 0
        self.warnings: Sequence[str] = ()
        self._status = "created"

    def _do(self, phase: str, steps: Iterable[PlannedStep]) -> None:
        for planned in steps:
            if planned.step.UNDO:
                # Announced before it is done, as on any platform: whoever dies in between leaves a journal.
                self._journal.intend("dry-run", what=planned.step.UNDO)
            self._kernel.note(self._record.id, f"{phase}: {describe(planned)}")

    def host(self, planned: PlannedStep) -> None:
        """Write down a step of phase ``host``."""
        self._do("host", [planned])

    def clone(self, steps: Sequence[PlannedStep]) -> None:
        """Write down the birth of the container process."""
        self._do("clone", steps)
        self.pid, self.start_time = self._kernel.next_process()

    def host_with_pid(self, planned: PlannedStep, state: bytes) -> None:
        """Write down a step of phase ``host-with-pid`` or ``built``."""
        del state
        self._do(planned.phase, [planned])

    def build(
        self,
        container: Sequence[PlannedStep],
        confined: Sequence[PlannedStep],
        execute: Sequence[PlannedStep],
        state: bytes,
    ) -> None:
        """Write down what the container process would do, and keep what it would do at its start."""
        del state
        self._do("container", container)
        self._do("confined", confined)
        self._record.kernel["start"] = [describe(planned) for planned in execute]

    def restore(self, steps: Sequence[PlannedStep], born: Callable[[], None]) -> None:
        """Write down what would be made from images."""
        self.clone(())
        born()
        self._do("restore", steps)
        self._status = "running"

    def commit(self) -> None:
        """Keep the container."""
        self._kernel.put_status(self._record, self._status)

    def abort(self) -> None:
        """Forget the container process. Idempotent; never raises."""
        if self.pid:
            self._kernel.note(self._record.id, "the container process is killed")
        self.pid = 0

    def close(self) -> None:
        """Do nothing. Idempotent."""


class DryEntry:
    """Implements :class:`orlop_hookspecs.kernel.Entry`."""

    def __init__(self, kernel: DryKernel, record: Record, plan: Plan) -> None:
        """Write down what the process would do before it waits for its start."""
        self._kernel = kernel
        self._record = record
        self._plan = plan
        self.pid, self.start_time = kernel.next_process()
        self.warnings: Sequence[str] = ()
        self._status = "created"
        for planned in plan:
            if planned.phase != "exec":
                kernel.note(record.id, f"exec: {describe(planned)}")

    def run(self, state: bytes) -> None:
        """Write down that its program would run."""
        del state
        for planned in self._plan.steps("exec"):
            self._kernel.note(self._record.id, f"exec: {describe(planned)}")

    def abort(self) -> None:
        """Write down its end. Idempotent; never raises."""
        if self.pid:
            self._kernel.note(self._record.id, "the process is killed")
        self.pid = 0

    def close(self) -> None:
        """Do nothing. Idempotent."""
