"""A container while it is being created: the host's side of every phase."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import OrlopError, PlatformError
from orlop_linux.kernel.cgroups.session import Session
from orlop_linux.kernel.refusal import refuse_os, shorten_step
from orlop_linux.kernel.shortage import explained
from orlop_linux.live.process import is_alive

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from orlop_hookspecs.kernel import Journal
    from orlop_hookspecs.launch import LaunchOptions
    from orlop_hookspecs.plan import Plan, PlannedStep
    from orlop_hookspecs.record import Record
    from orlop_linux.kernel.criu.restore import Restoration
    from orlop_linux.kernel.kernel import LinuxKernel
    from orlop_linux.kernel.namespaces import Opened
    from orlop_linux.kernel.resctrl import Resctrl
    from orlop_linux.kernel.spawn import Launch

_SPARES = 2
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
        self._cgroups = Session(kernel, plan, record, journal, options)
        self._resctrl: Resctrl | None = None
        self._launch: Launch | None = None
        self._restoration: Restoration | None = None
        self._warnings: list[str] = []
        self._namespaces: Opened = {}
        self._checked = False
        self._pinned = False
        self._scored = False
        own = any(
            type(planned.step).__name__ == "NewNamespace" and getattr(planned.step, "type", "") == "pid"
            for planned in plan.steps("clone")
        )
        record.kernel["own_pid_namespace"] = own
        # What the host cannot compile is an error before anything is touched.
        self._filters = self._compile_filters()
        self._spares: list[int] = []
        """Descriptors for the undoing, kept free for it from before the first step."""
        try:
            for _ in range(_SPARES):
                self._spares.append(os.open("/", os.O_PATH | os.O_CLOEXEC))
        except OSError:
            self._release_spares()
            raise

    @property
    def pid(self) -> int:
        """Process id of the container process as the caller sees it; 0 before :meth:`clone`."""
        made = self._launch or self._restoration
        return made.pid if made else 0

    @property
    def start_time(self) -> int:
        """Start time of the container process, in clock ticks after boot."""
        made = self._launch or self._restoration
        return made.start_time if made else 0

    @property
    def warnings(self) -> Sequence[str]:
        """What was left out where the spec demands a warning instead of an error."""
        return [*self._warnings, *self._cgroups.warnings, *(self._launch.warnings if self._launch else ())]

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
        cgroup_fd, tasks = self._cgroups.birth()
        try:
            launch = self._launch = self._kernel.launch(self._record, self._options, self._cgroups.carrier)
            if self._kernel.unprivileged():
                launch.while_mapping = self._score_while_mapping
            launch.clone(steps, namespaces=self._namespaces, cgroup_fd=cgroup_fd, task_fds=tasks)
        except OrlopError as error:
            raise explained(error, self._plan, self._record) from None
        finally:
            for fd in tasks:
                os.close(fd)
            self._close_namespaces()
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
        self._cgroups.join()  # of a plan without a step that says so
        listener = self._listen()
        bound = _is_bound(container)
        if bound:
            # Who joins the container later finds its root only where its first process has it.
            self._record.kernel["shared_mounts"] = True
        try:
            self._launch.build(
                container,
                confined,
                execute,
                state,
                filters=self._filters,
                cgroup_mounts=self._cgroups.mounts(),
                start_listener=listener,
                announce_root=self._announce_root if bound else None,
            )
        except OrlopError as error:
            raise explained(error, self._plan, self._record) from None
        finally:
            os.close(listener)

    def restore(self, steps: Sequence[PlannedStep], born: Callable[[], None]) -> None:
        """Execute the step of phase ``restore``: the processes are made from images."""
        from orlop_linux.kernel.criu.restore import Restoration

        self._check_once()
        settings = None
        for planned in steps:
            name = type(planned.step).__name__
            if name == "ConfigureCriu":
                settings = planned
            elif name == "RestoreProcesses":
                self._restoration = Restoration(self._record, self._journal, self._cgroups, self._options)
                self._restoration.run(planned, born, settings)
            else:
                raise _unknown(planned, "restore")

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
        self._cgroups.end_carrier()
        # What follows is the undoing, which needs descriptors, and there may be no others.
        self._close_namespaces()
        self._cgroups.close()
        self._release_spares()

    def close(self) -> None:
        """Release the descriptors of the creation. Idempotent."""
        self._close_namespaces()
        if self._launch is not None:
            self._launch.close()
        self._cgroups.close()
        self._release_spares()
        if self._resctrl is not None:
            self._resctrl.release()

    def _release_spares(self) -> None:
        while self._spares:
            os.close(self._spares.pop())

    # --- phase host

    def _check_once(self) -> None:
        """Refuse what this host cannot do before the first step touches it."""
        if self._checked:
            return
        self._checked = True
        from orlop_linux.kernel.namespaces import open_all

        self._namespaces = open_all(self._plan)
        self._check_host()

    def _close_namespaces(self) -> None:
        while self._namespaces:
            os.close(self._namespaces.popitem()[1])

    def _check_host(self) -> None:
        hierarchies = self._cgroups.hierarchies()
        for planned in self._plan.steps("host"):
            step: Any = planned.step
            name = type(step).__name__
            try:
                if name == "CreateResctrlGroup":
                    self._resctrl_groups().check(step, planned.plugin)
                elif name == "WriteCgroup" and hierarchies:
                    from orlop_linux.kernel.cgroups.write import check

                    check(hierarchies, step, planned.plugin)
            except OrlopError as error:
                # It is executed before its turn: whose it is is said here.
                error.plugin = error.plugin or planned.plugin
                error.step = error.step or shorten_step(step)
                raise

    def _require_security_module(self, planned: PlannedStep) -> None:
        from orlop_linux.kernel.security import require

        step: Any = planned.step
        require(step, planned.plugin)

    def _create_cgroup(self, planned: PlannedStep) -> None:
        self._cgroups.create(planned)

    def _create_scope(self, planned: PlannedStep) -> None:
        self._cgroups.create_scope(planned)

    def _write_cgroup(self, planned: PlannedStep) -> None:
        self._cgroups.write(planned)

    def _set_device_rules(self, planned: PlannedStep) -> None:
        self._cgroups.set_device_rules(planned)

    def _create_resctrl_group(self, planned: PlannedStep) -> None:
        step: Any = planned.step
        more = any(type(one.step).__name__ == "WriteSchemata" for one in self._plan.steps("host"))
        self._resctrl_groups().create(step, planned.plugin, self._journal, more=more)

    def _write_schemata(self, planned: PlannedStep) -> None:
        step: Any = planned.step
        self._resctrl_groups().write(step, planned.plugin)

    # --- phase host-with-pid

    def _join_cgroup(self, planned: PlannedStep) -> None:
        self._cgroups.require_own(planned)
        self._cgroups.join()

    def _delegate_cgroup(self, planned: PlannedStep) -> None:
        self._cgroups.delegate(planned, self.pid)

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

    def _score_while_mapping(self, pid: int) -> None:
        """Set the score of the process that waits for its id maps; who is cloned from it has it as well.

        Afterwards the process is no longer dumpable, and its files in procfs are root's (proc(5)).
        """
        for planned in self._plan.steps("host-with-pid"):
            if type(planned.step).__name__ == "SetOomScore":
                _write_score(planned, pid)
                self._scored = True

    def _set_oom_score(self, planned: PlannedStep) -> None:
        if not self._scored:
            _write_score(planned, self.pid, self.start_time)

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


def _write_score(planned: PlannedStep, pid: int, started: int | None = None) -> None:
    """Write the score of a process; one that has not been waited for needs no start time to be itself."""
    step: Any = planned.step
    directory = -1
    try:
        directory = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        # The directory is of one process for ever; whose it is is asked after it was opened.
        if started is not None and not is_alive(pid, started):
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
