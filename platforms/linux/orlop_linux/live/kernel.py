"""The Linux kernel for containers that exist: what ``state``, ``start``, ``kill`` and ``delete`` need."""

from __future__ import annotations

import errno
import os
import time

from orlop_hookspecs.errors import PlatformError, StateError, StepError, WaitTimeoutError
from orlop_linux.live.process import (
    SIGKILL,
    Ends,
    await_tracer,
    has_ended,
    is_alive,
    open_process,
    read_stat,
    send,
    start_time,
    timestamp,
    verify_procfs,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from orlop_hookspecs.kernel import Entry, Journal
    from orlop_hookspecs.launch import ExecOptions
    from orlop_hookspecs.plan import Plan, PlannedStep
    from orlop_hookspecs.record import Record
    from orlop_linux.kernel.cgroups.shortages import Shortages
    from orlop_linux.kernel.view import LinuxView
    from orlop_linux.live.cgroups import Group

PATIENCE = 10.0
"""Seconds until a process that was killed is given up."""

_LAST_SIGNAL = 64
_LONGEST = 86_400.0  # poll(2) counts milliseconds in an int


class LinuxLive:
    """Live containers on Linux; implements :class:`orlop_hookspecs.kernel.LiveKernel`."""

    name = "linux"

    def __init__(self) -> None:
        """Begin; nothing is touched."""
        self._ends = Ends()

    def identity(self) -> tuple[int, int]:
        """Return process id and start time of the calling runtime."""
        verify_procfs()
        pid = os.getpid()
        return pid, start_time(pid)

    def prewarm(self) -> None:
        """Start a zygote while the caller is still importing; it ends by itself with the caller."""
        from orlop_linux.live import warm

        try:
            warm.begin()
        except OSError:
            return  # the create will try again, and say why it cannot be done

    def now(self) -> str:
        """Return the time as RFC 3339 with nanoseconds in UTC."""
        return timestamp()

    def status(self, record: Record) -> str:
        """Return ``creating``, ``created``, ``running``, ``paused`` or ``stopped``.

        A zombie has stopped; if it is a child of the caller it is reaped here, so that nobody else needs to.

        Raises:
            PlatformError: There is no procfs that would show the container process.
        """
        verify_procfs()
        if record.phase == "creating":
            return "creating" if is_alive(*record.creator) else "stopped"
        for guest, (pid, started) in self._ends.open_guests((record.pid, record.start_time)).items():
            self._ends.reap(pid, started, guest)
            os.close(guest)
        stat = read_stat(record.pid) if record.pid > 1 else None
        if stat is None or stat[1] != record.start_time:
            return "stopped"
        if stat[0] in "ZXx":
            self._reap(record)
            return "stopped"
        if record.kernel.get("cgroups"):
            from orlop_linux.live.freezer import is_frozen

            if is_frozen(self._groups(record)):
                return "paused"
        return "created" if _is_listening(record.directory) else "running"

    def start(self, record: Record, state: bytes) -> None:
        """Let the waiting container process execute its phase ``exec``; return when the program runs."""
        from orlop_linux.live.start import start

        start(record, state)

    def enter(self, record: Record, plan: Plan, options: ExecOptions) -> Entry:
        """Make one more process in the container; it then waits for its start."""
        from orlop_linux.kernel.entry import enter
        from orlop_linux.kernel.zygote import Zygote

        zygote = Zygote()
        try:
            entry = enter(zygote, record, plan, options, only=True)
        finally:
            zygote.close()
        self._ends.add_guest((record.pid, record.start_time), (entry.pid, entry.start_time))
        return entry

    def signal(self, record: Record, number: int, *, everything: bool = False) -> None:
        """Send a signal to the container process, or to every process of the container.

        SIGKILL goes to every process, too, when the container has no pid namespace of its own: nothing else
        would end the others. With *everything*, a container without processes is no error.

        Raises:
            StateError: The container process has ended.
        """
        if not 0 <= number <= _LAST_SIGNAL:
            raise StepError("no such signal", value=number, errno=errno.EINVAL, container=record.id)
        groups = self._groups(record)
        pidfd = open_process(record.pid, record.start_time)
        try:
            alive = pidfd is not None and not has_ended(pidfd)
            if not alive and not everything:
                raise _not_running(record)
            if groups and (
                everything or (number == SIGKILL and not record.kernel.get("own_pid_namespace", True))
            ):
                from orlop_linux.live.killing import signal_all

                signal_all(groups, number)
                return
            if pidfd is None or not alive:
                return
            try:
                if not send(pidfd, number) and not everything:
                    raise _not_running(record)
            except PermissionError as error:
                raise StepError(
                    "cannot signal the container: permission denied",
                    container=record.id,
                    errno=error.errno,
                    value=number,
                ) from error
            if number == SIGKILL and groups:
                from orlop_linux.live.freezer import thaw

                thaw(groups)
        finally:
            if pidfd is not None:
                os.close(pidfd)

    def wait(self, record: Record, timeout: float | None = None) -> int | None:
        """Wait for the end of the container process and return its exit status, if the caller is its parent.

        Raises:
            WaitTimeoutError: *timeout* seconds passed.
        """
        pidfd = open_process(record.pid, record.start_time)
        if pidfd is None:
            return self._ends.recall(record.pid, record.start_time)
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while True:
                left = _LONGEST if deadline is None else max(0.0, deadline - time.monotonic())
                if self._ends.await_end((record.pid, record.start_time), pidfd, min(left, _LONGEST)):
                    status = self._ends.reap(record.pid, record.start_time, pidfd)
                    if status is None:
                        await_tracer(pidfd)
                        status = self._ends.reap(record.pid, record.start_time, pidfd)
                    return status
                if deadline is not None and time.monotonic() >= deadline:
                    raise WaitTimeoutError(
                        "the container still runs", container=record.id, act="wait", value=timeout
                    )
        finally:
            os.close(pidfd)

    def pidfd(self, record: Record) -> int | None:
        """Return a new pidfd of the container process, or ``None`` when it is gone; the caller closes it."""
        return open_process(record.pid, record.start_time)

    def terminate(self, record: Record) -> None:
        """Kill every process of the container and wait until all are gone. Idempotent.

        Raises:
            StepError: Processes are left after ten seconds.
        """
        deadline = time.monotonic() + PATIENCE
        groups = self._groups(record)
        if groups:
            _look_at(groups[0])
        pidfd = open_process(record.pid, record.start_time)
        try:
            if pidfd is not None:
                try:
                    send(pidfd, SIGKILL)
                except PermissionError as error:
                    # A security module may forbid it; the file of a cgroup that kills asks none.
                    if not groups:
                        raise StepError(
                            "cannot kill the container: permission denied",
                            container=record.id,
                            errno=error.errno,
                        ) from error
            left: set[int] = set()
            if groups:
                from orlop_linux.live.freezer import thaw
                from orlop_linux.live.killing import kill_all

                thaw(groups)
                left = kill_all(groups, deadline)
            if pidfd is not None:
                left_of_time = max(0.0, deadline - time.monotonic())
                if self._ends.await_end((record.pid, record.start_time), pidfd, left_of_time):
                    self._ends.reap(record.pid, record.start_time, pidfd)
                else:
                    left.add(record.pid)
        finally:
            if pidfd is not None:
                os.close(pidfd)
        if left:
            raise StepError(
                "the container still runs after SIGKILL, processes: "
                + ", ".join(map(str, sorted(left)[:10])),
                container=record.id,
                act="delete",
                errno=errno.EBUSY,
                hint="they may wait for a device or a network file system; try again later",
            )

    def processes(self, record: Record) -> Sequence[int]:
        """Return the process ids of the container, as the caller sees them, sorted."""
        groups = self._groups(record)
        if groups:
            from orlop_linux.live.cgroups import all_members

            return sorted(all_members(groups))
        return [record.pid] if is_alive(record.pid, record.start_time) else []

    def undo(self, record: Record, undo: str, data: Mapping[str, Any]) -> None:
        """Undo one journal entry; the kinds are in :mod:`orlop_linux.live.undo`."""
        from orlop_linux.live.undo import undo as run

        run(record, undo, data, self._ends)

    def run_hook(self, hook: Mapping[str, Any], state: bytes) -> None:
        """Run a hook in the runtime's namespaces; *hook* is the fields of a RunHook step."""
        from orlop_linux.live.runhook import run_hook

        run_hook(hook, state)

    def apply(self, record: Record, steps: Iterable[Any]) -> None:
        """Execute resource steps on a live container, see :mod:`orlop_linux.kernel.update`."""
        from orlop_linux.kernel.update import apply

        apply(record, list(steps))

    def freeze(self, record: Record, *, frozen: bool) -> None:
        """Suspend or resume all processes of the container."""
        from orlop_linux.live.freezer import freeze

        freeze(self._required_groups(record), frozen=frozen)

    def checkpoint(self, record: Record, steps: Sequence[PlannedStep], journal: Journal) -> None:
        """Write the container to images, see :mod:`orlop_linux.kernel.criu.dump`."""
        from orlop_linux.kernel.criu.dump import dump

        settings = None
        for planned in steps:
            name = type(planned.step).__name__
            if name == "ConfigureCriu":
                settings = planned
            elif name == "DumpProcesses":
                dump(record, planned, journal, settings)
            else:
                raise PlatformError(
                    f"this platform has no step {name} in phase checkpoint",
                    plugin=planned.plugin,
                    errno=errno.EOPNOTSUPP,
                )

    def stats(self, record: Record) -> Mapping[str, Any]:
        """Return what the kernel accounts, see :mod:`orlop_linux.kernel.cgroups.stats`."""
        from orlop_linux.kernel.cgroups.stats import read_stats

        found = read_stats(self._required_groups(record))
        if "resctrl" in record.kernel:
            from orlop_linux.kernel.resctrl_stats import read_stats as read_resctrl

            found |= read_resctrl(record)
        return found

    def shortages(self, record: Record) -> Shortages | None:
        """Return what tells that the kernel kills in the container for lack of memory, if anything does."""
        from orlop_linux.kernel.cgroups.shortages import shortages_in

        return shortages_in(self._groups(record))

    @staticmethod
    def host_view() -> LinuxView:
        """Return the files of the running system."""
        from orlop_linux.kernel.view import LinuxView

        return LinuxView()

    def _groups(self, record: Record) -> list[Group]:
        if not record.kernel.get("cgroups"):
            return []
        from orlop_linux.live.cgroups import groups_of

        return groups_of(record)

    def _required_groups(self, record: Record) -> list[Group]:
        groups = self._groups(record)
        if not groups:
            raise PlatformError(
                "the container has no cgroup of its own",
                container=record.id,
                hint="it was created without access to the cgroup file system, or with cgroups disabled",
            )
        return groups

    def _reap(self, record: Record) -> None:
        pidfd = open_process(record.pid, record.start_time)
        if pidfd is not None:
            self._ends.reap(record.pid, record.start_time, pidfd)
            os.close(pidfd)


def _look_at(group: Group) -> None:
    """Refuse to go on where no cgroup can be seen: nothing has been touched yet."""
    try:
        os.close(group.open())
    except FileNotFoundError:
        pass  # it is gone, or one of a hierarchy that is not mounted any more


def _not_running(record: Record) -> StateError:
    return StateError("container not running", container=record.id, act="kill")


def _is_listening(directory: str) -> bool:
    """Tell whether the container process still waits for its start, on ``start.sock`` in *directory*.

    The probe is a connection that is closed at once. It goes through the directory's descriptor, because a
    socket's address holds 108 bytes only (unix(7)).
    """
    from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, socket

    try:
        fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
    try:
        probe.connect(f"/proc/self/fd/{fd}/start.sock")
    except BlockingIOError:
        return True  # the queue is full: somebody listens
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    finally:
        probe.close()
        os.close(fd)
    return True
