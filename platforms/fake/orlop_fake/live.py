"""What is done to a container that exists, as :class:`orlop_hookspecs.kernel.LiveKernel` describes it."""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING, Any

from orlop_fake.agents import require_agent
from orlop_fake.calls import call
from orlop_fake.execute import HANDLERS, Context, run_step
from orlop_fake.execute.network import give_back
from orlop_fake.faults import STEP
from orlop_fake.hooks import run_hook
from orlop_fake.machine import Machine
from orlop_fake.processes import SIGKILL, SIGNAL_MAX, WAITING, Process
from orlop_fake.refusals import DeadlockError, text_of
from orlop_fake.stats import figures, resctrl_figures
from orlop_hookspecs.errors import PlatformError, StateError, StepError, StoreError, WaitTimeoutError
from orlop_hookspecs.launch import LaunchOptions
from orlop_hookspecs.plan import PlannedStep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from orlop_fake.cgroups import Cgroup
    from orlop_hookspecs.availability import Answer, Capability
    from orlop_hookspecs.calls import CallTable
    from orlop_hookspecs.kernel import Journal
    from orlop_hookspecs.record import Record

_UPDATES = frozenset({"WriteCgroup", "SetDeviceRules", "WriteSchemata"})


class NoJournal:
    """For steps that change what is there already."""

    def intend(self, undo: str, **data: Any) -> None:  # noqa: ANN401 - as the protocol
        """Refuse: nothing new is made."""
        raise StoreError(f"nothing may be made on a live container: {undo} {data}")


class LiveMachine(Machine):
    """A machine with the calls that commands on existing containers make."""

    @call("identity")
    def identity(self) -> tuple[int, int]:
        """Return process id and start time of the calling runtime."""
        return self.runtime.pid, self.runtime.start_time

    @call("prewarm")
    def prewarm(self) -> None:
        """Do nothing: a fake process is there at once."""

    @call("now")
    def now(self) -> str:
        """Return the virtual time of day."""
        return self.clock.rfc3339()

    @call("examine")
    def examine(self, asked: Sequence[Capability]) -> Mapping[str, Answer]:
        """Answer what the machine has and what its caller may do, see :mod:`orlop_fake.examine`."""
        from orlop_fake.examine import examine

        return examine(self, asked)

    @call("call_table")
    def call_table(self, architecture: str, names: Sequence[str]) -> CallTable | None:
        """Return what the machine knows of system calls (:class:`orlop_hookspecs.calls.Resolver`)."""
        from orlop_fake.seccomp import call_table

        return call_table(architecture, names)

    @call("status")
    def status(self, record: Record) -> str:
        """Return ``creating``, ``created``, ``running``, ``paused`` or ``stopped``."""
        self.scheduler.settle()
        if record.phase == "creating":
            pid, started = record.creator
            creator = find(self, pid, started)
            return "creating" if creator is not None and not creator.ended else "stopped"
        process = find(self, record.pid, record.start_time)
        if process is None or process.ended:
            if process is not None and process.parent is self.runtime:
                self.scheduler.reap(process)
            return "stopped"
        if self.scheduler.is_frozen(process):
            return "paused"
        return "created" if process.stage == WAITING else "running"

    @call("start")
    def start(self, record: Record, state: bytes) -> None:
        """Execute phase ``exec`` in the waiting container process, and its program until it first waits."""
        process = find(self, record.pid, record.start_time)
        if process is None or process.stage != WAITING:
            raise StateError("cannot start a container that has stopped", container=record.id, act="start")
        for planned in process.exec_steps:
            # Nothing has happened yet: the container can be started again when its agent is there.
            if path := getattr(planned.step, "listener_path", ""):
                require_agent(self, path)
        steps, process.exec_steps = process.exec_steps, ()
        process.context.start_state = state
        try:
            for planned in steps:
                run_step(HANDLERS, process.context, planned)
        except BaseException:
            self.scheduler.exit(process, 1)
            raise
        process.context = None
        self.scheduler.settle()
        self.condition.notify_all()

    @call("signal")
    def signal(self, record: Record, number: int, *, everything: bool = False) -> None:
        """Send a signal to the container process, or to every process of the container.

        Raises:
            StateError: The container process has ended.
            StepError: There is no such signal.
        """
        if not 0 <= number <= SIGNAL_MAX:
            raise StepError("no such signal", value=number, errno=errno.EINVAL, container=record.id)
        self.scheduler.settle()
        process = find(self, record.pid, record.start_time)
        alive = process is not None and not process.ended
        if not alive and not everything:
            raise StateError("container not running", container=record.id, act="kill")
        groups = groups_of(self, record)
        lonely = number == SIGKILL and not record.kernel.get("own_pid_namespace", True)
        if groups and (everything or lonely):
            for member in members(groups):
                if not member.ended:  # with an init, its whole pid namespace has ended
                    self.scheduler.send(member, number)
        elif process is not None and alive:
            self.scheduler.send(process, number)
        if number == SIGKILL:
            for group in groups:
                group.set_frozen(frozen=False)
        self.scheduler.settle()
        self.condition.notify_all()

    @call("wait")
    def wait(self, record: Record, timeout: float | None = None) -> int | None:
        """Wait, in virtual time, for the end of the container process.

        Returns:
            Its exit status, or 128 plus the signal; ``None`` when the runtime that asks is not its parent.

        Raises:
            WaitTimeoutError: *timeout* virtual seconds passed.
            DeadlockError: It cannot end any more, and no other thread is there to end it.
        """
        process = find(self, record.pid, record.start_time)
        if process is None:
            return self.scheduler.ends.get((record.pid, record.start_time))
        waited = process

        def ended() -> bool:
            return waited.ended

        while True:
            try:
                if not self.scheduler.wait_until(ended, timeout):
                    raise WaitTimeoutError(
                        "the container still runs", container=record.id, act="wait", value=timeout
                    )
                break
            except DeadlockError:
                # Another thread may still send a signal; without one, waiting would be for ever.
                if threading.active_count() == 1:
                    raise
                self.condition.wait()
        ours = waited.parent is self.runtime
        if ours:
            self.scheduler.reap(waited)
        return waited.exit_status if ours else self.scheduler.ends.get((record.pid, record.start_time))

    @call("terminate")
    def terminate(self, record: Record) -> None:
        """Kill every process of the container and reap its first one. Idempotent."""
        process = find(self, record.pid, record.start_time)
        if process is not None:
            self.scheduler.exit(process, 128 + SIGKILL)
        groups = groups_of(self, record)
        for group in groups:
            group.set_frozen(frozen=False)
        self.scheduler.kill_all(members(groups))
        if process is not None and process.parent is self.runtime:
            self.scheduler.reap(process)
        self.scheduler.settle()
        self.condition.notify_all()

    @call("processes")
    def processes(self, record: Record) -> Sequence[int]:
        """Return the process ids of the container, sorted."""
        self.scheduler.settle()
        groups = groups_of(self, record)
        if groups:
            return sorted(process.pid for process in members(groups))
        process = find(self, record.pid, record.start_time)
        if process is None or process.ended:
            return []
        return sorted(one.pid for one in (process, *process.descendants()) if not one.ended)

    @call("undo")
    def undo(self, record: Record, undo: str, data: Mapping[str, Any]) -> None:
        """Undo one journal entry; the kinds are in :data:`_UNDO`. Idempotent."""
        act = _UNDO.get(undo)
        if act is None:
            raise StoreError(f"the journal is not usable: unknown kind {undo!r}", container=record.id)
        if self.faults.armed:
            try:
                self.faults.before(STEP, f"undo:{undo}")
            except OSError as error:
                raise StepError(
                    f"cannot undo {undo}: {text_of(error.errno or 0)}",
                    errno=error.errno,
                    step=f"undo {undo}",
                    act="delete",
                ) from error
        act(self, record, data)
        if self.faults.armed:
            self.faults.after(STEP, f"undo:{undo}")

    @call("run_hook")
    def run_hook(self, hook: Mapping[str, Any], state: bytes) -> None:
        """Run a hook in the runtime's namespaces; *hook* is the fields of a RunHook step."""
        if self.faults.armed:
            try:
                self.faults.before(STEP, "RunHook", lambda: f"{hook.get('kind')} {hook['path']}")
            except OSError as error:
                raise StepError(text_of(error.errno or 0), errno=error.errno, act="run hook") from error
        run_hook(self, hook, state, None)
        if self.faults.armed:
            self.faults.after(STEP, "RunHook", lambda: f"{hook.get('kind')} {hook['path']}")

    @call("apply")
    def apply(self, record: Record, steps: Iterable[Any]) -> None:
        """Execute resource steps on a live container: all of them, or none."""
        context = Context(self, record, NoJournal(), LaunchOptions())
        context.updates = True
        context.cgroups = {group.hierarchy.name: group for group in groups_of(self, record)}
        ordered = list(steps)
        before = [(group, _copied(group.values), group.device_rules) for group in context.cgroups.values()]
        try:
            self._apply(context, ordered)
        except BaseException:
            for group, values, rules in before:
                group.values, group.device_rules = values, rules
            raise

    def _apply(self, context: Context, steps: Iterable[Any]) -> None:
        for step in steps:
            one = step.step if isinstance(step, PlannedStep) else step
            if type(one).__name__ not in _UPDATES:
                raise StepError(
                    f"cannot {one.words()} of a live container",
                    pointer=one.because,
                    step=one.describe(),
                    errno=errno.EINVAL,
                )
            planned = step if step is not one else PlannedStep(one, one.phase, one.slot, "")
            run_step(HANDLERS, context, planned)

    @call("freeze")
    def freeze(self, record: Record, *, frozen: bool) -> None:
        """Suspend or resume all processes of the container, by its freezer."""
        for group in groups_of(self, record):
            if group.hierarchy.version == 2 and self.cgroup_mode == "v2":
                group.write("cgroup.freeze", str(int(frozen)))
                break
            if "freezer" in group.hierarchy.controllers:
                group.write("freezer.state", "FROZEN" if frozen else "THAWED")
                break
        else:
            raise PlatformError("the container has no cgroup of its own", container=record.id)
        self.scheduler.settle()
        self.condition.notify_all()

    @call("checkpoint")
    def checkpoint(self, record: Record, steps: Sequence[PlannedStep], journal: Journal) -> None:
        """Write the container to images."""
        self.scheduler.settle()
        process = find(self, record.pid, record.start_time)
        if process is None or process.ended:
            raise StepError("the container process has ended", errno=errno.ESRCH, container=record.id)
        context = Context(self, record, journal, LaunchOptions())
        context.process = process
        for planned in steps:
            run_step(HANDLERS, context, planned)

    @call("stats")
    def stats(self, record: Record) -> Mapping[str, Any]:
        """Return what is accounted for the container, by controller, with the names of cgroup v2.

        Nothing takes processor time here: ``cpu`` is 0.
        """
        groups = groups_of(self, record)
        if not groups:
            raise PlatformError("the container has no cgroup of its own", container=record.id)
        return figures(groups) | resctrl_figures(self.resctrl, record)


def _copied(values: Mapping[str, str | dict[str, str]]) -> dict[str, str | dict[str, str]]:
    return {name: dict(value) if isinstance(value, dict) else value for name, value in values.items()}


def find(kernel: Machine, pid: int, started: int) -> Process | None:
    """Return the process that is *pid* and started at *started*."""
    process = kernel.init.namespaces.pid.processes.get(pid)
    return (
        process
        if process is not None and process.start_time == started and process is not kernel.init
        else None
    )


def groups_of(kernel: Machine, record: Record) -> list[Cgroup]:
    """Return the cgroups of a container that exist."""
    found = []
    for name, path in record.kernel.get("cgroups", ()):
        hierarchy = kernel.hierarchies.get(name)
        group = hierarchy.root.find(path) if hierarchy is not None else None
        if group is not None and group.parent is not None:
            found.append(group)
    return found


def members(groups: Iterable[Cgroup]) -> Iterator[Process]:
    """Return every process in *groups* or below, once."""
    return iter(dict.fromkeys(p for group in groups for below in group.subtree() for p in below.processes))


def _undo_cgroup(kernel: Machine, record: Record, data: Mapping[str, Any]) -> None:
    for tree in data["trees"]:
        hierarchy = kernel.hierarchies.get(tree["hierarchy"])
        base = hierarchy.root.find(tree["base"]) if hierarchy is not None else None
        parts, kept = list(tree["parts"]), int(tree["kept"])
        if base is None or kept >= len(parts):
            continue
        leaf = base.find("/".join(parts))
        if leaf is not None:
            leaf.set_frozen(frozen=False)
            kernel.scheduler.kill_all(members([leaf]))
            for group in reversed(list(leaf.subtree())):
                group.remove()
        for length in range(len(parts) - 1, kept, -1):
            group_above = base.find("/".join(parts[:length]))
            if group_above is not None:
                if group_above.children or group_above.processes:
                    group_above.owner = ""  # somebody else uses it by now; it is theirs
                else:
                    group_above.remove()
    del record


def _undo_resctrl(kernel: Machine, record: Record, data: Mapping[str, Any]) -> None:
    resctrl = kernel.resctrl
    clos = resctrl.find(data["clos"]) if resctrl is not None else None
    if resctrl is None or clos is None:
        return
    if data["monitor"]:
        monitor = clos.monitors.pop(data["monitor"], None)
        if monitor is not None:
            clos.processes.update(monitor.processes)
        return
    if data["shared"] and (record.phase == "created" or clos.processes):
        clos.owner = ""  # asked for by its closID: it outlives the container (config-linux.md, IntelRdt)
        return
    resctrl.remove(data["clos"])


def _undo_systemd(kernel: Machine, record: Record, data: Mapping[str, Any]) -> None:
    unit = (kernel.units or {}).get(data["unit"])
    if unit is None or kernel.units is None or unit.owner != record.id:
        return
    kernel.scheduler.kill_all(members(unit.groups))
    for leaf, kept in zip(unit.groups, unit.kept, strict=True):
        leaf.set_frozen(frozen=False)
        line = list(leaf.line())
        for group in reversed(list(leaf.subtree())):
            group.remove()
        # Slices that nobody else uses go with the last unit in them.
        for above in line[1 : len(line) - 1 - kept]:
            if not (above.children or above.processes):
                above.remove()
            else:
                above.owner = ""
    del kernel.units[unit.name]


def _undo_process(kernel: Machine, record: Record, data: Mapping[str, Any]) -> None:
    del record
    process = find(kernel, data["pid"], data["start_time"])
    if process is not None:
        kernel.scheduler.exit(process, 128 + SIGKILL)
        if process.parent is kernel.runtime:
            kernel.scheduler.reap(process)


def _undo_mount(kernel: Machine, record: Record, data: Mapping[str, Any]) -> None:
    """Unmount it where it was mounted, and with that wherever it has propagated to."""
    spaces = {process.namespaces.mount for process in (kernel.runtime, *kernel.all_processes())}
    if all(space.inode != data["namespace"] for space in spaces):
        return
    for tree in {space.tree for space in spaces}:
        for mount in reversed(tree.mounts):
            if mount.path == data["path"] and mount.owner == record.id and mount is not tree.root:
                tree.detach(mount)
                break


_UNDO = {
    "cgroup": _undo_cgroup,
    "mount": _undo_mount,
    "netdev": give_back,
    "process": _undo_process,
    "resctrl": _undo_resctrl,
    "systemd": _undo_systemd,
}
