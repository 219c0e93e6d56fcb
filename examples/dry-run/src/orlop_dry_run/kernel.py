"""The kernel: it keeps what state each container would be in, and writes down everything else.

The state is one word in the container's own directory, so that another runtime finds it. A container process
has the number of none that is likely to exist: it is above what most kernels give out.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from orlop_dry_run.sandbox import DryEntry, DrySandbox, describe
from orlop_dry_run.view import RealView
from orlop_hookspecs.errors import StateError, WaitTimeoutError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from orlop_hookspecs.host import HostView
    from orlop_hookspecs.kernel import Journal, Store
    from orlop_hookspecs.launch import ExecOptions, LaunchOptions
    from orlop_hookspecs.plan import Plan, PlannedStep
    from orlop_hookspecs.record import Record

STATE = "dry-run"
"""File in a container's directory."""

_FATAL = frozenset((9, 15))
"""Signals that end a program which has said nothing about them."""

_NO_MORE = frozenset(("stopped",))


class DryKernel:
    """Implements :class:`orlop_hookspecs.kernel.Kernel`."""

    name = "dry-run"

    def __init__(self, lines: list[str] | None = None, log: str = "") -> None:
        """Write to *lines*, and to the file *log*."""
        self._lines = [] if lines is None else lines
        self._log = log
        self._memory: dict[str, str] = {}
        self._next = 0

    # -- what would be done

    def note(self, container: str, text: str) -> None:
        """Write down that *text* would be done for *container*."""
        line = f"{container}: {text}"
        self._lines.append(line)
        if self._log:
            with open(self._log, "a", encoding="utf-8") as file:
                file.write(line + "\n")

    def next_process(self) -> tuple[int, int]:
        """Return the number and the start time of a process that is not there."""
        self._next += 1
        return 4_000_000 + self._next, time.monotonic_ns()

    def put_status(self, record: Record, status: str) -> None:
        """Keep the *status* of a container."""
        if not record.directory:
            self._memory[record.id] = status
            return
        path = os.path.join(record.directory, STATE)
        with open(f"{path}.new", "w", encoding="ascii") as file:
            file.write(status)
        os.replace(f"{path}.new", path)

    def _status(self, record: Record) -> str:
        if not record.directory:
            return self._memory.get(record.id, "stopped")
        try:
            with open(os.path.join(record.directory, STATE), encoding="ascii") as file:
                return file.read()
        except FileNotFoundError:
            return "stopped"

    # -- the live kernel

    def identity(self) -> tuple[int, int]:
        """Return the process id of the runtime, and a start time that is always the same."""
        return os.getpid(), 1

    def prewarm(self) -> None:
        """Do nothing: a dry run has nothing to warm."""

    def now(self) -> str:
        """Return the time of the host's clock."""
        nanoseconds = time.time_ns()
        second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(nanoseconds // 10**9))
        return f"{second}.{nanoseconds % 10**9:09d}Z"

    def status(self, record: Record) -> str:
        """Return the state that the container would be in."""
        if record.phase == "creating":
            return "creating" if record.creator == list(self.identity()) else "stopped"
        return self._status(record)

    def start(self, record: Record, state: bytes) -> None:
        """Write down that the program would run; what it is told is not of interest."""
        del state
        for line in record.kernel.get("start", ()):
            self.note(record.id, f"start: {line}")
        self.put_status(record, "running")

    def enter(self, record: Record, plan: Plan, options: ExecOptions) -> DryEntry:
        """Begin one more process.

        Raises:
            StateError: The container has stopped.
        """
        del options
        if self._status(record) in _NO_MORE:
            raise StateError("container not running", container=record.id)
        return DryEntry(self, record, plan)

    def signal(self, record: Record, number: int, *, everything: bool = False) -> None:
        """Write down a signal; SIGKILL and, for a program that runs, SIGTERM would end the container.

        Raises:
            StateError: The container process has ended.
        """
        if self._status(record) in _NO_MORE:
            raise StateError("container not running", container=record.id)
        whom = "every process" if everything else "the container process"
        self.note(record.id, f"signal {number} is sent to {whom}")
        if number in _FATAL:
            self.put_status(record, "stopped")

    def wait(self, record: Record, timeout: float | None = None) -> int | None:
        """Return at once: a program that does not run either has ended or never will.

        Raises:
            WaitTimeoutError: It never will.
        """
        del timeout
        if self._status(record) not in _NO_MORE:
            raise WaitTimeoutError(
                "nothing runs in a dry run, so nothing ends by itself", container=record.id
            )
        return None

    def terminate(self, record: Record) -> None:
        """Write down that every process would be killed. Idempotent."""
        if self._status(record) not in _NO_MORE:
            self.note(record.id, "every process is killed")
            self.put_status(record, "stopped")

    def processes(self, record: Record) -> Sequence[int]:
        """Return the container process alone."""
        return [] if self._status(record) in _NO_MORE else [record.pid]

    def undo(self, record: Record, undo: str, data: Mapping[str, Any]) -> None:
        """Write down what would be undone."""
        del undo
        self.note(record.id, f"undo: {data.get('what', '')}")

    def run_hook(self, hook: Mapping[str, Any], state: bytes) -> None:
        """Write down the hook."""
        del state
        self.note("hook", f"{hook['kind']}: {hook['path']}")

    def apply(self, record: Record, steps: Iterable[Any]) -> None:
        """Write down steps on a live container."""
        for step in steps:
            self.note(record.id, f"update: {step.describe()}")

    def freeze(self, record: Record, *, frozen: bool) -> None:
        """Write down that all processes would be suspended or resumed."""
        self.note(record.id, "all processes are suspended" if frozen else "all processes go on")
        self.put_status(record, "paused" if frozen else "running")

    def checkpoint(self, record: Record, steps: Sequence[PlannedStep], journal: Journal) -> None:
        """Write down what would be written to images."""
        del journal
        for planned in steps:
            self.note(record.id, f"checkpoint: {describe(planned)}")

    def stats(self, record: Record) -> Mapping[str, Any]:
        """Return nothing: nobody consumes anything."""
        del record
        return {}

    def host_view(self) -> HostView:
        """Return the files of the real host, which are only read."""
        return RealView()

    # -- creating

    def store(self) -> Store | None:
        """Return ``None``: containers are kept in a directory, like those of Linux."""
        return None

    def sandbox(self, plan: Plan, record: Record, journal: Journal, options: LaunchOptions) -> DrySandbox:
        """Begin a creation."""
        del options
        return DrySandbox(self, plan, record, journal)

    def close(self) -> None:
        """Do nothing: there are no helpers. Idempotent."""
