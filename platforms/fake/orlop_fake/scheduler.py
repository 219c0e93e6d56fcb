"""Life and death of processes: fork, signals, exit, reaping, and time that passes while somebody waits."""

from __future__ import annotations

import errno
from collections import deque
from typing import TYPE_CHECKING, Any

from orlop_fake import rdma
from orlop_fake.links import release
from orlop_fake.processes import (
    REAPED,
    RUNNING,
    SIGCONT,
    SIGKILL,
    WAITING,
    ZOMBIE,
    Process,
    check_signal,
)
from orlop_fake.refusals import DeadlockError, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from orlop_fake.clock import Clock, Timer
    from orlop_fake.machine import Machine
    from orlop_fake.namespaces import NamespaceSet

_KILLED = 128 + SIGKILL
_WAKEUPS_MAX = 100_000
_CGROUP_V2 = 2


class Request:
    """What a program waits for: time, signals or a child. Programs get it from their process and yield it."""

    __slots__ = ("child", "kind", "numbers", "timer")

    def __init__(self, kind: str) -> None:
        """Make a request of *kind* ``sleep``, ``signal``, ``child`` or ``forever``."""
        self.kind = kind
        self.timer: Timer | None = None
        self.numbers: frozenset[int] = frozenset()
        self.child: Process | None = None


class Scheduler:
    """Runs programs one after the other, each until it waits; there is no other concurrency, no chance."""

    __slots__ = ("_clock", "_held", "_kernel", "_ready", "_settling", "ends")

    def __init__(self, kernel: Machine, clock: Clock) -> None:
        """Schedule the processes of *kernel*."""
        self._kernel = kernel
        self._clock = clock
        self._ready: deque[tuple[Process, Any]] = deque()
        self._held: list[tuple[Process, Any]] = []
        self._settling = False
        self.ends: dict[tuple[int, int], int | None] = {}
        """How processes ended that the runtime reaped; ``None`` for those that were not its children."""

    # Birth ------------------------------------------------------------

    def fork(self, parent: Process, namespaces: NamespaceSet | None = None) -> Process:
        """Make a child of *parent*; EAGAIN where a cgroup allows no more, ENOMEM where init is gone."""
        child = Process(namespaces or parent.namespaces, parent.root, self._clock.ticks)
        self.admit(parent, child)
        return child

    def admit(self, parent: Process, child: Process) -> None:
        """Make *child*, with the namespaces that it has, a child of *parent*; refused as :meth:`fork`."""
        for group in parent.cgroups.values():
            group.forks()
        child.inherit(parent)
        try:
            child.namespaces.pid.add(child)
        except OSError:
            parent.children.remove(child)
            raise
        for group in list(parent.cgroups.values()):
            group.enter(child)

    def begin(self, process: Process, program: Callable[..., Any], *args: Any) -> None:  # noqa: ANN401 - the program's own
        """Let *process* run *program*: at once until it first waits."""
        self._close(process)
        process.stage = RUNNING
        self._ready.append((process, _First(program, args)))

    # Running ------------------------------------------------------------

    def settle(self) -> None:
        """Run whatever can run until everybody waits."""
        if self._settling or not self._ready:
            return
        self._settling = True
        kernel = self._kernel
        before = kernel.current
        try:
            while self._ready:
                process, value = self._ready.popleft()
                if process.ended:
                    continue
                if process.stopped or self.is_frozen(process):
                    self._held.append((process, value))
                    continue
                kernel.current = process
                self._step(process, value)
        finally:
            kernel.current = before
            self._settling = False

    def _step(self, process: Process, value: Any) -> None:  # noqa: ANN401 - what the program waited for
        from orlop_fake.programs import ProgramExit, Task, failure

        process.request = None
        try:
            if isinstance(value, _First):
                task = process.task = Task(self._kernel, process)
                outcome = value.program(task, *value.args)
                if process.ended or process.stage == WAITING:
                    return
                if hasattr(outcome, "send") and hasattr(outcome, "throw"):
                    process.generator = outcome
                    request = outcome.send(None)
                else:
                    self.exit(process, _status(outcome))
                    return
            elif process.generator is None:
                return
            else:
                request = process.generator.send(value)
        except StopIteration as end:
            process.generator = None
            self.exit(process, _status(end.value))
        except ProgramExit as end:
            self.exit(process, end.status)
        except Exception as error:  # noqa: BLE001 - a program may raise anything; it ends with a message, as a real one
            failure(self._kernel, process, error)
            if not process.ended:
                self.exit(process, 1)
        else:
            self._expect(process, request)

    def _expect(self, process: Process, request: Any) -> None:  # noqa: ANN401 - what the program yielded
        if process.ended:
            return
        if not isinstance(request, Request):
            from orlop_fake.programs import failure

            failure(
                self._kernel,
                process,
                TypeError(f"a program yielded {request!r} instead of something to wait for"),
            )
            self.exit(process, 1)
            return
        process.request = request
        if request.kind == "signal":
            for position, number in enumerate(process.pending):
                if number in request.numbers:
                    del process.pending[position]
                    self.wake(process, request, number)
                    return
        elif request.kind == "child":
            self._child_ended(process)

    def wake(self, process: Process, request: Request, value: Any) -> None:  # noqa: ANN401 - what it waited for
        """Let *process* go on, if it still waits for *request*."""
        if process.request is request and not process.ended:
            process.request = None
            if request.timer is not None:
                request.timer.cancel()
            self._ready.append((process, value))

    def sleep(self, process: Process, request: Request, seconds: float) -> Request:
        """Let *request* end with nothing after *seconds* at the latest."""
        request.timer = self._clock.call_after(seconds, lambda: self.wake(process, request, None))
        return request

    def is_frozen(self, process: Process) -> bool:
        """Tell whether a freezer holds *process*."""
        return self._kernel.host.frozen > 0 and any(
            group.effectively_frozen for group in process.cgroups.values()
        )

    def take_held(self, process: Process) -> list[Any]:
        """Return what a freezer or a stop signal keeps from *process*, which is not to get it any more."""
        taken = [value for one, value in self._held if one is process]
        self._held = [(one, value) for one, value in self._held if one is not process]
        return taken

    def resume(self, process: Process, value: Any) -> None:  # noqa: ANN401 - what it waited for
        """Let *process* go on with *value*."""
        self._ready.append((process, value))

    def thawed(self) -> None:
        """Let go on what a freezer or a stop signal has held."""
        held, self._held = self._held, []
        self._ready.extend(held)
        for process in list(self._kernel.all_processes()):
            if SIGKILL in process.pending and not self.is_frozen(process):
                self.exit(process, _KILLED)

    def wait_until(self, done: Callable[[], bool], timeout: float | None) -> bool:
        """Let virtual time pass until *done*; return False when *timeout* seconds have passed first.

        Raises:
            DeadlockError: Nothing is pending that could ever make it true.
        """
        deadline = (
            None if timeout is None else self._clock.nanoseconds + max(0, round(timeout * 1_000_000_000))
        )
        for _ in range(_WAKEUPS_MAX):
            self.settle()
            if done():
                return True
            due = self._clock.next_due()
            if deadline is not None and (due is None or due > deadline):
                self._clock.jump(deadline)
                return False
            if due is None:
                raise DeadlockError("would wait for ever: every process waits and no timer is pending")
            self._clock.jump(due)
        raise DeadlockError(f"would wait for ever: nothing came of {_WAKEUPS_MAX} wake-ups")

    # Signals ------------------------------------------------------------

    def send(self, process: Process, number: int, *, sender: Process | None = None) -> None:
        """Send a signal as kill(2); ESRCH when the process is gone, a zombie takes it in silence."""
        check_signal(number)
        if process.stage == REAPED:
            raise refusal(errno.ESRCH)
        if number == 0 or process.ended:
            return
        if number == SIGKILL:
            self._kill(process, sender)
            return
        if number == SIGCONT and process.stopped:
            process.stopped = False
            self.thawed()
        if process.ignores(number):
            return
        if number in process.caught:
            self._catch(process, number)
        elif process.stops(number):
            process.stopped = True
        elif number != SIGCONT:
            self.exit(process, 128 + number)

    def _kill(self, process: Process, sender: Process | None) -> None:
        # Inside its own pid namespace, init cannot be killed (pid_namespaces(7)).
        if process.is_init and sender is not None and sender.namespaces.pid is process.namespaces.pid:
            return
        if any(g.effectively_frozen and g.hierarchy.version != _CGROUP_V2 for g in process.cgroups.values()):
            process.pending.append(SIGKILL)  # the freezer of version 1 holds even the dying
        else:
            self.exit(process, _KILLED)

    def _catch(self, process: Process, number: int) -> None:
        handler = process.caught[number]
        request = process.request
        if handler is not None:
            from orlop_fake.programs import ProgramExit, failure

            try:
                handler(number)
            except ProgramExit as end:
                self.exit(process, end.status)
            except Exception as error:  # noqa: BLE001 - as in _step
                failure(self._kernel, process, error)
                self.exit(process, 1)
        elif request is not None and request.kind == "signal" and number in request.numbers:
            self.wake(process, request, number)
        elif number not in process.pending:  # standard signals do not queue (signal(7))
            process.pending.append(number)

    # Death ------------------------------------------------------------

    def exit(self, process: Process, status: int) -> None:
        """End *process*; its children go to their init, and with an init its pid namespace ends."""
        if process.ended:
            return
        kernel = self._kernel
        process.stage = ZOMBIE
        process.exit_status = status
        process.request = None
        process.pending.clear()
        self._close(process)
        self._give_back(process)
        space = process.namespaces.pid
        if process.is_init:
            for other in list(space.processes.values()):
                if other is not process:
                    self.exit(other, _KILLED)
                    self.reap(other)
        for child in list(process.children):
            self.adopt(child, process)
        parent = process.parent
        if parent is kernel.init:
            self.reap(process)
        elif parent is not None and parent.request is not None and parent.request.kind == "child":
            self._child_ended(parent)

    def _give_back(self, process: Process) -> None:
        """Let go of what is counted for *process*, and of its network namespace."""
        kernel = self._kernel
        for group in list(process.cgroups.values()):
            group.leave(process)
        if kernel.resctrl is not None:
            kernel.resctrl.leave(process)
        if process.rdma:
            rdma.release(process)
        release(kernel, process.namespaces.network)

    def adopt(self, child: Process, old: Process) -> None:
        """Give *child* of the ended process *old* a new parent."""
        init = child.namespaces.pid.init
        kernel = self._kernel
        new = kernel.init if init is None or init.ended or init in (child, old) else init
        if child.parent is old:
            old.children.remove(child)
        child.parent = new
        new.children.append(child)
        if child.stage == ZOMBIE and new is kernel.init:
            self.reap(child)

    def reap(self, process: Process) -> int | None:
        """Take note of a zombie's end, once, and let go of its ids."""
        if process.stage != ZOMBIE:
            return process.exit_status
        process.stage = REAPED
        process.namespaces.pid.remove(process)
        parent = process.parent
        if parent is not None and process in parent.children:
            parent.children.remove(process)
        if process.owner:
            ours = parent is self._kernel.runtime
            self.ends[process.pid, process.start_time] = process.exit_status if ours else None
        return process.exit_status

    def kill_all(self, processes: Iterable[Process]) -> None:
        """Kill every process of *processes*, also frozen ones."""
        for process in list(processes):
            self.exit(process, _KILLED)

    def _child_ended(self, parent: Process) -> None:
        request = parent.request
        for child in parent.children:
            if child.stage == ZOMBIE and (request.child is None or request.child is child):
                number = child.pids.get(parent.namespaces.pid, child.pid)
                self.reap(child)
                self.wake(parent, request, (number, child.exit_status))
                return

    @staticmethod
    def _close(process: Process) -> None:
        generator: Generator[Any, Any, Any] | None = process.generator
        process.generator = None
        # A program that ends itself is still on the stack; Python closes it when it returns.
        if generator is not None and not getattr(generator, "gi_running", False):
            generator.close()


class _First:
    """The first step of a program."""

    __slots__ = ("args", "program")

    def __init__(self, program: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.program = program
        self.args = args


def _status(outcome: Any) -> int:  # noqa: ANN401 - whatever a program returned
    if outcome is None:
        return 0
    if isinstance(outcome, int):
        return outcome & 0xFF
    msg = f"a program returned {outcome!r} instead of an exit status; was a wait not yielded?"
    raise TypeError(msg)
