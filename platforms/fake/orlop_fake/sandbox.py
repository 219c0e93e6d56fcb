"""A container while it is being created, as :class:`orlop_hookspecs.kernel.Sandbox` describes it."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from orlop_fake.calls import call
from orlop_fake.execute import HANDLERS, Context, run_step
from orlop_fake.execute.context import refused_step
from orlop_fake.execute.finish import capability_warnings, unmapped_id
from orlop_fake.execute.host import check_host
from orlop_fake.execute.images import require
from orlop_fake.execute.sockets import Pidfd, send_pidfd
from orlop_fake.processes import SIGKILL, WAITING, Process
from orlop_fake.refusals import RuntimeCrash, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orlop_fake.machine import Machine
    from orlop_hookspecs.kernel import Journal
    from orlop_hookspecs.launch import LaunchOptions
    from orlop_hookspecs.plan import Plan, PlannedStep
    from orlop_hookspecs.record import Record


_BIRTH = ("affinity", "join", "new", "idmap", "clocks")


def _order(planned: PlannedStep) -> tuple[int, bool]:
    """Sort key: whatever the order of the config, the user namespace is made first and owns the others."""
    return _BIRTH.index(planned.slot), getattr(planned.step, "type", "") != "user"


class FakeSandbox:
    """Executes a plan; the container process dies with the runtime until :meth:`commit`."""

    __slots__ = ("_born", "_context", "_generation", "_plan", "_unchecked", "committed", "kernel")

    def __init__(
        self, kernel: Machine, plan: Plan, record: Record, journal: Journal, options: LaunchOptions
    ) -> None:
        """Begin; nothing is touched."""
        self.kernel = kernel
        self._plan = plan
        self._unchecked = True
        self.committed = False
        self._context = Context(kernel, record, journal, options)
        self._generation = kernel.generation
        self._born = False

    def check(self) -> None:
        """Refuse to go on for a runtime that is dead."""
        self.kernel.check_alive()
        if self._generation != self.kernel.generation:
            raise RuntimeCrash("the runtime that made this sandbox is dead")

    @property
    def container(self) -> str:
        """The container's identifier."""
        return self._context.container

    @property
    def process(self) -> Process | None:
        """The container process, once there is one."""
        return self._context.process if self._born else None

    @property
    def pid(self) -> int:
        """Process id of the container process; 0 before :meth:`clone`."""
        return self._context.process.pid if self._born else 0

    @property
    def start_time(self) -> int:
        """Start time of the container process in clock ticks."""
        return self._context.process.start_time if self._born else 0

    @property
    def warnings(self) -> Sequence[str]:
        """What was left out with a warning."""
        return tuple(self._context.warnings)

    @call("host")
    def host(self, planned: PlannedStep) -> None:
        """Execute one step of phase ``host``."""
        if self._unchecked:
            self._unchecked = False
            check_host(self._context, self._plan)
        run_step(HANDLERS, self._context, planned)

    @call("clone")
    def clone(self, steps: Sequence[PlannedStep]) -> None:
        """Make the container process with its namespaces and id maps; it then waits."""
        self._clone(steps)

    @call("restore")
    def restore(self, steps: Sequence[PlannedStep], born: Callable[[], None]) -> None:
        """Make the container as its config says, and put the processes of the images into it."""
        context, plan = self._context, self._plan
        for planned in steps:
            step: Any = planned.step
            if type(step).__name__ == "ConfigureCriu":
                run_step(HANDLERS, context, planned)
                continue
            try:
                require(context, step)
            except OSError as error:
                raise refused_step(context, planned, error) from error
        self._clone(plan.steps("clone"))
        process = context.process
        for group in context.cgroups.values():
            group.join(process)  # who makes the processes is in the container's cgroups already
        born()
        if "cgroup" in context.new:
            process.namespaces.cgroup.roots = dict(process.cgroups)
        for planned in (*plan.steps("container"), *plan.steps("confined")):
            # Hooks inside the container have run when it was made.
            if type(planned.step).__name__ != "RunHook":
                run_step(HANDLERS, context, planned)
        for planned in steps:
            if type(planned.step).__name__ != "ConfigureCriu":
                run_step(HANDLERS, context, planned)
        self.kernel.scheduler.settle()
        self.kernel.condition.notify_all()

    def _clone(self, steps: Sequence[PlannedStep]) -> None:
        kernel, context = self.kernel, self._context
        runtime = kernel.runtime
        process = Process(runtime.namespaces.copy(), runtime.root, kernel.clock.ticks)
        process.stage = WAITING
        context.process = process
        for planned in sorted(steps, key=_order):
            run_step(HANDLERS, context, planned)
        kernel.scheduler.admit(runtime, process)
        process.stage = WAITING
        process.namespaces.time.used = True
        process.owner = context.container
        process.output = kernel.new_output(context.container)
        process.context = context
        context.record.kernel["own_pid_namespace"] = process.is_init
        self._born = True
        send_pidfd(kernel, context.options.pidfd_socket, Pidfd(process.pid, "standard"), context.container)

    @call("host_with_pid")
    def host_with_pid(self, planned: PlannedStep, state: bytes) -> None:
        """Execute one step of phase ``host-with-pid``."""
        self._context.state = state
        run_step(HANDLERS, self._context, planned)

    @call("build")
    def build(
        self,
        container: Sequence[PlannedStep],
        confined: Sequence[PlannedStep],
        execute: Sequence[PlannedStep],
        state: bytes,
    ) -> None:
        """Execute phases ``container`` and ``confined``; the container process then waits for its start."""
        context = self._context
        process = context.process
        context.state = state
        if "cgroup" in context.new:
            process.namespaces.cgroup.roots = dict(process.cgroups)
        process.exec_steps = tuple(execute)
        for planned in execute:
            if type(planned.step).__name__ == "SetUser":
                self._refuse_ids(planned)
        for planned in (*container, *confined):
            run_step(HANDLERS, context, planned)
        for planned in execute:
            if type(planned.step).__name__ == "SetCapabilities":
                context.warnings += capability_warnings(planned.step, process.credentials)  # type: ignore[arg-type]

    def _refuse_ids(self, planned: PlannedStep) -> None:
        """Refuse now what setuid(2), setgid(2) and setgroups(2) would refuse at start."""
        step: Any = planned.step
        if self.kernel.uid and step.groups:
            # An unprivileged caller has denied setgroups(2) to be able to map its group.
            raise refused_step(self._context, planned, refusal(errno.EPERM, message="setgroups is denied"))
        unmapped = unmapped_id(self._context.process, step)
        if unmapped:
            why = refusal(errno.EINVAL, message="the id is not mapped into the container's user namespace")
            error = refused_step(self._context, planned, why)
            error.pointer = f"{step.because}/{unmapped}"
            raise error

    @call("commit")
    def commit(self) -> None:
        """Let the container process outlive the runtime."""
        self.committed = True
        self.kernel.sandboxes.pop(self, None)
        # From now on the devices in it are the network namespace's.
        self.kernel.pins.pop(self.container, None)

    def abort(self) -> None:
        """Kill the container process, if any, and reap it. Idempotent; never raises."""
        with self.kernel.lock:
            if self._generation == self.kernel.generation and self._born:
                process = self._context.process
                self.kernel.scheduler.exit(process, 128 + SIGKILL)
                self.kernel.scheduler.reap(process)

    def close(self) -> None:
        """Release what the creation holds; a container process that was not committed ends. Idempotent."""
        with self.kernel.lock:
            if not self.committed:
                self.abort()
            self.kernel.sandboxes.pop(self, None)
            self.kernel.open_sandboxes.pop(self, None)
