"""Processes by pid *and* start time: a pid alone names whoever has it now.

A pidfd refers to one process for ever (pidfd_open(2)). The start time is compared *after* the descriptor was
opened, so whatever is signalled or waited for through it is the process that was meant.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import errno
import os
import select
import time
from _thread import allocate_lock

from orlop_hookspecs.errors import PlatformError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SIGKILL = 9
_WALL = 0x40000000  # __WALL of waitid(2): a child is waited for whatever signal its end sends
_KNOWN_ENDS = 1024
_GLANCE = 1.0  # seconds between looks at who has joined
_EXECUTION_SECONDS = 1.0  # many times what is left of an execve(2) that cannot fail any more


def reason(error: OSError) -> str:
    """Return the kernel's reason as part of a sentence."""
    text = os.strerror(error.errno or errno.EIO)
    return text[0].lower() + text[1:]


def verify_procfs() -> None:
    """Refuse to judge processes by a /proc that does not show the caller as what it is.

    Without this, a container whose processes cannot be seen would count as stopped, and be deleted; in
    another pid namespace than that of the procfs, its process id would be somebody else's.

    Raises:
        PlatformError: No procfs of the caller's pid namespace is mounted.
    """
    try:
        shown = os.readlink("/proc/self")
    except OSError:
        shown = ""
    if shown != str(os.getpid()):
        raise PlatformError(
            "no procfs of this pid namespace is mounted, so that no process can be told from another",
            path="/proc",
            errno=errno.ENOENT,
            hint="mount one: mount -t proc proc /proc",
        )


def read_stat(pid: int) -> tuple[str, int] | None:
    """Return state letter and start time of *pid*, or ``None`` when there is no such process.

    Fields 3 and 22 of /proc/PID/stat, proc(5); the name in field 2 may hold anything, so they are counted
    from its end.
    """
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        return None
    try:
        text = os.read(fd, 4096)
    except ProcessLookupError:
        return None
    finally:
        os.close(fd)
    fields = text[text.rfind(b")") + 2 :].split()
    return chr(fields[0][0]), int(fields[19])


def start_time(pid: int) -> int:
    """Return the start time of *pid*; 0 when there is no such process."""
    stat = read_stat(pid)
    return stat[1] if stat else 0


def is_alive(pid: int, started: int) -> bool:
    """Tell whether the process that started at *started* is *pid* and has not ended; a zombie has ended."""
    if pid <= 1:
        return False
    stat = read_stat(pid)
    return stat is not None and stat[1] == started and stat[0] not in "ZXx"


def open_pid(pid: int) -> int | None:
    """Return a pidfd of whoever is *pid* now; ``None`` when that is nobody or a mere thread."""
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        # For a thread, EINVAL until Linux 6.8 and ENOENT since.
        if error.errno in {errno.ESRCH, errno.EINVAL, errno.ENOENT}:
            return None
        raise


def open_process(pid: int, started: int) -> int | None:
    """Return a pidfd of the process that is *pid* and started at *started*; ``None`` when it was reaped.

    A zombie still has a pidfd. Process 1, the caller itself and impossible numbers are never opened: no
    record that this platform writes names them, so one that does is forged.

    Raises:
        PlatformError: There is no procfs to tell.
    """
    if pid <= 1 or pid == os.getpid():
        return None
    verify_procfs()
    fd = open_pid(pid)
    if fd is None:
        return None
    stat = read_stat(pid)
    if stat is None or stat[1] != started:
        os.close(fd)
        return None
    return fd


def send(pidfd: int, number: int) -> bool:
    """Send a signal through a pidfd; return False when the process has been reaped."""
    try:
        _signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    return True


def has_ended(pidfd: int, timeout: float | None = 0) -> bool:
    """Wait up to *timeout* seconds (``None``: for ever) for the end of a process and tell whether it came."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(None if timeout is None else max(0, int(timeout * 1000 + 0.999))))


def await_tracer(pidfd: int) -> None:
    """Wait until the end of a child that has come is told to its parent: a tracer is told first (ptrace(2)).

    CRIU traces the processes that it writes, and ends them so. Who is not the parent does not wait.
    """
    try:
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT | _WALL)
    except ChildProcessError:
        pass


def exit_status(code: int, status: int) -> int:
    """Return the shell's idea of what waitid(2) reported: the exit status, or 128 plus the signal."""
    return status if code == os.CLD_EXITED else 128 + status


class Ends:
    """How the caller's own children ended: the kernel tells it once, several may ask."""

    def __init__(self) -> None:
        """Begin without any."""
        self._lock = allocate_lock()
        self._known: dict[tuple[int, int], int] = {}
        self._guests: dict[tuple[int, int], set[tuple[int, int]]] = {}

    def reap(self, pid: int, started: int, pidfd: int) -> int | None:
        """Reap the ended process behind *pidfd* if it is a child of the caller.

        Returns:
            Its exit status, also when it was reaped here before; ``None`` when it is not ours or has not
            ended.
        """
        with self._lock:
            key = (pid, started)
            if key in self._known:
                return self._known[key]
            try:
                found = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | _WALL)
            except ChildProcessError:
                return None
            if found is None:
                return None
            while len(self._known) >= _KNOWN_ENDS:
                del self._known[next(iter(self._known))]
            self._known[key] = status = exit_status(found.si_code, found.si_status)
            return status

    def recall(self, pid: int, started: int) -> int | None:
        """Return the status of a process that was reaped here before, or is being reaped just now."""
        with self._lock:
            return self._known.get((pid, started))

    # Children of the caller's in containers: the first process of a pid namespace cannot end before all
    # others in it have been reaped (pid_namespaces(7)), and these nobody but the caller can reap.

    def add_guest(self, container: tuple[int, int], guest: tuple[int, int]) -> None:
        """Note that *guest*, a child of the caller, has joined the container of process *container*."""
        with self._lock:
            self._guests.setdefault(container, set()).add(guest)

    def open_guests(self, container: tuple[int, int]) -> dict[int, tuple[int, int]]:
        """Return a pidfd of each guest that has not been reaped yet, for the caller to close."""
        if container not in self._guests:
            return {}
        with self._lock:
            guests = list(self._guests.get(container, ()))
        found: dict[int, tuple[int, int]] = {}
        for guest in guests:
            pidfd = open_process(*guest)
            if pidfd is not None:
                found[pidfd] = guest
                continue
            with self._lock:
                left = self._guests.get(container, set())
                left.discard(guest)
                if not left:
                    self._guests.pop(container, None)
        return found

    def await_end(self, container: tuple[int, int], pidfd: int, seconds: float) -> bool:
        """Wait up to *seconds* for the end of process *container*, behind *pidfd*; tell whether it came.

        Guests that end meanwhile are reaped; how they ended is remembered.
        """
        deadline = time.monotonic() + seconds
        while True:
            guests = self.open_guests(container)
            try:
                poller = select.poll()
                for fd in (pidfd, *guests):
                    poller.register(fd, select.POLLIN)
                left = max(0.0, deadline - time.monotonic())
                # Another thread may let somebody join meanwhile.
                for fd, _ in poller.poll(int(min(left, _GLANCE) * 1000 + 0.999)):
                    if fd != pidfd:
                        self.reap(*guests[fd], fd)
            finally:
                for fd in guests:
                    os.close(fd)
            if has_ended(pidfd):
                return True
            if time.monotonic() >= deadline:
                return False


def timestamp() -> str:
    """Return the time as RFC 3339 with nanoseconds in UTC."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    moment = time.gmtime(seconds)
    year, month, day, hour, minute, second = moment[:6]
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanoseconds:09}Z"


def await_program(pid: int, started: int) -> None:
    """Return when a process that executes its program is that program for everybody who looks.

    execve(2) closes descriptors, and thereby tells us, before it takes on the credentials and lays out the
    arguments (``begin_new_exec`` in fs/exec.c); proc_pid_cmdline(5) is empty until that is done. Under load
    the process can be interrupted between the two. Nothing depends on it: who may not look does not wait.
    """

    def begun() -> bool:
        try:
            fd = os.open(f"/proc/{pid}/cmdline", os.O_RDONLY | os.O_CLOEXEC)
            try:
                shown = os.read(fd, 1)
            finally:
                os.close(fd)
        except OSError:  # it has ended, or is hidden from us
            return True
        return bool(shown) or not is_alive(pid, started)

    wait_until(begun, time.monotonic() + _EXECUTION_SECONDS)


def wait_until(done: Callable[[], bool], deadline: float) -> bool:
    """Ask *done* until it says yes or the monotonic clock reaches *deadline*: for what has no event."""
    pause = 0.0005
    poller = select.poll()
    while not done():
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        poller.poll(max(1, int(min(pause, left) * 1000)))
        pause = min(pause * 2, 0.05)
    return True
