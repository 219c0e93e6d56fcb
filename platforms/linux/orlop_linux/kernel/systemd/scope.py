"""The transient scope of one container: started, changed by updates, joined by further processes."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

from orlop_hookspecs.errors import PlatformError, StepError
from orlop_linux.kernel.refusal import refuse, refuse_os
from orlop_linux.kernel.systemd.bus import CallError
from orlop_linux.kernel.systemd.manager import Manager
from orlop_linux.kernel.systemd.properties import device_properties, unit_properties
from orlop_linux.live.cgroups import split_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop_hookspecs.kernel import Journal
    from orlop_hookspecs.record import Record
    from orlop_hookspecs.steps import CreateScope
    from orlop_linux.kernel.systemd.properties import Property

UNIFIED = 2
"""Version of the hierarchy that is systemd's own."""

_NEEDED = frozenset({"Delegate", "Description", "PIDs", "Slice"})
_UNKNOWN = "Cannot set property "
_ACCOUNTING = ("CPUAccounting", "IOAccounting", "MemoryAccounting", "TasksAccounting")


def scope_properties(
    step: CreateScope, pid: int, steps: Sequence[Any], *, user: bool, unified: bool
) -> list[Property]:
    """Return everything that systemd is told about the scope.

    Args:
        step: What the plan says of it.
        pid: The first process in it.
        steps: The plan's steps on resources, some of which are properties.
        user: The user's manager is asked, which cannot control devices.
        unified: The host has cgroup v2 alone. On others the files of v1 are the runtime's own.
    """
    found: dict[str, tuple[str, Any]] = {
        "Description": ("s", step.description),
        "Slice": ("s", step.slice or ("user.slice" if user else "system.slice")),
        "Delegate": ("b", True),
        "DefaultDependencies": ("b", False),
        "CollectMode": ("s", "inactive-or-failed"),
        "PIDs": ("au", [pid]),
    }
    found.update(dict.fromkeys(_ACCOUNTING, ("b", True)))
    if unified:
        pairs = [pair for one in steps if type(one).__name__ == "WriteCgroup" and one.v2 for pair in one.v2]
        # The number of tasks is limited when those that make the container are gone.
        found.update(unit_properties(pair for pair in pairs if pair[0] != "pids.max"))
    for one in steps:
        if type(one).__name__ == "SetDeviceRules" and not user:
            found.update(device_properties(one.rules))
    for name, kind, value in step.properties:
        found[name] = (kind, list(value) if isinstance(value, tuple) else value)
    return list(found.items())


def start(  # noqa: PLR0913 - the step, its plugin, and what it works on
    step: CreateScope,
    plugin: str,
    record: Record,
    journal: Journal,
    properties: list[Property],
    *,
    user: bool,
) -> str:
    """Start the scope and return its cgroup, as a path below the mount of each hierarchy.

    Raises:
        PlatformError: systemd does not run, or cannot be reached.
        StepError: systemd refused.
    """
    try:
        manager = Manager(user=user)
    except PlatformError as error:
        error.pointer = error.pointer or step.because
        raise
    try:
        state = manager.get(step.unit, "Unit", "ActiveState")
        if state not in {None, "inactive"}:
            raise _taken(step, plugin, f"it is {state}")
        journal.intend("systemd", unit=step.unit, user=user)
        try:
            _start(manager, step.unit, properties)
        except FileExistsError as error:
            # Somebody else was faster: it is not ours to stop, whatever the journal says.
            record.kernel["foreign_unit"] = step.unit
            raise _taken(step, plugin, "it has just been made") from error
        path = manager.get(step.unit, "Scope", "ControlGroup")
        identity = manager.get(step.unit, "Unit", "InvocationID")
        try:
            split_path(path if isinstance(path, str) else "")
        except ValueError:
            raise refuse(
                step, plugin, f"systemd gave {step.unit} no cgroup", number=errno.EIO, path=str(path)
            ) from None
        record.kernel["systemd"] = {
            "unit": step.unit,
            "user": user,
            "invocation": bytes(identity or b"").hex(),
        }
        return str(path)
    except CallError as error:
        raise refuse(step, plugin, error.message, number=errno.EIO, hint=_hint(error)) from error
    except OSError as error:
        if isinstance(error, StepError):
            error.pointer = error.pointer or step.because
            error.plugin = error.plugin or plugin
        if hasattr(error, "pointer"):
            raise
        raise refuse_os(step, plugin, f"cannot start {step.unit}", error) from error
    finally:
        manager.close()


def _start(manager: Manager, unit: str, properties: list[Property]) -> None:
    """Start the unit, without the properties that this systemd is too old for: their files are written."""
    left = list(properties)
    while True:
        try:
            manager.start_scope(unit, left)
        except CallError as error:
            _, found, rest = error.message.partition(_UNKNOWN)
            unknown = rest.partition(",")[0].strip()
            fewer = [one for one in left if one[0] != unknown]
            if not found or unknown in _NEEDED or len(fewer) == len(left):
                raise
            left = fewer
        else:
            return


def _taken(step: CreateScope, plugin: str, why: str) -> StepError:
    return refuse(
        step,
        plugin,
        f"there is a unit {step.unit} already: {why}",
        number=errno.EEXIST,
        hint="every container needs a unit of its own; one that has failed goes with systemctl reset-failed",
    )


def _hint(error: CallError) -> str:
    if error.name.endswith(("AccessDenied", "InteractiveAuthorizationRequired")):
        return "the caller may not start units of this manager"
    return ""


def change(record: Record, properties: list[Property]) -> None:
    """Tell systemd about changed limits of a container's scope.

    Raises:
        PlatformError: systemd cannot be reached.
        StepError: systemd refused.
    """
    from orlop_linux.live.systemd import unit_of

    known = unit_of(record)
    if known is None or not properties:
        return
    manager = Manager(user=known.user)
    try:
        manager.set_properties(known.unit, properties)
    finally:
        manager.close()


def join(record: Record, cgroup: int, pid: int) -> None:
    """Have systemd move a process to the open *cgroup*, the scope's own or one below.

    A user may not do it whose own cgroup is elsewhere, as that of a login is: the cgroup above both is the
    system's (cgroups(7), delegation containment). The user's manager asks the system's to do it.

    Raises:
        PlatformError: systemd cannot be reached.
        StepError: systemd refused.
    """
    from orlop_linux.live.cgroups import groups_of, read_file
    from orlop_linux.live.systemd import unit_of

    known = unit_of(record)
    assert known is not None  # noqa: S101 - the caller has looked
    place = os.readlink(f"/proc/self/fd/{cgroup}")
    own = next(group.directory for group in groups_of(record) if group.version == UNIFIED)
    manager = Manager(user=known.user)
    try:
        manager.attach(known.unit, place.removeprefix(own), pid)
    finally:
        manager.close()
    if str(pid) not in read_file(cgroup, "cgroup.procs", 1 << 26).split():
        raise StepError(
            f"systemd did not move the process into {known.unit}",
            path=place,
            errno=errno.EIO,
            container=record.id,
        )
