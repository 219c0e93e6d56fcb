"""What a platform must be able to do: the only part of a runtime that touches a kernel.

A platform is handed a finished plan and executes it; it decides nothing that the config or a plugin
decides. The core calls the methods below in this order:

    create:  sandbox -> Sandbox.host* -> clone -> host_with_pid* -> build -> host_with_pid*
             -> (record is saved) -> commit
    restore: sandbox -> Sandbox.host* -> restore (-> host_with_pid*) -> host_with_pid* -> (record) -> commit
    start:   start, run_hook(poststart)*
    exec:    enter -> Entry.run
    kill:    signal
    delete:  terminate (when forced), undo* (newest entry first), run_hook(poststop)*

Everything a step leaves behind is announced through :meth:`Journal.intend` *before* it is done, so that a
runtime killed at any instruction leaves a journal that says all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from orlop_hookspecs.host import HostView
from orlop_hookspecs.launch import ExecOptions, LaunchOptions
from orlop_hookspecs.plan import Plan, PlannedStep
from orlop_hookspecs.record import Record


class Journal(Protocol):
    """Where undo entries go before the act."""

    def intend(self, undo: str, **data: Any) -> None:  # noqa: ANN401 - any primitive
        """Record that undo *undo* with *data* (JSON primitives) is due from now on."""


class Slot(Protocol):
    """One container's place in a store, held under an exclusive lock until it is closed."""

    @property
    def path(self) -> str:
        """The container's directory; empty when the store has none."""

    def read(self, name: str) -> bytes | None:
        """Return the content of *name*, or ``None`` when it does not exist."""

    def write(self, name: str, data: bytes) -> None:
        """Replace *name* atomically: a reader sees the old content or the new."""

    def append(self, name: str, data: bytes) -> None:
        """Append *data* to *name*, in one write."""

    def remove(self) -> None:
        """Remove the container's place; its identifier is free again. Idempotent."""

    def close(self) -> None:
        """Release the lock. Idempotent."""


class Store(Protocol):
    """All containers of one state root."""

    def create(self, container: str) -> Slot:
        """Take *container* and return its locked slot.

        Raises:
            ContainerExistsError: The identifier is taken.
        """

    def open(self, container: str, *, wait: bool = True) -> Slot:
        """Return the locked slot of an existing container.

        With ``wait=False`` the slot may be unlocked; the caller then only reads.

        Raises:
            ContainerNotFoundError: There is no such container.
        """

    def list(self) -> Sequence[str]:
        """Return all identifiers, sorted."""


class Sandbox(Protocol):
    """A container while it is being created."""

    @property
    def pid(self) -> int:
        """Process id of the container process as the caller sees it; 0 before :meth:`clone`."""

    @property
    def start_time(self) -> int:
        """Start time of the container process, see :attr:`Record.start_time`."""

    @property
    def warnings(self) -> Sequence[str]:
        """What was left out where the spec demands a warning instead of an error."""

    def host(self, planned: PlannedStep) -> None:
        """Execute one step of phase ``host``."""

    def clone(self, steps: Sequence[PlannedStep]) -> None:
        """Make the container process with its namespaces and id maps; it then waits."""

    def host_with_pid(self, planned: PlannedStep, state: bytes) -> None:
        """Execute one step of phase ``host-with-pid`` or ``built``; *state* is the hooks' state document."""

    def build(
        self,
        container: Sequence[PlannedStep],
        confined: Sequence[PlannedStep],
        execute: Sequence[PlannedStep],
        state: bytes,
    ) -> None:
        """Let the container process execute phases ``container`` and ``confined``, then wait for its start.

        *state* is the state document for createContainer and startContainer hooks, without ``pid`` and
        ``status``: the process fills in what it is inside the container.
        """

    def restore(self, steps: Sequence[PlannedStep], born: Callable[[], None]) -> None:
        """Execute steps of phase ``restore``, in place of :meth:`clone` and :meth:`build`.

        *born* is called when the container process exists, in its namespaces, and runs nothing yet: the steps
        of phase ``host-with-pid`` can be executed from then on. When it raises, the processes end.

        Raises:
            StepError, PlatformError: Nothing runs.
        """

    def commit(self) -> None:
        """The record is saved: from now on the container process outlives the caller."""

    def abort(self) -> None:
        """Kill the container process, if any, and reap it. Idempotent; never raises."""

    def close(self) -> None:
        """Release the descriptors of the creation. Idempotent."""


class Entry(Protocol):
    """A process while it joins a container; see :meth:`LiveKernel.enter`."""

    @property
    def pid(self) -> int:
        """Its process id as the caller sees it."""

    @property
    def start_time(self) -> int:
        """Its start time, see :attr:`Record.start_time`."""

    @property
    def warnings(self) -> Sequence[str]:
        """What was left out where the spec demands a warning instead of an error."""

    def run(self, state: bytes) -> None:
        """Let it execute phase ``exec``; return when its program runs, which then outlives the caller.

        *state* is the container's state document, as JSON, for those whom the start tells of the container.

        Raises:
            StepError: A step failed; the process has ended.
        """

    def abort(self) -> None:
        """Kill the process, whether its program runs or not, and reap it. Idempotent; never raises."""

    def close(self) -> None:
        """Release the descriptors; a process whose program does not run ends. Idempotent."""


class LiveKernel(Protocol):
    """What is done to a container that exists; the part that small commands load."""

    name: str
    """The platform's name, as in :attr:`Record.platform`."""

    def identity(self) -> tuple[int, int]:
        """Return process id and start time of the calling runtime."""

    def prewarm(self) -> None:
        """Begin in the background what a create will need; called before the plugins are loaded.

        Nothing may be left when no create follows. Problems are not reported: the create meets them again.
        """

    def now(self) -> str:
        """Return the time as RFC 3339 with nanoseconds in UTC."""

    def status(self, record: Record) -> str:
        """Return ``creating``, ``created``, ``running``, ``paused`` or ``stopped``."""

    def start(self, record: Record, state: bytes) -> None:
        """Let the waiting container process execute its phase ``exec``; return when the program runs.

        *state* is the state document, as JSON, for those whom the start tells of the container.

        Raises:
            StepError: The seccomp agent is not there; the container process still waits for its start.
            StepError, HookError: A step of phase ``exec`` failed; the container process has ended.
        """

    def enter(self, record: Record, plan: Plan, options: ExecOptions) -> Entry:
        """Make one more process in a created, running or paused container; it then waits for its start.

        The process joins all namespaces and cgroups of the container process and its root directory; then the
        steps of *plan* are executed for it, all of which have ``JOINS``, but for those of phase ``exec``.
        Nothing is left of a process that could not be made, or whose caller has died.

        Raises:
            StateError: The container has stopped.
            StepError: The host refused.
        """

    def signal(self, record: Record, number: int, *, everything: bool = False) -> None:
        """Send a signal to the container process, or to every process of the container.

        Raises:
            StateError: The container process has ended.
        """

    def wait(self, record: Record, timeout: float | None = None) -> int | None:
        """Wait for the end of the container process.

        Returns:
            Its exit status, or 128 plus the signal that ended it; ``None`` when the process is not the
            caller's child and its status is therefore unknown.

        Raises:
            WaitTimeoutError: *timeout* seconds passed.
        """

    def terminate(self, record: Record) -> None:
        """Kill every process of the container and wait until all are gone. Idempotent."""

    def processes(self, record: Record) -> Sequence[int]:
        """Return the process ids of the container, as the caller sees them, sorted."""

    def undo(self, record: Record, undo: str, data: Mapping[str, Any]) -> None:
        """Undo one journal entry. Idempotent; never touches what the container did not make."""

    def run_hook(self, hook: Mapping[str, Any], state: bytes) -> None:
        """Run a hook in the runtime's namespaces; *hook* is the fields of a RunHook step.

        Raises:
            HookError: It failed, could not be run, or ran out of time.
        """

    def apply(self, record: Record, steps: Iterable[Any]) -> None:
        """Execute steps on a live container: ``WriteCgroup``, ``SetDeviceRules``, ``WriteSchemata``."""

    def freeze(self, record: Record, *, frozen: bool) -> None:
        """Suspend or resume all processes of the container."""

    def checkpoint(self, record: Record, steps: Sequence[PlannedStep], journal: Journal) -> None:
        """Execute steps of phase ``checkpoint``; the container goes on, or its processes have ended.

        Raises:
            StepError, PlatformError: Nothing has become of the container: it runs, or is paused, as before.
        """

    def stats(self, record: Record) -> Mapping[str, Any]:
        """Return what the kernel accounts for the container, by controller."""

    def host_view(self) -> HostView:
        """Return what plugins see of the host's files: while they adjust a config, and for their statistics.

        Since: 1.1; on a platform without it, plugins that look are refused.
        """


class Kernel(LiveKernel, Protocol):
    """The whole of a platform: it can also create."""

    def store(self) -> Store | None:
        """Return the kernel's own store, or ``None`` when containers are kept in a directory on disk."""

    def sandbox(self, plan: Plan, record: Record, journal: Journal, options: LaunchOptions) -> Sandbox:
        """Begin a creation; nothing has been touched yet."""

    def close(self) -> None:
        """End helpers of this kernel; containers live on. Idempotent."""


class Platform(Protocol):
    """What a platform plugin returns from ``orlop_platform``."""

    name: str
    """Short name: ``linux``, ``fake``."""

    # Optional, since 1.1: executes, a sequence of names of platforms whose plans this one executes as well.
    # Plugins that plan for one of them are active here, too.

    def kernel(self, **options: Any) -> Kernel:  # noqa: ANN401 - each platform documents its own options
        """Return a kernel; *options* come from ``Runtime.compose(config=...)``."""
