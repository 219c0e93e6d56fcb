"""The cgroups of one container while it is created: made, limited, entered and given away."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import StepError
from orlop_linux.kernel.refusal import lacking, refuse, refuse_os

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from orlop_hookspecs.kernel import Journal
    from orlop_hookspecs.launch import LaunchOptions
    from orlop_hookspecs.plan import Plan, PlannedStep
    from orlop_hookspecs.record import Record
    from orlop_linux.kernel.cgroups.create import Cgroups
    from orlop_linux.kernel.cgroups.hierarchies import Hierarchy
    from orlop_linux.kernel.cgroups.write import Target
    from orlop_linux.kernel.kernel import LinuxKernel
    from orlop_linux.kernel.zygote import Zygote


class Session:
    """Executes the steps on cgroups of one plan."""

    def __init__(
        self, kernel: LinuxKernel, plan: Plan, record: Record, journal: Journal, options: LaunchOptions
    ) -> None:
        """Begin; nothing is touched."""
        self._kernel = kernel
        self._plan = plan
        self._record = record
        self._journal = journal
        self._managed = options.manage_cgroups
        self._cgroups: Cgroups | None = None
        self._joined = False
        self._late: list[PlannedStep] = []
        self.carrier: Zygote | None = None
        """What is in a scope of systemd until the container process is, which it clones."""
        self.warnings: list[str] = []

    def hierarchies(self) -> list[Hierarchy]:
        """Return the hierarchies in which the container gets cgroups."""
        return self._kernel.hierarchies() if self._managed else []

    def create(self, planned: PlannedStep) -> None:
        """Execute CreateCgroup."""
        if not self._managed:
            return
        from orlop_linux.kernel.cgroups.create import Cgroups

        step: Any = planned.step
        self._cgroups = Cgroups(self._kernel.hierarchies())
        self._cgroups.create(
            step,
            planned.plugin,
            self._record,
            self._journal,
            controllers=self._controllers(),
            unprivileged=self._kernel.unprivileged(),
        )

    def create_scope(self, planned: PlannedStep) -> None:
        """Execute CreateScope: let systemd make the cgroup around a zygote of this container's own."""
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
        self.carrier = Zygote()
        pid = self.carrier.start()
        steps = [one.step for one in self._plan.steps("host")]
        properties = scope.scope_properties(step, pid, steps, user=user, unified=is_unified(hierarchies))
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

    def _controllers(self) -> list[str]:
        """Return what cgroup v2 has to enable; v1 has each controller in its hierarchy."""
        controllers = {
            one.step.controller  # type: ignore[attr-defined]
            for one in self._plan.steps("host")
            if type(one.step).__name__ == "WriteCgroup" and one.step.v2 is not None  # type: ignore[attr-defined]
        }
        return sorted(controllers - {""})

    def write(self, planned: PlannedStep) -> None:
        """Execute WriteCgroup."""
        from orlop_linux.kernel.cgroups.write import write

        step: Any = planned.step
        targets = list(self._targets())
        if targets and not self._joined and step.controller == "pids":
            # The limit is the container's: neither its birth, which v2 would refuse, nor its makers count.
            self._late.append(planned)
            return
        write(targets, step, planned.plugin)

    def set_device_rules(self, planned: PlannedStep) -> None:
        """Execute SetDeviceRules."""
        from orlop_linux.kernel.update import set_device_rules

        targets = list(self._targets())
        unprivileged = self._kernel.unprivileged()
        if not targets and (unprivileged or not self._managed):
            # Without cgroups nobody can restrict devices; an unprivileged caller's container can make none
            # either.
            if not unprivileged:
                self.warnings.append("cgroups are disabled: access to devices is not restricted")
            return
        try:
            set_device_rules(targets, planned.step, planned.plugin)
        except StepError as error:
            if not unprivileged or error.errno not in {errno.EPERM, errno.EACCES}:
                raise
            self.warnings.append("device rules are not applied: an unprivileged caller may not load them")

    def limit_again(self) -> None:
        """Apply the limits once more that CRIU has changed to what they were, as it does on version 1 only.

        The number of tasks is limited later anyway, see :meth:`join`.
        """
        groups = self._cgroups.open_groups if self._cgroups else ()
        if not any(one.group.version == 1 for one in groups):
            return
        for planned in self._plan.steps("host"):
            step: Any = planned.step
            name = type(step).__name__
            if name == "WriteCgroup" and step.controller != "pids":
                self.write(planned)
            elif name == "SetDeviceRules":
                self.set_device_rules(planned)

    def birth(self) -> tuple[int | None, list[int]]:
        """Return the unified cgroup to be born in, if any, and open ``tasks`` files to enter.

        The caller closes the files. The process of a scope is born in it, because who clones it is in it
        already, and may lack the right to put anybody there.
        """
        if self._cgroups is None:
            return None, []
        unified = self._cgroups.unified
        return unified.fd if unified and self.carrier is None else None, self._cgroups.open_tasks()

    def require_own(self, planned: PlannedStep) -> None:
        """Refuse cgroups that another creation has made at the same time, once our process is in them."""
        if self._cgroups is not None:
            self._cgroups.require_own(planned.step, planned.plugin, self._record)

    def join(self) -> None:
        """Execute JoinCgroup: the container process is in its cgroups since its birth.

        Who carried a scope until then leaves it, and the number of tasks can be limited. Idempotent.
        """
        self._joined = True
        self.end_carrier()
        late, self._late = self._late, []
        for one in late:
            self.write(one)
        if late and self._record.kernel.get("systemd"):
            from orlop_linux.kernel.systemd import scope
            from orlop_linux.kernel.systemd.properties import unit_properties

            pairs = [pair for one in late for pair in one.step.v2 or ()]  # type: ignore[attr-defined]
            scope.change(self._record, unit_properties(pairs))

    def delegate(self, planned: PlannedStep, pid: int) -> None:
        """Execute DelegateCgroup for the user namespace of process *pid*; v1 must never be given away."""
        from orlop_linux.kernel.cgroups.delegate import give, host_id

        step: Any = planned.step
        groups = self._cgroups.open_groups if self._cgroups else []
        if [one.group.version for one in groups] != [2]:
            return
        owner = host_id(pid, step.uid)
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

    def mounts(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """Return what a cgroup mount in the container shows: (name, directory on the host, other names)."""
        return self._cgroups.mounts() if self._cgroups else []

    def entries(self) -> list[int]:
        """Open the files by which a process enters all cgroups when it writes 0; the caller closes them."""
        import os

        if self._cgroups is None:
            return []
        found = self._cgroups.open_tasks()
        unified = self._cgroups.unified
        if unified is not None:
            found.append(os.open("cgroup.procs", os.O_WRONLY | os.O_CLOEXEC, dir_fd=unified.fd))
        return found

    def directories(self) -> dict[str, str]:
        """Return the path of each cgroup by its controllers, as /proc/PID/cgroup writes them (cgroups(7))."""
        groups = self._cgroups.open_groups if self._cgroups else ()
        return {
            ",".join(one.group.controllers) if one.group.version == 1 else "": one.group.path
            for one in groups
        }

    def end_carrier(self) -> None:
        """End the zygote that carries a scope. Idempotent."""
        if self.carrier is not None:
            self.carrier.close()
            self.carrier = None

    def close(self) -> None:
        """Release what the creation holds; the cgroups stay. Idempotent."""
        self.end_carrier()
        if self._cgroups is not None:
            self._cgroups.close()

    def _targets(self) -> Iterator[Target]:
        from orlop_linux.kernel.cgroups.write import Target

        for one in self._cgroups.open_groups if self._cgroups else ():
            yield Target(one.fd, one.group.directory, one.group.version, one.group.controllers)
