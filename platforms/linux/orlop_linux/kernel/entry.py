"""One more process in a container that exists: the engine's side of ``exec``.

What the container process is in, the new one joins: the engine opens its namespaces and cgroups, and the
stage enters them (see :mod:`orlop_linux.init.protocol`). Nothing is looked up by a path of the container, and
nothing of the host's is handed over that the program would not get anyway.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import PlatformError, StateError, StepError
from orlop_hookspecs.launch import LaunchOptions
from orlop_linux.init import failure, protocol, syscalls
from orlop_linux.kernel.channel import SilentEndError
from orlop_linux.kernel.entrygroups import open_groups
from orlop_linux.kernel.identity import prepare
from orlop_linux.kernel.namespaces import FILES, FLAGS
from orlop_linux.kernel.spawn import Launch
from orlop_linux.live.failures import Outline, error_of
from orlop_linux.live.process import SIGKILL, await_program, is_alive, send

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from orlop_hookspecs.launch import ExecOptions
    from orlop_hookspecs.plan import Plan, PlannedStep
    from orlop_hookspecs.record import Record
    from orlop_linux.kernel.zygote import Zygote

_ID_LIMIT = 65536


def enter(  # noqa: PLR0913 - the parts of one process
    zygote: Zygote,
    record: Record,
    plan: Plan,
    options: ExecOptions,
    *,
    resctrl_root: str = "",
    only: bool = False,
) -> Entry:
    """Make a process in the container of *record*; see :meth:`orlop_hookspecs.kernel.LiveKernel.enter`.

    With *only*, the zygote is not needed for anything else.
    """
    entry = Entry(zygote, record, plan, options)
    try:
        entry.bear()
        if only:
            zygote.dismiss()
        entry.host_steps(resctrl_root)
        entry.build_inside()
    except BaseException:
        entry.abort()
        raise
    return entry


class Entry(Launch):
    """A process while it joins a container; implements :class:`orlop_hookspecs.kernel.Entry`."""

    def __init__(self, zygote: Zygote, record: Record, plan: Plan, options: ExecOptions) -> None:
        """Begin; there is no process yet, and what the host cannot compile is refused."""
        super().__init__(
            zygote,
            record,
            LaunchOptions(
                console_socket=options.console_socket,
                pidfd_socket=options.pidfd_socket,
                preserve_fds=options.preserve_fds,
                stdio=options.stdio,
            ),
        )
        self._plan = plan
        self._exec = options
        self._listener: tuple[str, str | None] | None = None
        self._filters = self._compile()
        for planned in plan.steps("host"):
            step: Any = planned.step
            if type(step).__name__ != "RequireSecurityModule":
                raise _unknown(planned)
            from orlop_linux.kernel.security import require

            require(step, planned.plugin)

    def _compile(self) -> dict[int, tuple[bytes, int]]:
        filters: dict[int, tuple[bytes, int]] = {}
        for index, planned in enumerate(self._plan.steps("exec")):
            if type(planned.step).__name__ == "LoadSeccomp":
                from orlop_linux.kernel.seccomp import compile_filter

                step: Any = planned.step
                compiled = compile_filter(step, planned.plugin)
                filters[index] = (compiled.program, compiled.flags)
                self.warnings += compiled.warnings
                if step.listener_path:
                    from orlop_linux.live.agent import probe

                    probe(step.listener_path)
                    self._listener = step.listener_path, step.listener_metadata
        return filters

    # --- birth

    def bear(self) -> None:
        """Make the process in the container's namespaces and cgroups; it then waits."""
        record = self._record
        place = _open_process(record)
        joins: list[tuple[int, int]] = []
        groups: list[int] = []
        root = -1
        try:
            joins = self._open_namespaces(place)
            if "mount" not in self._joined or record.kernel.get("shared_mounts"):
                root = os.open("root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place)
            unified, tasks = open_groups(record, place, self._exec.cgroups)
            groups = [*([] if unified is None else [unified]), *tasks]
            request = {
                "flags": 0,
                "cgroup_namespace": False,
                "clocks": [],
                "map_dumpable": os.geteuid() != 0,
                "delegated": self._delegated,
                "keep_groups": self._keeps_groups(),
                "cgroup": unified is not None,
                "tasks": len(tasks),
                "joins": [kind for _, kind in joins],
                "entry": {
                    "root": root >= 0,
                    "owner": _owner(place) if "user" in self._joined else None,
                    "affinity": self._initial_affinity(),
                    "score": self._score(),
                },
            }
            # What was opened is of the process that was meant: asked after it was opened.
            if not is_alive(record.pid, record.start_time):
                raise _stopped(record)
            fds = [*(fd for fd, _ in joins), *([root] if root >= 0 else [])]
            try:
                self._bear_twice(request, [*groups, *fds])
            except StepError as error:
                if error.errno != errno.EACCES or unified is None or tasks:
                    raise
                self._bear_outside(error, unified, request, fds)
        except (FileNotFoundError, ProcessLookupError) as error:
            raise _stopped(record) from error
        finally:
            for fd in (place, root, *groups, *(fd for fd, _ in joins)):
                if fd >= 0:
                    os.close(fd)
        self._reap_stage()

    def _bear_outside(self, error: StepError, cgroup: int, request: dict[str, Any], fds: list[int]) -> None:
        """Make the process in the caller's cgroup, and have systemd move it, as the caller may not."""
        if self._record.kernel.get("systemd") is None:
            error.hint = "the cgroup above the caller's and the container's has to belong to the caller"
            raise error
        from orlop_linux.kernel.systemd.scope import join

        self._reap_stage()
        self._bear_twice(request | {"cgroup": False}, fds)
        join(self._record, cgroup, self.pid)

    def _bear_twice(self, request: dict[str, Any], fds: list[int]) -> None:
        try:
            try:
                self._bear(request, fds)
            except SilentEndError:
                # The zygote took the request and was killed: its successor gets it.
                self._bear(request, fds)
        except SilentEndError:
            raise PlatformError(
                "the zygote ended before it made a process", container=self._record.id
            ) from None

    def _open_namespaces(self, place: int) -> list[tuple[int, int]]:
        """Return the container's namespaces that are not the caller's own, open, and note their types."""
        joins: list[tuple[int, int]] = []
        try:
            for kind, flag in FLAGS.items():
                name = f"ns/{FILES.get(kind, kind)}"
                try:
                    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=place)
                except FileNotFoundError:
                    if kind in {"time", "cgroup"} and not os.path.exists(f"/proc/self/{name}"):
                        continue  # the kernel has no namespaces of that type
                    raise
                if os.path.samestat(os.fstat(fd), os.stat(f"/proc/thread-self/{name}")):
                    os.close(fd)
                    continue
                joins.append((fd, flag))
                self._joined.append(kind)
        except BaseException:
            for fd, _ in joins:
                os.close(fd)
            raise
        return joins

    def _initial_affinity(self) -> list[tuple[int, int]]:
        for planned in self._plan.steps("clone"):
            step: Any = planned.step
            if type(step).__name__ == "SetCpuAffinity":
                return list(step.cpus)
            if type(step).__name__ != "KeepGroups":
                raise _unknown(planned)
        return []

    def _keeps_groups(self) -> bool:
        return any(type(planned.step).__name__ == "KeepGroups" for planned in self._plan.steps("clone"))

    def _score(self) -> int | None:
        """Return the score for the OOM killer, set before anything is joined: later only root may."""
        for planned in self._plan.steps("host-with-pid"):
            if type(planned.step).__name__ == "SetOomScore":
                score: int = planned.step.score  # type: ignore[attr-defined]
                return score
        return None

    def _birth_error(self, payload: bytes) -> StepError:
        unpacked = failure.unpack_failure(payload)
        number, detail = unpacked[2:4] if unpacked else (0, failure.DETAIL_NONE)
        for wanted, name in (
            (failure.DETAIL_AFFINITY, "SetCpuAffinity"),
            (failure.DETAIL_SCORE, "SetOomScore"),
        ):
            if detail != wanted:
                continue
            for planned in (*self._plan.steps("clone"), *self._plan.steps("host-with-pid")):
                if type(planned.step).__name__ == name:
                    return _refused(planned, number, self._record)
        return StepError(
            f"cannot make a process in the container: {os.strerror(number).lower()}",
            errno=number,
            container=self._record.id,
            hint="its first process has ended" if number == errno.ENOMEM and "pid" in self._joined else "",
        )

    # --- on the host, with a process that waits

    def host_steps(self, resctrl_root: str) -> None:
        """Execute the steps that the host takes for the process."""
        for planned in self._plan.steps("host-with-pid"):
            step: Any = planned.step
            name = type(step).__name__
            if name == "JoinResctrlGroup":
                from orlop_linux.kernel.resctrl import Resctrl

                groups = Resctrl(resctrl_root, self._record)
                try:
                    groups.join(step, planned.plugin, self.pid)
                finally:
                    groups.release()
            elif name not in {"JoinCgroup", "SetOomScore"}:
                raise _unknown(planned)

    # --- inside

    def build_inside(self) -> None:
        """Send the plan and wait until the process has executed all but phase ``exec``; then schedule it."""
        plan = self._plan
        execute = plan.steps("exec")
        own_user = "user" in self._joined
        self.warnings += prepare(execute, self.pid, user_namespace=own_user)
        phases = {name: plan.steps(name) for name in ("container", "confined", "exec")}
        outlines = {name: [Outline.of(planned) for planned in steps] for name, steps in phases.items()}
        attributes = self._open_attributes(phases["confined"])
        try:
            document = self._document(phases, self._filters, [], [], b"{}")
            document["sources"] = []
            document["proc"] = attributes < 0 and _needs_attributes(phases["confined"])
            try:
                self._send_plan(
                    document,
                    self._filters,
                    -1,
                    needs_console=any(
                        type(one.step).__name__ == "OpenTerminal" for one in phases["container"]
                    ),
                    attributes=attributes,
                )
            except (BrokenPipeError, ConnectionResetError):
                pass  # the process has ended; what it said about it is read below
        finally:
            if attributes >= 0:
                os.close(attributes)
        channel = self._open_channel()
        kind, payload, fds = channel.receive()
        if fds:
            raise channel.refuse(fds)
        if kind == protocol.FAILED:
            raise error_of(payload, outlines, self._record.id)
        if kind != protocol.READY:
            raise channel.refuse()
        self._outlines = outlines["exec"]
        for planned in plan.steps("built"):
            self._schedule(planned)

    def _open_attributes(self, confined: Sequence[PlannedStep]) -> int:
        """Return the process's own directory of security attributes as a mount of its own, or -1.

        The container may cover its /proc. What is handed over shows nothing else: not even ``..`` leads out.
        """
        if self._delegated or not _needs_attributes(confined):
            return -1
        path = f"/proc/{self.pid}/task/{self.pid}/attr".encode()
        return syscalls.open_tree(syscalls.AT_FDCWD, path, syscalls.OPEN_TREE_CLONE)

    def _schedule(self, planned: PlannedStep) -> None:
        from orlop_linux.kernel import scheduling

        step: Any = planned.step
        name = type(step).__name__
        if name == "SetScheduler":
            scheduling.set_scheduler(step, planned.plugin, self.pid, self.start_time)
        elif name == "SetIoPriority":
            scheduling.set_io_priority(step, planned.plugin, self.pid, self.start_time)
        else:
            raise _unknown(planned)

    def run(self, state: bytes) -> None:
        """Let the process execute phase ``exec``; return when its program runs."""
        if self._options.pidfd_socket:
            self._send_pidfd(b"setns")
        channel = self._open_channel()
        attend: Callable[[int], bytes] = _listen
        if self._listener is not None:
            from orlop_linux.live.listener import Handover

            alone = self._record.of_process(self.pid, self.start_time)
            alone.kernel = {"listener": list(self._listener)}
            attend = Handover(alone, state).attend
        try:
            channel.send(protocol.COMMIT)
            answer = attend(channel.fileno())
        except (BrokenPipeError, ConnectionResetError):
            raise StepError(
                "the process ended before it executed its program", container=self._record.id
            ) from None
        if answer:
            raise error_of(answer, {"exec": self._outlines}, self._record.id)
        self._committed = True
        await_program(self.pid, self.start_time)

    def abort(self) -> None:
        """Kill the process and reap it, or leave that to others where it is frozen with the container.

        Frozen processes of cgroup v1 do not die before they are thawed; this one then finds nobody there.
        """
        from orlop_linux.live.cgroups import groups_of
        from orlop_linux.live.freezer import is_frozen

        try:
            frozen = is_frozen(groups_of(self._record))
        except OSError:
            frozen = False
        if frozen:
            if self.pidfd >= 0:
                send(self.pidfd, SIGKILL)
            self.close()
        else:
            super().abort()


def _listen(fd: int) -> bytes:
    """Return what the process says of a failure; nothing when its program runs."""
    return os.read(fd, protocol.MESSAGE_LIMIT)


def _open_process(record: Record) -> int:
    """Return a descriptor of the container process's directory in procfs; it is of that process for ever."""
    try:
        place = os.open(f"/proc/{record.pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise _stopped(record) from None
    if not is_alive(record.pid, record.start_time):
        os.close(place)
        raise _stopped(record)
    return place


def _owner(place: int) -> tuple[int, int]:
    """Return the ids to which things of the container belong: 0, or the first one where 0 is not mapped."""
    owners = []
    for name in ("uid_map", "gid_map"):
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=place)
        try:
            words = os.read(fd, _ID_LIMIT).split()
        finally:
            os.close(fd)
        firsts = [int(words[at]) for at in range(0, len(words) - 2, 3)]
        owners.append(0 if 0 in firsts or not firsts else firsts[0])
    return owners[0], owners[1]


def _needs_attributes(confined: Sequence[PlannedStep]) -> bool:
    return any(
        type(one.step).__name__ in {"SetApparmorProfile", "SetSelinuxLabel"} or getattr(one.step, "label", "")
        for one in confined
    )


def _refused(planned: PlannedStep, number: int, record: Record) -> StepError:
    step: Any = planned.step
    why = os.strerror(number).lower()
    hint = ""
    if number == errno.EINVAL and type(step).__name__ == "SetCpuAffinity":
        why = "the host lacks one of the CPUs, or the caller may not use it"
    elif number == errno.EACCES:
        hint = "lowering it needs CAP_SYS_RESOURCE"
    return StepError(
        f"cannot {step.words()}: {why}",
        pointer=step.because,
        plugin=planned.plugin,
        errno=number,
        container=record.id,
        hint=hint,
    )


def _stopped(record: Record) -> StateError:
    return StateError("cannot exec in a stopped container", act="exec", container=record.id)


def _unknown(planned: PlannedStep) -> PlatformError:
    return PlatformError(
        f"this platform has no step {type(planned.step).__name__} for a process that joins a container",
        plugin=planned.plugin,
        pointer=planned.step.because,
        errno=errno.EOPNOTSUPP,
    )
