"""The container child: from its birth as a clone of the zygote to execve(2).

Every step that it may execute is in :data:`OPERATIONS`; a plan with another step is refused before anything
is done.
"""

from __future__ import annotations

import _socket as socket
import errno
import os

from orlop_linux.init import (
    cgroupfs,
    devices,
    execute,
    failure,
    filters,
    hooks,
    identity,
    jsontext,
    listener,
    mounts,
    names,
    procfs,
    protect,
    protocol,
    root,
    security,
    sources,
    syscalls,
    terminal,
    traits,
)
from orlop_linux.init.context import Context
from orlop_linux.init.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    Operation = Callable[[Context, dict[str, Any], int], None]

OPERATIONS: dict[str, Operation] = {}
for _module in (
    root, mounts, cgroupfs, devices, terminal, hooks, names, protect, traits, security, identity, filters,
    execute,
):  # fmt: skip
    OPERATIONS.update(_module.OPS)

_MAP_LIMIT = 65536  # three numbers for each of at most 340 lines (user_namespaces(7))
_PHASES = ((failure.PHASE_CONTAINER, "container"), (failure.PHASE_CONFINED, "confined"))


class Birth:
    """What a SPAWN request asks for, with its descriptors."""

    __slots__ = (
        "cgroup_fd",
        "cgroup_namespace",
        "clocks",
        "delegated",
        "entry",
        "flags",
        "joins",
        "joins_cgroup_late",
        "keep_groups",
        "map_dumpable",
        "mapped",
        "root_fd",
        "task_fds",
    )

    def __init__(self, request: dict[str, Any], fds: list[int]) -> None:
        """Take the request apart; the descriptors come as cgroup, tasks, joins."""
        rest = iter(fds)
        self.flags: int = request["flags"]
        self.cgroup_namespace: bool = request["cgroup_namespace"]
        self.clocks: list[tuple[str, int, int]] = request["clocks"]
        self.map_dumpable: bool = request["map_dumpable"]
        self.delegated: bool = request["delegated"]
        self.keep_groups: bool = request["keep_groups"]
        self.cgroup_fd = next(rest) if request["cgroup"] else -1
        self.task_fds = [next(rest) for _ in range(request["tasks"])]
        self.joins: list[tuple[int, int]] = [(next(rest), nstype) for nstype in request["joins"]]
        self.entry: dict[str, Any] | None = request["entry"]
        """What a process has to know that joins a container; None for one that makes its own."""
        self.root_fd = next(rest) if self.entry and self.entry["root"] else -1
        self.joins_cgroup_late = False
        self.mapped = not self.flags & syscalls.CLONE_NEWUSER

    def enters_user_namespace(self) -> bool:
        """Whether the child lives in another user namespace than the engine."""
        joined = any(nstype == syscalls.CLONE_NEWUSER for _, nstype in self.joins)
        return joined or bool(self.flags & syscalls.CLONE_NEWUSER)

    def needs_stage(self) -> bool:
        """Whether something has to be entered or set before the child can be cloned."""
        return bool(self.joins or self.flags & syscalls.CLONE_NEWTIME or self.entry is not None)


def die() -> NoReturn:
    """End without a word: the engine is gone."""
    os._exit(1)


def wait_for_mapping(channel: socket.socket, birth: Birth) -> None:
    """Ask the engine for the id maps of the new user namespace, and wait until they are written.

    An unprivileged engine can only write the maps of a dumpable process. Nobody else is in the new namespaces
    then, so nobody could use that.
    """
    if birth.map_dumpable:
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
    protocol.send(channel, protocol.MAP)
    try:
        kind, _, _ = protocol.receive(channel)
    except (protocol.EndOfChannel, ConnectionError):
        die()
    if kind != protocol.MAPPED:
        die()
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)


def _owner(file: str) -> int:
    """Return the id to which things of the container belong: 0, or the first one if 0 is not mapped."""
    fd = os.open(f"/proc/self/{file}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        words = os.read(fd, _MAP_LIMIT).split()
    finally:
        os.close(fd)
    firsts = [int(words[at]) for at in range(0, len(words) - 2, 3)]
    return 0 if 0 in firsts or not firsts else firsts[0]


def become_root(owner: tuple[int, int] | None = None, *, keep_groups: bool) -> None:
    """Become the root of the user namespace: what is made from now on belongs to it.

    Where the maps have no root its first user takes that place; the capabilities are the same. The *owner* is
    given where /proc may be the container's. With *keep_groups* the supplementary ones stay.
    """
    uid, gid = owner or (_owner("uid_map"), _owner("gid_map"))
    os.setresgid(gid, gid, gid)
    try:
        if not keep_groups:
            os.setgroups([])
    except PermissionError:
        pass  # denied in this user namespace: the groups stay the caller's, see user_namespaces(7)
    if uid:
        syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 1)
    os.setresuid(uid, uid, uid)
    if uid:
        _, permitted, inheritable = syscalls.capget()
        syscalls.capset(permitted, permitted, inheritable)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)


def _join_cgroups(birth: Birth) -> None:
    """Enter the container's cgroups: a single-threaded process writes 0 and stalls nobody."""
    for fd in birth.task_fds:
        os.write(fd, b"0")
        os.close(fd)
    if birth.cgroup_fd >= 0:
        os.close(birth.cgroup_fd)
    for fd, nstype in birth.joins:
        if birth.joins_cgroup_late and nstype == syscalls.CLONE_NEWCGROUP:
            syscalls.setns(fd, nstype)
        os.close(fd)
    if birth.cgroup_namespace:
        syscalls.unshare(syscalls.CLONE_NEWCGROUP)


class _Trees:
    """The engine's trees: it sends as many as fit into one message, and more when asked."""

    __slots__ = ("asking", "channel")

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.asking = False

    def receive(self) -> list[int]:
        """Return the next trees."""
        if self.asking:
            protocol.send(self.channel, protocol.MORE)
        self.asking = True
        kind, _, fds = protocol.receive(self.channel)
        if kind != protocol.TREES or not fds:
            die()
        return fds


class Blueprint:
    """The child's part of the plan, as the engine sent it."""

    __slots__ = ("context", "listener", "phases")

    def __init__(self, channel: socket.socket, *, entry: bool) -> None:
        """Receive it all; the engine may be gone at any time.

        With *entry* the process is in a container that exists, and its root is the container's.
        """
        kind, payload, fds = protocol.receive(channel)
        if kind != protocol.BUILD or not fds:
            die()
        sizes = jsontext.loads(payload)
        blob = os.pread(fds[0], sizes["plan"] + sizes["filters"], 0)
        os.close(fds[0])
        plan = jsontext.loads(blob[: sizes["plan"]])
        programs = blob[sizes["plan"] :]
        self.phases: dict[str, list[tuple[str, dict[str, Any]]]] = plan["phases"]
        stdio, rest = tuple(fds[1:4]), iter(fds[4:])
        self.listener = socket.socket(fileno=next(rest)) if sizes["listener"] else None
        preserved = [next(rest) for _ in range(sizes["preserved"])]
        console = next(rest) if sizes["console"] else -1
        attributes = next(rest) if sizes["attributes"] else -1
        trees = sources.open_all(plan["sources"])
        filters_ = {
            int(index): (programs[offset : offset + length], flags)
            for index, (offset, length, flags) in plan["filters"].items()
        }
        self.context = Context(
            root_fd=_open_root() if entry else -1,
            proc_fd=_open_procfs(plan) if not entry or plan["proc"] else -1,
            attributes_fd=attributes,
            trees=trees,
            pending=plan["trees"],
            more=_Trees(channel).receive,
            has_userns=plan["user_namespace"],
            new_namespaces=frozenset(plan["namespaces"]),
            cgroup_mounts=[(name, tuple(aliases)) for name, aliases in plan["cgroup_mounts"]],
            stdio=stdio,
            preserved=preserved,
            console_fd=console,
            filters=filters_,
            state=plan["state"],
            listen_fds=plan["listen_fds"],
        )
        self.context.umask = plan["umask"]
        self.context.execute_fields = next(
            (fields for name, fields in self.phases["exec"] if name == "Execute"), None
        )


def _open_root() -> int:
    return os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _open_procfs(plan: dict[str, Any]) -> int:
    return procfs.open_private(new_pid_namespace="pid" in plan["namespaces"] or plan.get("proc", False))


def _attach_stdio(context: Context) -> None:
    """Make the caller's descriptors the standard ones."""
    for number, fd in enumerate(context.stdio):
        os.dup2(fd, number)
        os.close(fd)


def _refuse_unknown(plan: Blueprint) -> None:
    for steps in plan.phases.values():
        for index, (name, _) in enumerate(steps):
            if name not in OPERATIONS:
                raise _At(failure.PHASE_SPAWN, index, Failure(errno.ENOSYS, failure.DETAIL_UNKNOWN_STEP))


class _At(Exception):  # noqa: N818 - it carries a failure to the place where it is sent
    """A failure with its place in the plan."""

    def __init__(self, phase: int, index: int, error: OSError | Failure) -> None:
        super().__init__(phase, index)
        self.phase = phase
        self.index = index
        self.error = error

    def pack(self) -> bytes:
        error = self.error
        if isinstance(error, Failure):
            return failure.pack_failure(self.phase, self.index, error.errno, error.detail, error.output)
        detail = getattr(error, "detail", failure.DETAIL_NONE)
        return failure.pack_failure(self.phase, self.index, error.errno or 0, detail)


def _execute(context: Context, phase: int, steps: list[tuple[str, dict[str, Any]]]) -> None:
    for index, (name, fields) in enumerate(steps):
        try:
            OPERATIONS[name](context, fields, index)
        except (OSError, Failure) as error:
            raise _At(phase, index, error) from None
        except (MemoryError, RecursionError):
            raise _At(phase, index, OSError(errno.ENOMEM, "")) from None


def build(channel: socket.socket, birth: Birth) -> Blueprint:
    """Execute phases ``container`` and ``confined``; return what phase ``exec`` needs."""
    try:
        _join_cgroups(birth)
        if not birth.mapped:
            wait_for_mapping(channel, birth)
        entry = birth.entry
        if birth.enters_user_namespace() and (entry or not birth.delegated):
            become_root(tuple(entry["owner"]) if entry else None, keep_groups=birth.keep_groups)
        plan = Blueprint(channel, entry=entry is not None)
        if birth.enters_user_namespace() and birth.delegated and not entry:
            # Sources of the caller's have been opened: from now on as whom the container's things belong to.
            become_root(keep_groups=birth.keep_groups)
        context = plan.context
        context.keep_groups = birth.keep_groups
        context.status_fd = channel.fileno()
        _attach_stdio(context)
    except sources.Refused as refused:
        raise _At(failure.PHASE_CONTAINER, refused.step, refused.error) from None
    except (OSError, Failure) as error:
        raise _At(failure.PHASE_SPAWN, 0, error) from None
    _refuse_unknown(plan)
    for number, name in _PHASES:
        _execute(context, number, plan.phases[name])
        if name == "confined":
            devices.adopt_null(context)
        context.end_of_phase(name)
    return plan


def _await_commit(channel: socket.socket) -> None:
    kind, _, _ = protocol.receive(channel)
    if kind != protocol.COMMIT:
        die()


def _await_start(listener: socket.socket) -> socket.socket:
    """Return the connection of the one who starts; connections that ask for nothing are probes."""
    while True:
        # What the public class wraps: a descriptor, closed on exec.
        fd, _ = listener._accept()  # type: ignore[attr-defined] # noqa: SLF001 - see above
        connection = socket.socket(fileno=fd)
        connection.settimeout(10)
        try:
            if connection.recv(1) == protocol.START_REQUEST:
                connection.settimeout(None)
                return connection
        except OSError:
            pass  # a probe that is gone already
        connection.close()


def start(plan: Blueprint, connection: socket.socket) -> NoReturn:
    """Execute phase ``exec``; the end of *connection* tells the other side that the program runs."""
    plan.context.status_fd = connection.fileno()
    try:
        _execute(plan.context, failure.PHASE_EXEC, plan.phases["exec"])
    except _At as failed:
        if plan.context.handover is not None:
            listener.fail(plan.context.handover, failed.pack())
        else:
            # Not by the socket: its number may belong to a preserved descriptor by now.
            os.write(plan.context.status_fd, failed.pack())
    os._exit(1)


def run(channel: socket.socket, birth: Birth) -> NoReturn:
    """Live as the container child. Never return, never raise."""
    try:
        try:
            plan = build(channel, birth)
        except _At as failed:
            protocol.send(channel, protocol.FAILED, failed.pack())
            die()
        protocol.send(channel, protocol.READY)
        _await_commit(channel)
        if plan.listener is None:
            # It joins a container: who has let it go on waits for its program, on the same socket.
            start(plan, channel)
        channel.close()
        start(plan, _await_start(plan.listener))
    except (OSError, protocol.EndOfChannel):
        die()
    finally:
        os._exit(1)
