"""Execute resource steps on a container that exists."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

from orlop_hookspecs.errors import OrlopError, PlatformError, StepError
from orlop_linux.kernel.cgroups.restore import earlier, restore
from orlop_linux.kernel.cgroups.write import Target, choose, resolve, write
from orlop_linux.live.cgroups import groups_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop_hookspecs.record import Record
    from orlop_linux.kernel.cgroups.restore import Earlier

_LAST = {"WriteSchemata": 1, "SetDeviceRules": 2}


def apply(record: Record, steps: Sequence[Any]) -> None:
    """Execute *steps* (``WriteCgroup``, ``SetDeviceRules``, ``WriteSchemata``): all of them, or none.

    Rules for devices come last, because what they were cannot be read back.

    Raises:
        StepError: A step failed. Those before it have been taken back, or ``cleanup`` says what could not be.
    """
    ordered = sorted(steps, key=lambda step: _LAST.get(type(step).__name__, 0))
    targets: list[Target] = []
    try:
        for group in groups_of(record):
            try:
                targets.append(Target(group.open(), group.directory, group.version, group.controllers))
            except FileNotFoundError:
                continue
        changes: list[Earlier] = []
        for step in ordered:
            if _is_write(step):
                changes += earlier(*choose(targets, step, ""), step)
        told = _tell_systemd(record, targets, ordered)
        try:
            _execute_all(record, targets, ordered)
        except OrlopError as error:
            failure: OSError | None = restore(changes)
            if told:
                failure = _take_back(record, changes) or failure
            error.cleanup = failure or error.cleanup
            raise
    finally:
        for target in targets:
            os.close(target.fd)


def _is_write(step: Any) -> bool:  # noqa: ANN401 - of a class that follows from its name
    return type(step).__name__ == "WriteCgroup"


def _execute_all(record: Record, targets: Sequence[Target], steps: Sequence[Any]) -> None:
    # memory and memory+swap limit each other and may be two steps: what was refused is tried again at the
    # end.
    postponed = []
    for step in steps:
        try:
            execute(record, targets, step, "")
        except StepError as error:
            if error.errno != errno.EINVAL or not _is_write(step) or step.controller != "memory":
                raise
            postponed.append(step)
    for step in postponed:
        execute(record, targets, step, "")


def _tell_systemd(record: Record, targets: Sequence[Target], steps: Sequence[Any]) -> bool:
    """Give the scope of a container, if it has one, the properties that *steps* change.

    It comes before their files are written, because systemd writes these, too, and rounds.
    """
    if "systemd" not in record.kernel:
        return False
    from orlop_linux.kernel.systemd import scope
    from orlop_linux.kernel.systemd.properties import device_properties, unit_properties
    from orlop_linux.live.systemd import unit_of

    unit = unit_of(record)
    pairs: list[tuple[str, str]] = []
    properties = []
    for step in steps:
        if _is_write(step):
            target, resolved = resolve(targets, step, "")
            if target.version == 2:
                pairs += resolved
        elif type(step).__name__ == "SetDeviceRules" and unit is not None and not unit.user:
            properties += device_properties(step.rules)
    scope.change(record, [*unit_properties(pairs), *properties])
    return True


def _take_back(record: Record, changes: Sequence[Earlier]) -> OSError | None:
    """Give the scope the properties that say what the files said before."""
    from orlop_linux.kernel.systemd import scope
    from orlop_linux.kernel.systemd.properties import unit_properties

    try:
        scope.change(record, unit_properties((name, text) for _, name, text in reversed(changes)))
    except OSError as failure:
        return failure
    return None


def execute(
    record: Record,
    targets: Sequence[Target],
    step: Any,  # noqa: ANN401 - of a class that follows from its name
    plugin: str,
) -> None:
    """Execute one resource step on a container whose cgroups are *targets*.

    Raises:
        PlatformError: This is not a resource step.
    """
    kind = type(step).__name__
    if kind == "WriteCgroup":
        write(targets, step, plugin)
    elif kind == "SetDeviceRules":
        set_device_rules(targets, step, plugin, live=True)
    elif kind == "WriteSchemata":
        from orlop_linux.kernel.resctrl import Resctrl
        from orlop_linux.live.resctrl import class_of

        known = class_of(record)
        if known is None or step.clos_id not in {"", known[1]}:
            raise PlatformError(
                f"class of service {step.clos_id} is not the container's"
                if step.clos_id
                else "the container has no class of service of its own",
                pointer=step.because,
                errno=errno.ENOENT,
                hint="a container gets a class when it is created with linux.intelRdt, and keeps it",
            )
        if record.kernel["resctrl"].get("existed", True):
            raise PlatformError(
                f"class of service {known[1]} was there before the container, and is not its to change",
                pointer=step.because,
                errno=errno.EPERM,
                hint="others may use it; write to its schemata in resctrl",
            )
        Resctrl(known[0], record).write(step.evolve(clos_id=known[1]), plugin, update=True)
    else:
        raise PlatformError(f"{kind} cannot be applied to a container that exists", errno=errno.EOPNOTSUPP)


def set_device_rules(
    targets: Sequence[Target],
    step: Any,  # noqa: ANN401 - of a class that follows from its name
    plugin: str,
    *,
    live: bool = False,
) -> None:
    """Set the device rules of a container where its host controls devices.

    Raises:
        StepError: The container has no cgroup that controls devices, or the kernel refused.
    """
    from orlop_linux.kernel.cgroups import devices
    from orlop_linux.kernel.refusal import refuse

    unified = None
    for target in targets:
        if "devices" in target.controllers:
            devices.apply_v1(target.fd, target.directory, step, plugin, live=live)
            return
        if target.version == 2:
            unified = target
    if unified is None:
        raise refuse(
            step,
            plugin,
            "the container has no cgroup that controls devices",
            number=errno.EOPNOTSUPP,
            hint="cgroups are disabled, or the caller may not make any",
        )
    devices.apply_v2(unified.fd, unified.directory, step, plugin)
