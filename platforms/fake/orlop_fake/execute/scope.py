"""The step that lets systemd make the container's cgroup."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from orlop_fake.execute.host import make_line
from orlop_fake.refusals import refusal
from orlop_fake.systemd import Unit, scope_path

if TYPE_CHECKING:
    from orlop_fake.execute.context import Context, Handler
    from orlop_hookspecs.steps import CreateScope


def create_scope(context: Context, step: CreateScope) -> None:
    """Start the scope; its cgroups are there then, in every hierarchy that this manager may use."""
    kernel = context.kernel
    units = kernel.units
    if units is None:
        raise refusal(errno.EOPNOTSUPP, "/run/systemd/system", "the host is not run by systemd")
    path = scope_path(step.unit, step.slice, kernel.uid)
    if step.unit in units:
        raise refusal(errno.EEXIST, step.unit, f"there is a unit {step.unit} already")
    context.journal.intend("systemd", unit=step.unit, user=bool(kernel.uid))
    told = {"Description": step.description, "Slice": step.slice}
    unit = Unit(step.unit, context.container, told | {name: value for name, _, value in step.properties})
    units[step.unit] = unit
    parts = path.strip("/").split("/")
    for hierarchy in kernel.hierarchies.values():
        if kernel.uid and hierarchy.version == 1 and hierarchy.controllers:
            continue  # the manager of a user has no controller of version 1 (systemd.resource-control(5))
        kept = 0
        group = hierarchy.root
        for part in parts:
            if part not in group.children:
                break
            group = group.children[part]
            kept += 1
        make_line(context, hierarchy.root, parts)
        unit.groups.append(context.cgroups[hierarchy.name])
        unit.kept.append(kept)
    context.record.kernel["cgroups"] = [[name, group.path] for name, group in context.cgroups.items()]
    context.record.kernel["systemd"] = {"unit": step.unit, "user": bool(kernel.uid)}


HANDLERS: dict[str, Handler] = {"CreateScope": create_scope}
