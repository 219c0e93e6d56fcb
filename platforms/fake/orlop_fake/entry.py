"""A process while it joins a container, as :class:`orlop_hookspecs.kernel.Entry` describes it."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from orlop_fake.calls import call
from orlop_fake.execute import HANDLERS, Context, run_step
from orlop_fake.execute.context import refused_step
from orlop_fake.execute.finish import capability_warnings, unmapped_id
from orlop_fake.execute.sockets import Pidfd, send_pidfd
from orlop_fake.live import NoJournal, find, groups_of
from orlop_fake.processes import SIGKILL, WAITING, Process
from orlop_fake.refusals import RuntimeCrash, refusal
from orlop_fake.traits import allowed
from orlop_hookspecs.errors import StateError, StepError
from orlop_hookspecs.launch import LaunchOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orlop_fake.cgroups import Cgroup
    from orlop_fake.machine import Machine
    from orlop_hookspecs.launch import ExecOptions
    from orlop_hookspecs.plan import Plan, PlannedStep
    from orlop_hookspecs.record import Record

_BEFORE = ("host", "clone")
_INSIDE = ("host-with-pid", "container", "confined", "built")


class FakeEntry:
    """Executes the plan of a process that joins; it dies with the runtime until its program runs."""

    __slots__ = ("_context", "_exec", "_generation", "_init", "_options", "_process", "committed", "kernel")

    def __init__(self, kernel: Machine, record: Record, options: ExecOptions) -> None:
        """Begin; there is no process yet.

        Raises:
            StateError: The container has stopped.
        """
        self.kernel = kernel
        self.committed = False
        self._options = options
        self._generation = kernel.generation
        self._process: Process | None = None
        self._exec: tuple[PlannedStep, ...] = ()
        self._context = Context(
            kernel, record, NoJournal(), LaunchOptions(console_socket=options.console_socket)
        )
        self._context.joins = True
        self._init = self._require_init()

    def _require_init(self) -> Process:
        record = self._context.record
        found = find(self.kernel, record.pid, record.start_time)
        if found is None or found.ended:
            raise StateError("cannot exec in a stopped container", container=record.id, act="exec")
        return found

    def check(self) -> None:
        """Refuse to go on for a runtime that is dead."""
        self.kernel.check_alive()
        if self._generation != self.kernel.generation:
            raise RuntimeCrash("the runtime that made this process is dead")

    @property
    def container(self) -> str:
        """The container's identifier."""
        return self._context.container

    @property
    def process(self) -> Process | None:
        """The process, once there is one."""
        return self._process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid if self._process is not None else 0

    @property
    def start_time(self) -> int:
        """Its start time in clock ticks."""
        return self._process.start_time if self._process is not None else 0

    @property
    def warnings(self) -> Sequence[str]:
        """What was left out with a warning."""
        return tuple(self._context.warnings)

    @call("enter")
    def enter(self, plan: Plan) -> None:
        """Make the process in the container, and execute all but phase ``exec`` for it."""
        kernel, context, init = self.kernel, self._context, self._init
        process = Process(init.namespaces.copy(), init.root, kernel.clock.ticks)
        context.process = process
        for name, group in kernel.runtime.cgroups.items():
            process.cgroups[name] = group
        for phase in _BEFORE:
            for planned in plan.steps(phase):
                run_step(HANDLERS, context, planned)
        process.cgroups.clear()
        cpus = process.traits.cpus
        groups = list(self._groups())
        kernel.scheduler.admit(kernel.runtime, process)
        self._process = process
        process.stage = WAITING
        process.owner = context.container
        process.output = init.output
        context.cgroups = {group.hierarchy.name: group for group in groups}
        try:
            for group in groups:
                group.join(process)
        except OSError as error:
            raise _refused(context, error) from error
        # A cpuset that lacks the CPUs of before gives all that it has.
        there = allowed(process, "cpuset.cpus", kernel.host.cpus)
        kept = cpus if there.issuperset(cpus) else ()
        process.traits = process.traits._replace(cpus=kept)
        for phase in _INSIDE:
            for planned in plan.steps(phase):
                if type(planned.step).__name__ != "JoinCgroup":
                    run_step(HANDLERS, context, planned)
        self._exec = plan.steps("exec")
        for planned in self._exec:
            self._look_ahead(planned)

    def _groups(self) -> Iterator[Cgroup]:
        """Yield the cgroup of each hierarchy that is to be joined."""
        context = self._context
        below = self._options.cgroups
        known: set[str] = set()
        for group in groups_of(self.kernel, context.record):
            names = group.hierarchy.controllers if group.hierarchy.version == 1 else ()
            known.update(names)
            further = next((below[name] for name in names if name in below), below.get("", ""))
            found = group.find(further)
            if found is None:
                path = f"{group.path}/{further.strip('/')}"
                raise _refused(context, refusal(errno.ENOENT, path, "there is no such sub-cgroup"))
            yield found
        missing = [name for name in below if name and name not in known]
        if missing:
            why = "the container has no cgroup with this controller"
            raise StepError(why, value=missing[0], container=context.container)

    def _look_ahead(self, planned: PlannedStep) -> None:
        """Refuse now what would be refused at the start, and note what deserves a warning."""
        step: Any = planned.step
        name = type(step).__name__
        if name == "SetUser":
            unmapped = unmapped_id(self._context.process, step)
            if unmapped:
                why = refusal(
                    errno.EINVAL, message="the id is not mapped into the container's user namespace"
                )
                error = refused_step(self._context, planned, why)
                error.pointer = f"{step.because}/{unmapped}"
                raise error
        elif name == "SetCapabilities":
            self._context.warnings += capability_warnings(step, self._context.process.credentials)

    @call("run")
    def run(self, state: bytes) -> None:
        """Execute phase ``exec``, and the program until it first waits."""
        self._require_init()
        context = self._context
        context.start_state = state
        alone = context.record.of_process(self.pid, self.start_time)
        context.record = alone
        send_pidfd(self.kernel, self._options.pidfd_socket, Pidfd(self.pid, "setns"), context.container)
        for planned in self._exec:
            run_step(HANDLERS, context, planned)
        self.committed = True
        self.kernel.sandboxes.pop(self, None)
        self.kernel.scheduler.settle()
        self.kernel.condition.notify_all()

    def abort(self) -> None:
        """Kill the process and reap it. Idempotent; never raises."""
        with self.kernel.lock:
            if self._generation == self.kernel.generation and self._process is not None:
                self.kernel.scheduler.exit(self._process, 128 + SIGKILL)
                self.kernel.scheduler.reap(self._process)

    def close(self) -> None:
        """Release what is held; a process whose program does not run ends. Idempotent."""
        with self.kernel.lock:
            if not self.committed:
                self.abort()
            self.kernel.sandboxes.pop(self, None)
            self.kernel.open_sandboxes.pop(self, None)


def _refused(context: Context, error: OSError) -> StepError:
    return StepError(
        error.strerror or "",
        path=error.filename or "",
        container=context.container,
        errno=error.errno,
    )
