"""A container while it is being created: the host's side of every phase."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import PlatformError, StepError
from orlop_linux.kernel.refusal import lacking, refuse, refuse_os
from orlop_linux.live.process import is_alive

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from orlop_hookspecs.kernel import Journal
    from orlop_hookspecs.launch import LaunchOptions
    from orlop_hookspecs.plan import Plan, PlannedStep
    from orlop_hookspecs.record import Record
    from orlop_linux.kernel.cgroups.create import Cgroups
    from orlop_linux.kernel.cgroups.write import Target
    from orlop_linux.kernel.kernel import LinuxKernel
    from orlop_linux.kernel.resctrl import Resctrl
    from orlop_linux.kernel.spawn import Launch
    from orlop_linux.kernel.zygote import Zygote

_BACKLOG = 64  # probes of `state` that nobody has accepted yet wait here


class Sandbox:
    """Implements :class:`orlop_hookspecs.kernel.Sandbox` on Linux.

    Its steps are executed by methods named after them, so that what is supported can be read below.
    """

    def __init__(
        self, kernel: LinuxKernel, plan: Plan, record: Record, journal: Journal, options: LaunchOptions
    ) -> None:
        """Begin a creation; nothing is touched."""
        self._kernel = kernel
        self._plan = plan
        self._record = record
        self._journal = journal
        self._options = options
        self._cgroups: Cgroups | None = None
        self._resctrl: Resctrl | None = None
        self._launch: Launch | None = None
        self._warnings: list[str] = []
        self._checked = False
        self._pinned = False
        self._carrier: Zygote | None = None
        self._joined = False
        self._late: list[PlannedStep] = []
        own = any(
            type(planned.step).__name__ == "NewNamespace" and getattr(planned.step, "type", "") == "pid"
            for planned in plan.steps("clone")
        )
        record.kernel["own_pid_namespace"] = own
        # What the host cannot compile is an error before anything is touched.
        self._filters = self._compile_filters()

    @property
    def pid(self) -> int:
        """Process id of the container process as the caller sees it; 0 before :meth:`clone`."""
        return self._launch.pid if self._launch else 0

    @property
    def start_time(self) -> int:
        """Start time of the container process, in clock ticks after boot."""
        return self._launch.start_time if self._launch else 0

    @property
    def warnings(self) -> Sequence[str]:
        """What was left out where the spec demands a warning instead of an error."""
        return [*self._warnings, *(self._launch.warnings if self._launch else ())]

    def host(self, planned: PlannedStep) -> None:
        """Execute one step of phase ``host``."""
        method = self._host_methods.get(type(planned.step).__name__)
        if method is None:
            raise _unknown(planned, "host")
        self._check_once()
        method(self, planned)

    def clone(self, steps: Sequence[PlannedStep]) -> None:
        """Make the container process with its namespaces and id maps, in its cgroups; it then waits."""
        self._check_once()
        cgroup_fd: int | None = None
        tasks: list[int] = []
        if self._cgroups is not None:
            unified = self._cgroups.unified
            # The process of a scope is born in it: who makes it is in it already, and may lack the right to
            # put anybody there.
            cgroup_fd = unified.fd if unified and self._carrier is None else None
            tasks = self._cgroups.open_tasks()
        try:
            launch = self._launch = self._kernel.launch(self._record, self._options, self._carrier)
            launch.clone(steps, cgroup_fd=cgroup_fd, task_fds=tasks)
        finally:
            for fd in tasks:
                os.close(fd)
        self._journal.intend("process", pid=launch.pid, start_time=launch.start_time)

    def host_with_pid(self, planned: PlannedStep, state: bytes) -> None:
        """Execute one step of phase ``host-with-pid`` or ``built``."""
        name = type(planned.step).__name__
        if name == "RunHook":
            self._kernel.run_hook(planned.step.as_data(), state)
            return
        method = self._pid_methods.get(name)
        if method is None:
            raise _unknown(planned, "host-with-pid")
        method(self, planned)

    def build(
        self,
        container: Sequence[PlannedStep],
        confined: Sequence[PlannedStep],
        execute: Sequence[PlannedStep],
        state: bytes,
    ) -> None:
        """Let the container process execute ``container`` and ``confined``, then wait for its start."""
        if self._launch is None:
            raise PlatformError("there is no container process yet", errno=errno.ESRCH)
        if not self._joined:
            self._limit_tasks()  # of a plan without a step that joins
        listener = self._listen()
        try:
            self._launch.build(
                container,
                confined,
                execute,
                state,
                filters=self._filters,
                cgroup_mounts=self._cgroups.mounts() if self._cgroups else [],
                start_listener=listener,
                announce_root=self._announce_root if _is_bound(container) else None,
            )
        finally:
            os.close(listener)

    def _announce_root(self, fd: int) -> None:
        """Journal the mount that the container process will attach in a mount namespace that it shares."""
        from orlop_linux.live.mounts import mount_id, namespace_of

        self._journal.intend(
            "mount", id=mount_id(fd), path=self._record.rootfs, namespace=namespace_of(str(self.pid))
        )

    def commit(self) -> None:
        """The record is saved: from now on the container process outlives the caller."""
        if self._launch is not None:
            self._launch.commit()
        if self._pinned:
            from orlop_linux.live.netdev import unpin

            # Last: a pin that is there says that the creation was not completed.
            unpin(self._record.directory)
            self._pinned = False

    def abort(self) -> None:
        """Kill the container process, if any, and reap it. Idempotent; never raises."""
        if self._resctrl is not None:
            self._resctrl.release()
        if self._launch is not None:
            self._launch.abort()
        self._end_carrier()

    def close(self) -> None:
        """Release the descriptors of the creation. Idempotent."""
        if self._launch is not None:
            self._launch.close()
        self._end_carrier()
        if self._cgroups is not None:
            self._cgroups.close()
        if self._resctrl is not None:
            self._resctrl.release()

    # --- phase host

    def _check_once(self) -> None:
        """Refuse what this host cannot do before the first step touches it."""
        if self._checked:
            return
        self._checked = True
        from orlop_linux.kernel.namespaces import check as check_namespaces

        check_namespaces(self._plan)
        self._check_host()

    def _check_host(self) -> None:
        hierarchies = self._kernel.hierarchies() if self._options.manage_cgroups else []
        for planned in self._plan.steps("host"):
            step: Any = planned.step
            name = type(step).__name__
            if name == "CreateResctrlGroup":
                self._resctrl_groups().check(step, planned.plugin)
            elif name == "WriteCgroup" and hierarchies:
                from orlop_linux.kernel.cgroups.write import check

                check(hierarchies, step, planned.plugin)

    def _require_security_module(self, planned: PlannedStep) -> None:
        from orlop_linux.kernel.security import require

        step: Any = planned.step
        require(step, planned.plugin)

    def _create_cgroup(self, planned: PlannedStep) -> None:
        from orlop_linux.kernel.cgroups.create import Cgroups

        step: Any = planned.step
        if not self._options.manage_cgroups:
            return
        self._cgroups = Cgroups(self._kernel.hierarchies())
        self._cgroups.create(
            step,
            planned.plugin,
            self._record,
            self._journal,
            controllers=self._controllers(),
            unprivileged=self._kernel.unprivileged(),
        )

    def _create_scope(self, planned: PlannedStep) -> None:
        """Let systemd make the cgroup around a zygote of this container's own, which will clone it."""
        from orlop_linux.kernel.cgroups.create import Cgroups
        from orlop_linux.kernel.cgroups.hierarchies import is_unified
        from orlop_linux.kernel.zygote import Zygote

        try:
            from orlop_linux.kernel.systemd import scope
        except ImportError as error:
            raise lacking(
                f"systemd cannot be asked: {error}",
                hint="the package jeepney is what speaks to it",
                pointer=planned.step.because,
            ) from error

        step: Any = planned.step
        user = self._kernel.unprivileged()
        hierarchies = self._kernel.hierarchies()
        self._carrier = Zygote()
        pid = self._carrier.start()
        properties = scope.scope_properties(
            step,
            pid,
            [one.step for one in self._plan.steps("host")],
            user=user,
            unified=is_unified(hierarchies),
        )
        path = scope.start(step, planned.plugin, self._record, self._journal, properties, user=user)
        self._cgroups = Cgroups(hierarchies)
        self._cgroups.adopt(
            step,
            path,
            planned.plugin,
            self._record,
            self._journal,
            controllers=self._controllers(),
            carrier=pid,
        )

    def _end_carrier(self) -> None:
        if self._carrier is not None:
            self._carrier.close()
            self._carrier = None

    def _controllers(self) -> list[str]:
        """Return what cgroup v2 has to enable; v1 has each controller in its hierarchy."""
        controllers = {
            one.step.controller  # type: ignore[attr-defined]
            for one in self._plan.steps("host")
            if type(one.step).__name__ == "WriteCgroup" and one.step.v2 is not None  # type: ignore[attr-defined]
        }
        return sorted(controllers - {""})

    def _write_cgroup(self, planned: PlannedStep) -> None:
        from orlop_linux.kernel.cgroups.write import write

        pids = planned.step.controller == "pids"  # type: ignore[attr-defined]
        if pids and self._cgroups is not None and not self._joined:
            # The limit is the container's: neither its birth, which v2 would refuse, nor its makers count.
            self._late.append(planned)
            return
        step: Any = planned.step
        write(self._targets(), step, planned.plugin)

    def _set_device_rules(self, planned: PlannedStep) -> None:
        from orlop_linux.kernel.update import set_device_rules

        targets = self._targets()
        unprivileged = self._kernel.unprivileged()
        if not targets and (unprivileged or not self._options.manage_cgroups):
            # Without cgroups nobody can restrict devices; an unprivileged caller's container can make none
            # either.
            if not unprivileged:
                self._warnings.append("cgroups are disabled: access to devices is not restricted")
            return
        try:
            set_device_rules(targets, planned.step, planned.plugin)
        except StepError as error:
            if not unprivileged or error.errno not in {errno.EPERM, errno.EACCES}:
                raise
            self._warnings.append("device rules are not applied: an unprivileged caller may not load them")

    def _create_resctrl_group(self, planned: PlannedStep) -> None:
        step: Any = planned.step
        more = any(type(one.step).__name__ == "WriteSchemata" for one in self._plan.steps("host"))
        self._resctrl_groups().create(step, planned.plugin, self._journal, more=more)

    def _write_schemata(self, planned: PlannedStep) -> None:
        step: Any = planned.step
        self._resctrl_groups().write(step, planned.plugin)

    # --- phase host-with-pid

    def _join_cgroup(self, _: PlannedStep) -> None:
        """The container process joined its cgroups before it did anything else, see :meth:`clone`.

        Who carried a scope until then leaves it, and the number of tasks can be limited.
        """
        self._limit_tasks()

    def _limit_tasks(self) -> None:
        self._joined = True
        self._end_carrier()
        late, self._late = self._late, []
        for one in late:
            self._write_cgroup(one)
        if late and self._record.kernel.get("systemd"):
            from orlop_linux.kernel.systemd import scope
            from orlop_linux.kernel.systemd.properties import unit_properties

            pairs = [pair for one in late for pair in one.step.v2 or ()]  # type: ignore[attr-defined]
            scope.change(self._record, unit_properties(pairs))

    def _delegate_cgroup(self, planned: PlannedStep) -> None:
        """Make the container's user the owner of its cgroup; v1 must never be (config-linux.md)."""
        from orlop_linux.kernel.cgroups.delegate import give, host_id

        step: Any = planned.step
        groups = self._cgroups.open_groups if self._cgroups else []
        if [one.group.version for one in groups] != [2]:
            return
        owner = host_id(self.pid, step.uid)
        if owner is None:
            hint = "the user namespace maps no such user"
            raise refuse(step, planned.plugin, f"user {step.uid} has no id on the host", hint=hint)
        try:
            give(groups[0].fd, owner)
        except OSError as error:
            path = groups[0].group.directory
            raise refuse_os(
                step, planned.plugin, f"cannot make {owner} the owner of the cgroup", error, path=path
            ) from error

    def _join_resctrl_group(self, planned: PlannedStep) -> None:
        step: Any = planned.step
        self._resctrl_groups().join(step, planned.plugin, self.pid)

    def _move_net_devices(self, planned: PlannedStep) -> None:
        from orlop_linux.kernel.netdev import Move

        joined = any(
            type(one.step).__name__ == "JoinNamespace" and getattr(one.step, "type", "") == "network"
            for one in self._plan.steps("clone")
        )
        self._pinned = True
        Move(planned, self._record, self._journal, joined=joined).run(self.pid, self.start_time)

    def _set_oom_score(self, planned: PlannedStep) -> None:
        step: Any = planned.step
        directory = -1
        try:
            directory = os.open(f"/proc/{self.pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            # The directory is of one process for ever; whose it is is asked after it was opened.
            if not is_alive(self.pid, self.start_time):
                raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
            fd = os.open("oom_score_adj", os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
            try:
                os.write(fd, str(step.score).encode())
            finally:
                os.close(fd)
        except OSError as error:
            hint = "lowering it needs CAP_SYS_RESOURCE" if error.errno == errno.EACCES else ""
            act = f"cannot set the OOM score to {step.score}"
            raise refuse_os(step, planned.plugin, act, error, hint=hint) from error
        finally:
            if directory >= 0:
                os.close(directory)

    def _set_scheduler(self, planned: PlannedStep) -> None:
        from orlop_linux.kernel.scheduling import set_scheduler

        step: Any = planned.step
        set_scheduler(step, planned.plugin, self.pid, self.start_time)

    def _set_io_priority(self, planned: PlannedStep) -> None:
        from orlop_linux.kernel.scheduling import set_io_priority

        step: Any = planned.step
        set_io_priority(step, planned.plugin, self.pid, self.start_time)

    _host_methods: dict[str, Callable[[Sandbox, PlannedStep], None]] = {  # noqa: RUF012 - never changed
        "RequireSecurityModule": _require_security_module,
        "CreateCgroup": _create_cgroup,
        "CreateScope": _create_scope,
        "WriteCgroup": _write_cgroup,
        "SetDeviceRules": _set_device_rules,
        "CreateResctrlGroup": _create_resctrl_group,
        "WriteSchemata": _write_schemata,
    }
    _pid_methods: dict[str, Callable[[Sandbox, PlannedStep], None]] = {  # noqa: RUF012 - never changed
        "JoinCgroup": _join_cgroup,
        "DelegateCgroup": _delegate_cgroup,
        "JoinResctrlGroup": _join_resctrl_group,
        "MoveNetDevices": _move_net_devices,
        "SetOomScore": _set_oom_score,
        "SetScheduler": _set_scheduler,
        "SetIoPriority": _set_io_priority,
    }

    # --- helpers

    def _targets(self) -> list[Target]:
        from orlop_linux.kernel.cgroups.write import Target

        if self._cgroups is None:
            return []
        return [
            Target(one.fd, one.group.directory, one.group.version, one.group.controllers)
            for one in self._cgroups.open_groups
        ]

    def _resctrl_groups(self) -> Resctrl:
        from orlop_linux.kernel.resctrl import Resctrl

        if self._resctrl is None:
            self._resctrl = Resctrl(self._kernel.resctrl_root, self._record)
        return self._resctrl

    def _compile_filters(self) -> dict[int, tuple[bytes, int]]:
        """Return program and flags of each filter by its place in phase ``exec``; agents have to be there."""
        filters: dict[int, tuple[bytes, int]] = {}
        for index, planned in enumerate(self._plan.steps("exec")):
            if type(planned.step).__name__ == "LoadSeccomp":
                from orlop_linux.kernel.seccomp import compile_filter

                step: Any = planned.step
                compiled = compile_filter(step, planned.plugin)
                filters[index] = (compiled.program, compiled.flags)
                self._warnings += compiled.warnings
                if step.listener_path:
                    from orlop_linux.live.agent import probe

                    probe(step.listener_path)
                    self._record.kernel["listener"] = [step.listener_path, step.listener_metadata]
        return filters

    def _listen(self) -> int:
        """Bind ``start.sock`` in the container's directory and return a listening descriptor.

        The address goes through the directory's descriptor, because it holds 108 bytes only (unix(7)).
        """
        from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM, socket

        directory = os.open(self._record.directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                os.unlink("start.sock", dir_fd=directory)
            except FileNotFoundError:
                pass
            listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
            try:
                listener.bind(f"/proc/self/fd/{directory}/start.sock")
                listener.listen(_BACKLOG)
            except BaseException:
                listener.close()
                raise
            return listener.detach()
        finally:
            os.close(directory)


def _is_bound(container: Sequence[PlannedStep]) -> bool:
    return any(
        type(planned.step).__name__ == "PrepareRoot" and planned.step.bound  # type: ignore[attr-defined]
        for planned in container
    )


def _unknown(planned: PlannedStep, phase: str) -> PlatformError:
    return PlatformError(
        f"this platform has no step {type(planned.step).__name__} in phase {phase}",
        plugin=planned.plugin,
        pointer=planned.step.because,
        errno=errno.EOPNOTSUPP,
    )
