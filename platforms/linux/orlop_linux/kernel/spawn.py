"""One container process, from the request for it to its release."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import select
import socket
import time
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import PlatformError, StepError
from orlop_linux.init import protocol, syscalls
from orlop_linux.init.identity import NUMBER, RLIMITS
from orlop_linux.kernel.idmap import write_maps
from orlop_linux.kernel.sources import Sources
from orlop_linux.live.failures import Outline, error_of
from orlop_linux.live.process import start_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from orlop_hookspecs.launch import LaunchOptions
    from orlop_hookspecs.plan import PlannedStep
    from orlop_hookspecs.record import Record
    from orlop_linux.kernel.zygote import Zygote

FLAGS = {
    "mount": syscalls.CLONE_NEWNS,
    "uts": syscalls.CLONE_NEWUTS,
    "ipc": syscalls.CLONE_NEWIPC,
    "user": syscalls.CLONE_NEWUSER,
    "pid": syscalls.CLONE_NEWPID,
    "network": syscalls.CLONE_NEWNET,
    "cgroup": syscalls.CLONE_NEWCGROUP,
    "time": syscalls.CLONE_NEWTIME,
}
"""Namespace names of the spec with their flags of clone(2)."""

_NS_GET_NSTYPE = 0xB703
_NSFS_MAGIC = 0x6E736673
_BIRTH_SECONDS = 30.0
_PROC_ROOT_FDS = 5
_SIGKILL = 9


def open_namespace(planned: PlannedStep) -> tuple[int, int]:
    """Return a descriptor and the flag of the namespace that a JoinNamespace step names, verified.

    Raises:
        StepError: The path is missing or is not a namespace of that kind.
    """
    step: Any = planned.step
    wanted = FLAGS[step.type]
    fd = -1
    try:
        # O_NONBLOCK: a FIFO in its place must not block.
        fd = os.open(step.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        if syscalls.statfs_type(fd) != _NSFS_MAGIC:
            raise OSError(errno.EINVAL, "not a namespace")
        found = fcntl.ioctl(fd, _NS_GET_NSTYPE)
        if found != wanted:
            raise OSError(errno.EINVAL, "a namespace of another kind")
    except OSError as error:
        if fd >= 0:
            os.close(fd)
        why = (error.strerror or os.strerror(error.errno or 0)).lower()
        raise StepError(
            f"cannot join the {step.type} namespace {step.path}: {why}",
            pointer=step.because,
            plugin=planned.plugin,
            errno=error.errno,
        ) from error
    return fd, wanted


def caller_umask() -> int:
    """Return this process's umask without changing it, as umask(2) would for a moment (proc(5), status)."""
    with open("/proc/self/status", "rb") as file:
        for line in file:
            if line.startswith(b"Umask:"):
                return int(line[6:], 8)
    return 0o022


class Launch:
    """A container process while it is being made."""

    def __init__(self, zygote: Zygote, record: Record, options: LaunchOptions) -> None:
        """Begin; there is no process yet."""
        self.pid = 0
        self.start_time = 0
        self.pidfd = -1
        self.warnings: list[str] = []
        self._zygote = zygote
        self._record = record
        self._options = options
        self._channel: socket.socket | None = None
        self._stage = (0, -1)
        self._maps: tuple[Any, Any] | None = None
        self._new: list[str] = []
        self._joined: list[str] = []
        self._birth: list[Outline] = []
        self._committed = False

    # --- clone

    def clone(self, steps: Sequence[PlannedStep], *, cgroup_fd: int | None, task_fds: Sequence[int]) -> None:
        """Make the process in its namespaces and cgroups; it then waits for :meth:`build`.

        Args:
            steps: Phase ``clone``.
            cgroup_fd: Directory of the v2 cgroup in which the process is born.
            task_fds: Open ``tasks`` files (v1) that it enters before anything else.
        """
        clocks: list[tuple[str, int, int]] = []
        joins: list[tuple[int, int]] = []
        try:
            for planned in steps:
                step: Any = planned.step
                name = type(step).__name__
                if name == "NewNamespace":
                    self._new.append(step.type)
                elif name == "JoinNamespace":
                    joins.append(open_namespace(planned))
                    self._joined.append(step.type)
                elif name == "SetIdMappings":
                    self._maps = (step.uid, step.gid)
                elif name == "SetTimeOffset":
                    clocks.append((step.clock, step.secs, step.nanosecs))
                else:
                    raise PlatformError(f"no step {name} in phase clone", plugin=planned.plugin)
            self._birth = [Outline.of(planned) for planned in steps]
            flags = 0
            for kind in self._new:
                flags |= FLAGS[kind]
            request = {
                "flags": flags & ~syscalls.CLONE_NEWCGROUP,
                "cgroup_namespace": "cgroup" in self._new,
                "clocks": clocks,
                "map_dumpable": os.geteuid() != 0,
                "cgroup": cgroup_fd is not None,
                "tasks": len(task_fds),
                "joins": [kind for _, kind in joins],
            }
            rest = [*([] if cgroup_fd is None else [cgroup_fd]), *task_fds, *(fd for fd, _ in joins)]
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
            self._channel = ours
            with theirs:
                self._zygote.request(request, [theirs.fileno(), *rest])
        finally:
            for fd, _ in joins:
                os.close(fd)
        self._await_birth()

    def _await_birth(self) -> None:
        """Follow the handshake until the process is known and has its id maps."""
        deadline = time.monotonic() + _BIRTH_SECONDS
        mapping_asked = False
        mapped = "user" not in self._new
        while not (self.pid and mapped):
            kind, payload, fds = self._receive(deadline)
            if kind == protocol.STAGE and fds:
                self._stage = (int(payload), fds[0])
            elif kind == protocol.PID and fds:
                self.pid, self.pidfd = int(payload), fds[0]
                self.start_time = start_time(self.pid)
            elif kind == protocol.MAP:
                mapping_asked = True
            elif kind == protocol.FAILED:
                raise self._birth_error(payload)
            target = self._stage[0] or self.pid
            if mapping_asked and not mapped and target:
                write_maps(target, *(self._maps or ((), ())))
                protocol.send(self._open_channel(), protocol.MAPPED)
                mapped = True
        self._reap_stage()
        if self._options.pidfd_socket:
            self._send_pidfd()

    def _birth_error(self, payload: bytes) -> StepError:
        number = int.from_bytes(payload[16:24], "little", signed=True) if len(payload) >= 24 else 0  # noqa: PLR2004
        kinds = ", ".join([*self._new, *(f"{kind} (joined)" for kind in self._joined)])
        return StepError(
            f"cannot make the container process with namespaces {kinds}: {os.strerror(number).lower()}",
            pointer="/linux/namespaces",
            errno=number,
            container=self._record.id,
        )

    def _open_channel(self) -> socket.socket:
        if self._channel is None:
            raise PlatformError("the container process has been released", container=self._record.id)
        return self._channel

    def _receive(self, deadline: float | None) -> tuple[bytes, bytes, list[int]]:
        channel = self._open_channel()
        poller = select.poll()
        poller.register(channel, select.POLLIN)
        left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        if not poller.poll(left):
            raise StepError("the container process does not answer", container=self._record.id)
        try:
            return protocol.receive(channel)
        except (protocol.EndOfChannel, ConnectionError):
            raise StepError(
                f"the container process ended while it was being made{self._last_words()}",
                container=self._record.id,
                hint="a memory limit below what the runtime itself needs may be the reason",
            ) from None

    def _last_words(self) -> str:
        """Return how the process ended, when it is known."""
        if self.pidfd < 0:
            return ""
        try:
            info = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        except ChildProcessError:
            return ""
        if info is None or info.si_code == os.CLD_EXITED:
            return ""
        return f" (signal {info.si_status})"

    def _reap_stage(self) -> None:
        pid, fd = self._stage
        if pid:
            os.waitid(os.P_PIDFD, fd, os.WEXITED)
            os.close(fd)
            self._stage = (0, -1)

    def _send_pidfd(self) -> None:
        with _connect(self._options.pidfd_socket) as sock:
            socket.send_fds(sock, [b"standard"], [self.pidfd])

    # --- build

    def build(  # noqa: PLR0913 - the parts of a container
        self,
        container: Sequence[PlannedStep],
        confined: Sequence[PlannedStep],
        execute: Sequence[PlannedStep],
        state: bytes,
        *,
        filters: Mapping[int, tuple[bytes, int]],
        cgroup_mounts: Sequence[tuple[str, str, tuple[str, ...]]],
        start_listener: int,
    ) -> None:
        """Send the rest of the plan and wait until the process has executed all but phase ``exec``."""
        self._raise_hard_limits(execute)
        self._note_missing_capabilities(execute)
        phases = {"container": container, "confined": confined, "exec": execute}
        outlines = {name: [Outline.of(planned) for planned in steps] for name, steps in phases.items()}
        self._record.kernel["exec"] = [one.to_data() for one in outlines["exec"]]
        own_user = "user" in self._new or "user" in self._joined
        sources = Sources(container, cgroup_mounts, user_namespace=self.pid if own_user else None)
        trees = list(sources.open())
        try:
            plan = self._plan(phases, filters, cgroup_mounts, [key for key, _ in trees], state)
            self._send_plan(plan, filters, start_listener, needs_console=_has(container, "OpenTerminal"))
            for first in range(0, len(trees), protocol.FDS_PER_MESSAGE):
                batch = [fd for _, fd in trees[first : first + protocol.FDS_PER_MESSAGE]]
                protocol.send(self._open_channel(), protocol.TREES, b"", batch)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the process has ended; what it said about it is read below
        finally:
            for _, fd in trees:
                os.close(fd)
        kind, payload, fds = self._receive(None)
        for fd in fds:
            os.close(fd)
        if kind == protocol.FAILED:
            raise error_of(payload, {"clone": self._birth, **outlines}, self._record.id)
        if kind != protocol.READY:
            raise StepError(
                "the container process sent an answer that makes no sense", container=self._record.id
            )

    def _plan(
        self,
        phases: Mapping[str, Sequence[PlannedStep]],
        filters: Mapping[int, tuple[bytes, int]],
        cgroup_mounts: Sequence[tuple[str, str, tuple[str, ...]]],
        trees: list[str],
        state: bytes,
    ) -> dict[str, Any]:
        places: dict[int, tuple[int, int, int]] = {}
        offset = 0
        for index, (program, flags) in filters.items():
            places[index] = (offset, len(program), flags)
            offset += len(program)
        return {
            "phases": {
                name: [(type(planned.step).__name__, planned.step.as_data()) for planned in steps]
                for name, steps in phases.items()
            },
            "filters": places,
            "trees": trees,
            "cgroup_mounts": [(name, aliases) for name, _, aliases in cgroup_mounts],
            "namespaces": self._new,
            "user_namespace": "user" in self._new or "user" in self._joined,
            "state": state.decode(),
            "listen_fds": self._options.listen_fds,
            "umask": caller_umask(),
        }

    def _send_plan(
        self,
        plan: dict[str, Any],
        filters: Mapping[int, tuple[bytes, int]],
        listener: int,
        *,
        needs_console: bool,
    ) -> None:
        text = json.dumps(plan).encode()
        programs = b"".join(program for program, _ in filters.values())
        preserved = list(range(3, 3 + self._options.preserve_fds))
        console = _connect(self._options.console_socket) if needs_console else None
        blob = syscalls.memory_file("plan")
        try:
            _write_all(blob, text + programs)
            sizes = {
                "plan": len(text),
                "filters": len(programs),
                "preserved": len(preserved),
                "console": console is not None,
            }
            fds = [blob, *self._options.stdio, listener, *preserved]
            if console is not None:
                fds.append(console.fileno())
            protocol.send(self._open_channel(), protocol.BUILD, json.dumps(sizes).encode(), fds)
        finally:
            os.close(blob)
            if console is not None:
                console.close()

    def _raise_hard_limits(self, execute: Sequence[PlannedStep]) -> None:
        """Raise hard limits for the process, which may lack the privilege in its user namespace."""
        for planned in execute:
            if type(planned.step).__name__ != "SetRlimits":
                continue
            step: Any = planned.step
            for name, _, hard in step.limits:
                number = RLIMITS[name]
                soft_now, hard_now = resource.prlimit(self.pid, number)
                wanted = resource.RLIM_INFINITY if hard >= 1 << 63 else hard
                if hard_now == resource.RLIM_INFINITY or (
                    wanted != resource.RLIM_INFINITY and wanted <= hard_now
                ):
                    continue
                try:
                    resource.prlimit(self.pid, number, (soft_now, wanted))
                except (PermissionError, ValueError) as error:
                    raise StepError(
                        f"cannot raise the hard limit of {name} from {hard_now} to {hard}: operation not permitted",
                        pointer=step.because,
                        plugin=planned.plugin,
                        errno=errno.EPERM,
                        hint="raising it needs CAP_SYS_RESOURCE",
                    ) from error

    def _note_missing_capabilities(self, execute: Sequence[PlannedStep]) -> None:
        """Warn of capabilities that the caller itself does not have (config.md: they MUST NOT fail)."""
        if "user" in self._new or "user" in self._joined:
            return
        _, had, _ = syscalls.capget()
        for planned in execute:
            if type(planned.step).__name__ != "SetCapabilities":
                continue
            step: Any = planned.step
            asked = {*step.bounding, *step.effective, *step.permitted, *step.inheritable, *step.ambient}
            missing = sorted(name for name in asked if not had >> NUMBER[name] & 1)
            if missing:
                self.warnings.append(
                    f"capabilities that cannot be granted are left out: {', '.join(missing)}"
                )

    # --- release

    def commit(self) -> None:
        """Release the process: it no longer ends with the engine."""
        protocol.send(self._open_channel(), protocol.COMMIT)
        self._committed = True

    def abort(self) -> None:
        """Kill the process and reap it. Idempotent; never raises."""
        for fd in (self._stage[1], self.pidfd):
            if fd >= 0:
                _kill(fd)
        self.close()

    def close(self) -> None:
        """Release the descriptors. Idempotent; without :meth:`commit` the process ends."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        for fd in (self._stage[1], self.pidfd):
            if fd >= 0:
                os.close(fd)
        self._stage = (self._stage[0], -1)
        self.pidfd = -1


def _kill(pidfd: int) -> None:
    import signal

    try:
        signal.pidfd_send_signal(pidfd, _SIGKILL)
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    except (ProcessLookupError, ChildProcessError, PermissionError):
        return


def _has(steps: Sequence[PlannedStep], name: str) -> bool:
    return any(type(planned.step).__name__ == name for planned in steps)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _connect(path: str) -> socket.socket:
    """Connect to an AF_UNIX stream socket; a path longer than an address goes through its directory.

    Raises:
        StepError: Nobody listens there.
    """
    directory, name = os.path.split(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        fd = os.open(directory or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            sock.settimeout(10)
            sock.connect(f"/proc/self/fd/{fd}/{name}")
        finally:
            os.close(fd)
    except OSError as error:
        sock.close()
        raise StepError(
            f"cannot connect to the socket: {os.strerror(error.errno or 0).lower()}",
            path=path,
            errno=error.errno,
        ) from error
    return sock
