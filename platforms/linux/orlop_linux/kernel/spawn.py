"""One container process, from the request for it to its release."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # typeshed has only signal
import errno
import fcntl
import os
import struct
import time
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import PlatformError, StepError
from orlop_hookspecs.launch import LaunchOptions
from orlop_linux.init import failure, jsontext, protocol, syscalls
from orlop_linux.kernel.channel import Channel, SilentEndError
from orlop_linux.kernel.identity import prepare
from orlop_linux.kernel.idmap import map_users, verify_maps, write_maps
from orlop_linux.kernel.mountfailures import refine
from orlop_linux.kernel.namespaces import FLAGS, is_own
from orlop_linux.kernel.sources import Sources
from orlop_linux.kernel.unprivileged import birth_hint, may_make_nodes, may_mount
from orlop_linux.live.failures import Outline, error_of
from orlop_linux.live.process import start_time

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from orlop_hookspecs.plan import PlannedStep
    from orlop_hookspecs.record import Record
    from orlop_linux.kernel.namespaces import Opened
    from orlop_linux.kernel.zygote import Zygote

_PLAIN = LaunchOptions()
_BIRTH_SECONDS = 30.0
_PEER_PATIENCE = struct.pack("ll", 10, 0)
"""A struct timeval: how long a caller's socket may keep us waiting."""
_MOST_PRESERVED = protocol.FDS_PER_MESSAGE - 6  # beside the plan, the standard streams, listener, console


def caller_umask() -> int:
    """Return this process's umask without changing it, as umask(2) would for a moment (proc(5), status)."""
    with open("/proc/self/status", "rb") as file:
        for line in file:
            if line.startswith(b"Umask:"):
                return int(line[6:], 8)
    return 0o022


class Launch:
    """A container process while it is being made."""

    def __init__(
        self,
        zygote: Zygote,
        record: Record,
        options: LaunchOptions = _PLAIN,
        first: Zygote | None = None,
    ) -> None:
        """Begin; there is no process yet."""
        self.pid = 0
        self.start_time = 0
        self.pidfd = -1
        self.warnings: list[str] = []
        self.while_mapping: Callable[[int], None] | None = None
        """Called with the process that waits for its id maps, while its files are still the caller's."""
        self._zygote = zygote
        self._first = first or zygote
        self._record = record
        self._options = options
        self._channel: Channel | None = None
        self._stage = (0, -1)
        self._staged = False
        self._maps: tuple[Any, Any] | None = None
        self._new: list[str] = []
        self._joined: list[str] = []
        self._birth: list[Outline] = []
        self._committed = False
        self._delegated = not may_mount()

    # --- clone

    def clone(
        self,
        steps: Sequence[PlannedStep],
        *,
        namespaces: Opened,
        cgroup_fd: int | None,
        task_fds: Sequence[int],
    ) -> None:
        """Make the process in its namespaces and cgroups; it then waits for :meth:`build`.

        Args:
            steps: Phase ``clone``.
            namespaces: What :func:`orlop_linux.kernel.namespaces.open_all` has opened.
            cgroup_fd: Directory of the v2 cgroup in which the process is born.
            task_fds: Open ``tasks`` files (v1) that it enters before anything else.
        """
        self._birth = [Outline.of(planned) for planned in steps]
        joins: list[tuple[int, int]] = []
        try:
            clocks = self._sort(steps, namespaces, joins)
            flags = 0
            for kind in self._new:
                flags |= FLAGS[kind]
            request = {
                "flags": flags & ~syscalls.CLONE_NEWCGROUP,
                "cgroup_namespace": "cgroup" in self._new,
                "clocks": clocks,
                "map_dumpable": os.geteuid() != 0,
                "delegated": self._delegated,
                "keep_groups": any(type(one.step).__name__ == "KeepGroups" for one in steps),
                "cgroup": cgroup_fd is not None,
                "tasks": len(task_fds),
                "joins": [kind for _, kind in joins],
                "entry": None,
            }
            fds = [*([] if cgroup_fd is None else [cgroup_fd]), *task_fds, *(fd for fd, _ in joins)]
            try:
                self._bear(request, fds)
            except SilentEndError:
                # The zygote took the request and was killed: its successor gets it.
                self._bear(request, fds)
        except SilentEndError:
            raise PlatformError(
                "the zygote ended before it made a process", container=self._record.id
            ) from None
        self._reap_stage()
        if self._options.pidfd_socket:
            self._send_pidfd(b"standard")

    def _sort(
        self, steps: Sequence[PlannedStep], namespaces: Opened, joins: list[tuple[int, int]]
    ) -> list[tuple[str, int, int]]:
        """Note what the steps of phase ``clone`` ask for, add to *joins*, and return the clocks."""
        clocks: list[tuple[str, int, int]] = []
        for planned in steps:
            step: Any = planned.step
            name = type(step).__name__
            if name == "NewNamespace":
                self._new.append(step.type)
            elif name == "JoinNamespace":
                fd = namespaces[step.type, step.path]
                if step.type == "user" and is_own(fd, "user"):
                    # setns(2) refuses to enter the user namespace where one is already.
                    continue
                joins.append((fd, FLAGS[step.type]))
                self._joined.append(step.type)
            elif name == "SetIdMappings":
                self._maps = (step.uid, step.gid)
            elif name == "SetTimeOffset":
                clocks.append((step.clock, step.secs, step.nanosecs))
            elif name != "KeepGroups":
                raise PlatformError(f"no step {name} in phase clone", plugin=planned.plugin)
        return clocks

    def _bear(self, request: dict[str, Any], fds: list[int]) -> None:
        """Request the process and follow the handshake until it is known and has its id maps."""
        if self._channel is not None:
            self._channel.close()
        channel = self._channel = Channel(self._record.id)
        self._first.request(request, [channel.theirs.fileno(), *fds])
        channel.theirs.close()
        self._staged = bool(
            request["joins"] or request["flags"] & syscalls.CLONE_NEWTIME or request["entry"] is not None
        )
        end = time.monotonic() + _BIRTH_SECONDS
        asked = False
        mapped = "user" not in self._new
        # Who clones tells of it afterwards, so the stage's child may be known before the stage is.
        while not (self.pid and mapped and (self._stage[0] or not self._staged)):
            kind, payload, answered = channel.receive(end - time.monotonic())
            if self._learn(channel, kind, payload, answered):
                pass
            elif kind == protocol.MAP and not (mapped or asked or answered):
                asked = True
            elif kind == protocol.FAILED and not answered:
                self._learn_all(channel, end)
                raise self._birth_error(payload)
            else:
                raise channel.refuse(answered)
            target = self._stage[0] or self.pid
            if asked and not mapped and target:
                write_maps(target, *(self._maps or ((), ())))
                if self.while_mapping is not None:
                    self.while_mapping(target)
                channel.send(protocol.MAPPED)
                mapped = True
        if self._maps is not None and "user" not in self._new:
            verify_maps(self.pid, *self._maps)

    def _learn(self, channel: Channel, kind: bytes, payload: bytes, fds: list[int]) -> bool:
        """Keep the process that a STAGE or PID message tells of; return whether it was one that was due."""
        if kind == protocol.STAGE and self._staged and not self._stage[0]:
            self._stage = channel.process(payload, fds)
            return True
        if kind == protocol.PID and not self.pid:
            self.pid, self.pidfd = channel.process(payload, fds)
            channel.pidfd = self.pidfd
            self.start_time = start_time(self.pid)
            return True
        return False

    def _learn_all(self, channel: Channel, end: float) -> None:
        """Read to the end: a process can fail before its cloner has told of it, and has to be reaped."""
        try:
            while True:
                kind, payload, fds = channel.receive(end - time.monotonic())
                if not self._learn(channel, kind, payload, fds):
                    raise channel.refuse(fds)
        except StepError:
            return

    def _birth_error(self, payload: bytes) -> StepError:
        unpacked = failure.unpack_failure(payload)
        number, detail = unpacked[2:4] if unpacked else (0, failure.DETAIL_NONE)
        clocks = [one for one in self._birth if one.name == "SetTimeOffset"]
        if 0 <= detail - failure.DETAIL_CLOCK < len(clocks):
            step = clocks[detail - failure.DETAIL_CLOCK]
            return StepError(
                f"cannot set the clock: {os.strerror(number).lower()}",
                pointer=step.because,
                plugin=step.plugin,
                step=step.words,
                errno=number,
                container=self._record.id,
                hint="no clock can show a time before the start of the machine, or 146 years after it",
            )
        kinds = ", ".join([*self._new, *(f"{kind} (joined)" for kind in self._joined)])
        return StepError(
            f"cannot make the container process with namespaces {kinds}: {os.strerror(number).lower()}",
            pointer="/linux/namespaces",
            errno=number,
            container=self._record.id,
            hint=birth_hint(number, (*self._new, *self._joined)),
        )

    def _open_channel(self) -> Channel:
        if self._channel is None:
            raise PlatformError("the container process has been released", container=self._record.id)
        return self._channel

    def _reap_stage(self) -> None:
        pid, fd = self._stage
        if pid:
            try:
                os.waitid(os.P_PIDFD, fd, os.WEXITED)
            except ChildProcessError:
                pass  # the program that embeds us reaps all its children
            os.close(fd)
            self._stage = (0, -1)

    def _send_pidfd(self, kind: bytes) -> None:
        import socket

        with connect(self._options.pidfd_socket) as sock:
            socket.send_fds(sock, [kind], [self.pidfd])

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
        announce_root: Callable[[int], None] | None = None,
    ) -> None:
        """Send the rest of the plan and wait until the process has executed all but phase ``exec``.

        A descriptor of the root's mount is announced before the process can attach it.
        """
        own_user = "user" in self._new or "user" in self._joined
        self.warnings += prepare(execute, self.pid, user_namespace=own_user)
        phases = {"container": container, "confined": confined, "exec": execute}
        outlines = {name: [Outline.of(planned) for planned in steps] for name, steps in phases.items()}
        self._record.kernel["exec"] = [one.to_data() for one in outlines["exec"]]
        sources = Sources(
            container,
            cgroup_mounts,
            user_namespace=self.pid if own_user else None,
            own_network="network" in self._new or "network" in self._joined,
            delegated=self._delegated,
            nodes=not own_user and may_make_nodes(),
            map_users=lambda uid, gid: map_users(Launch(self._zygote, self._record), uid, gid),
            announce_root=announce_root,
        )
        channel = self._open_channel()
        try:
            plan = self._document(phases, filters, cgroup_mounts, sources.keys(), state)
            plan["sources"] = sources.requests
            try:
                self._send_plan(plan, filters, start_listener, needs_console=_has(container, "OpenTerminal"))
            except (BrokenPipeError, ConnectionResetError):
                pass  # the process has ended; what it said about it is read below
            kind, payload, fds = channel.serve(sources.batches())
        finally:
            sources.end()
        if fds:
            raise channel.refuse(fds)
        if kind == protocol.FAILED:
            error = error_of(payload, {"clone": self._birth, **outlines}, self._record.id)
            raise refine(error, payload, container)
        if kind != protocol.READY:
            raise channel.refuse()

    def _document(
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
        attributes: int = -1,
    ) -> None:
        text = jsontext.dumps(plan).encode()
        programs = b"".join(program for program, _ in filters.values())
        preserved = self._open_preserved()
        console = connect(self._options.console_socket) if needs_console else None
        blob = syscalls.memory_file("plan")
        try:
            _write_all(blob, text + programs)
            sizes = {
                "plan": len(text),
                "filters": len(programs),
                "preserved": len(preserved),
                "console": console is not None,
                "listener": listener >= 0,
                "attributes": attributes >= 0,
            }
            fds = [blob, *self._options.stdio]
            if listener >= 0:
                fds.append(listener)
            fds += preserved
            if console is not None:
                fds.append(console.fileno())
            if attributes >= 0:
                fds.append(attributes)
            self._open_channel().send(protocol.BUILD, jsontext.dumps(sizes).encode(), fds)
        finally:
            os.close(blob)
            if console is not None:
                console.close()

    def _open_preserved(self) -> list[int]:
        """Return the descriptors that the process inherits beside the standard ones, verified."""
        count = self._options.preserve_fds
        if count > _MOST_PRESERVED:
            raise StepError(
                f"more than {_MOST_PRESERVED} descriptors cannot be preserved",
                value=count,
                container=self._record.id,
            )
        preserved = list(range(3, 3 + count))
        for fd in preserved:
            try:
                fcntl.fcntl(fd, fcntl.F_GETFD)
            except OSError as error:
                raise StepError(
                    f"descriptor {fd} should be preserved and is not open",
                    errno=error.errno,
                    container=self._record.id,
                ) from error
        return preserved

    # --- release

    def commit(self) -> None:
        """Release the process: it no longer ends with the engine."""
        self._open_channel().send(protocol.COMMIT)
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
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    except (ProcessLookupError, ChildProcessError, PermissionError):
        return


def _has(steps: Sequence[PlannedStep], name: str) -> bool:
    return any(type(planned.step).__name__ == name for planned in steps)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def connect(path: str) -> socket.socket:
    """Connect to an AF_UNIX stream socket.

    An address holds 108 bytes only (unix(7)), its path or the name alone may be longer: so the address is a
    descriptor of the socket's place.

    Raises:
        StepError: Nobody listens there.
    """
    import socket

    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            # A blocking socket waits in a full queue; with a timeout of Python's it would be refused at once.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _PEER_PATIENCE)
            sock.connect(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)
    except OSError as error:
        sock.close()
        number = error.errno or errno.EIO
        slow = number == errno.EAGAIN
        why = "nobody takes the connection" if slow else os.strerror(number).lower()
        raise StepError(f"cannot connect to the socket: {why}", path=path, errno=number) from error
    return sock
