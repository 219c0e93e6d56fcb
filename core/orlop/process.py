"""A process that was started in a container beside its first one; made by :meth:`orlop.Container.exec`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.lifecycle.signals import parse_signal
from orlop_hookspecs.errors import StateError

if TYPE_CHECKING:
    from orlop_hookspecs.kernel import LiveKernel
    from orlop_hookspecs.record import Record


class Process:
    """One such process; only a name: the kernel knows its state."""

    __slots__ = ("kernel", "record")

    def __init__(self, record: Record, kernel: LiveKernel) -> None:
        """Name the process by the record that :meth:`Record.of_process` made of it."""
        self.record = record
        self.kernel = kernel

    @property
    def pid(self) -> int:
        """Its process id as the caller sees it."""
        return self.record.pid

    @property
    def container(self) -> str:
        """Identifier of its container."""
        return self.record.id

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for its end, at most *timeout* seconds.

        Returns:
            Its exit status, or 128 plus the signal that ended it; ``None`` when the caller is not its parent.

        Raises:
            WaitTimeoutError: *timeout* seconds passed.
        """
        return self.kernel.wait(self.record, timeout)

    def kill(self, signal: str | int = "SIGTERM") -> None:
        """Send it a signal.

        Raises:
            UsageError: There is no such signal.
            StateError: It has ended.
        """
        number = parse_signal(signal)
        try:
            self.kernel.signal(self.record, number)
        except StateError:
            raise StateError(
                "the process has ended", act="kill", container=self.record.id, value=self.pid
            ) from None

    def __repr__(self) -> str:
        """Return process id and container."""
        return f"<Process {self.pid} in {self.container}>"
