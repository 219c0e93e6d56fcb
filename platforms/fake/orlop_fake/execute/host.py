"""Steps on the host: cgroups, resctrl groups, the process's score, hooks."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from orlop_fake.cgroup_files import enable
from orlop_fake.execute.birth import namespace_at
from orlop_fake.execute.context import refused_step
from orlop_fake.filesystems import cgroup_directory
from orlop_fake.hooks import run_hook
from orlop_fake.refusals import refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orlop_fake.cgroups import Cgroup
    from orlop_fake.execute.context import Context, Handler
    from orlop_fake.resctrl import Group, Resctrl
    from orlop_hookspecs.plan import Plan
    from orlop_hookspecs.steps import (
        CreateCgroup,
        CreateResctrlGroup,
        DelegateCgroup,
        JoinCgroup,
        JoinResctrlGroup,
        RunHook,
        SetDeviceRules,
        SetOomScore,
        WriteCgroup,
        WriteSchemata,
    )

_UNIFIED = 2
_OOM_SCORE = 1000


def create_cgroup(context: Context, step: CreateCgroup) -> None:
    """Make the container's group in every hierarchy."""
    kernel = context.kernel
    if not kernel.hierarchies and step.explicit:
        raise refusal(errno.ENOENT, "/sys/fs/cgroup", "no cgroup file system is mounted")
    if not step.explicit and (kernel.uid or not kernel.hierarchies):
        context.warnings.append("no cgroup can be made: the container has none of its own")
        return
    path = step.path
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if not parts or ".." in parts:
        raise refusal(errno.EINVAL, path, "invalid cgroup path")
    trees = []
    bases = []
    for name, hierarchy in kernel.hierarchies.items():
        base = hierarchy.root if path[0] == "/" else kernel.runtime.cgroups.get(name, hierarchy.root)
        kept = _kept(base, parts, context.container)
        trees.append({"hierarchy": name, "base": base.path, "parts": parts, "kept": kept})
        bases.append(base)
    context.journal.intend("cgroup", trees=trees)
    if kernel.uid:
        raise refusal(errno.EACCES, path)
    for base in bases:
        make_line(context, base, parts)
    context.record.kernel["cgroups"] = [[name, group.path] for name, group in context.cgroups.items()]


def _kept(group: Cgroup, parts: list[str], container: str) -> int:
    """Return how many groups of the line *parts* exist; EBUSY when all do and the last is another's."""
    kept = 0
    for part in parts:
        below = group.children.get(part)
        if below is None:
            return kept
        group = below
        kept += 1
    if any(below.processes for below in group.subtree()):
        raise refusal(errno.EBUSY, group.file("").rstrip("/"), "the cgroup exists and has processes in it")
    is_parent = any(below.owner for below in group.children.values())
    if kept and group.owner not in {"", container} and not is_parent:
        raise refusal(
            errno.EBUSY, group.file("").rstrip("/"), f"the cgroup is that of the container {group.owner}"
        )
    return kept


def make_line(context: Context, group: Cgroup, parts: list[str]) -> None:
    """Make the line of groups *parts* below *group*; the last one is the container's."""
    hierarchy = group.hierarchy
    for part in parts:
        if hierarchy.version == _UNIFIED and group.enabled != (wanted := tuple(group.controllers)):
            enable(group, wanted)
        child = group.children.get(part)
        if child is None:
            child = group.make(part, context.container)
            if hierarchy.needs_cpus:
                # A new cpuset of version 1 is empty and lets nobody in (cpusets(7)).
                for file in ("cpuset.cpus", "cpuset.mems"):
                    child.write(file, group.read(file))
        group = child
    context.cgroups[hierarchy.name] = group


def write_cgroup(context: Context, step: WriteCgroup) -> None:
    """Write a resource in the form of the hierarchy that has its controller."""
    group, pairs = choose(context.cgroups, step)
    if group.hierarchy.version == _UNIFIED:
        pairs = _converted(group, pairs, step)
    if step.alternatives:
        _write_first(group, pairs)
        return
    for file, text in pairs:
        group.write(file, text)
        if step.verify and text.isdigit() and int(group.read(file)) > int(text):
            raise refusal(errno.EOPNOTSUPP, group.file(file), "the kernel ignores the limit")


def _write_first(group: Cgroup, pairs: Sequence[tuple[str, str]]) -> None:
    first: OSError | None = None
    for file, text in pairs:
        try:
            group.write(file, text)
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.EOPNOTSUPP}:
                raise
            first = first or error
        else:
            return
    if first is not None:
        raise first


def _converted(group: Cgroup, pairs: Sequence[tuple[str, str]], step: WriteCgroup) -> list[tuple[str, str]]:
    """Return what is written to cgroup v2 after its own figures have been asked for."""
    made = []
    for file, text in pairs:
        value = text
        if step.keep:
            there = group.read(file).split()
            value = " ".join(o if n == "=" else n for n, o in zip(text.split(), there, strict=False))
        if step.minus:
            limit = group.read(step.minus)
            if not limit.isdigit() or int(limit) > int(value):
                raise refusal(errno.EINVAL, group.file(file), f"the memory alone may be {limit}")
            value = str(int(value) - int(limit))
        if step.usage and value.isdigit() and int(value) < int(group.read(step.usage)):
            raise refusal(errno.EBUSY, group.file(file), f"{group.read(step.usage)} are in use")
        made.append((file, value))
    return made


def choose(groups: Mapping[str, Cgroup], step: WriteCgroup) -> tuple[Cgroup, Sequence[tuple[str, str]]]:
    """Return the group that has the step's controller, and the step's form for its version."""
    if not groups:
        raise refusal(errno.ENOENT, "/sys/fs/cgroup", "the container has no cgroup of its own")
    unified = groups.get("")
    v1_name = step.v1_controller or step.controller
    v1 = next(
        (
            group
            for group in groups.values()
            if v1_name in group.hierarchy.controllers and group is not unified
        ),
        None,
    )
    if v1 is not None:
        group, pairs = v1, step.v1
    elif unified is not None and (step.controller in unified.controllers or not step.controller):
        group, pairs = unified, step.v2
    else:
        missing = f"this host has no cgroup controller {step.controller!r}"
        raise refusal(errno.EOPNOTSUPP, "/sys/fs/cgroup", missing)
    if pairs is None:
        version = group.hierarchy.version
        raise refusal(errno.EOPNOTSUPP, group.file(""), f"cgroup version {version} cannot do this")
    return group, pairs


def set_device_rules(context: Context, step: SetDeviceRules) -> None:
    """Set the device rules: by the devices controller, or by a program on the unified hierarchy."""
    groups = context.cgroups
    holder = groups.get("devices") or groups.get("")
    if holder is None or (
        holder.hierarchy.name == "" and "devices" not in groups and context.kernel.cgroup_mode == "hybrid"
    ):
        raise refusal(errno.ENOENT, "/sys/fs/cgroup", "this host has no cgroup controller 'devices'")
    for allow, kind, major, minor, access in step.rules:
        if kind not in {"a", "b", "c"} or access.strip("rwm"):
            raise refusal(
                errno.EINVAL,
                holder.file("devices.allow"),
                f"invalid device rule {(allow, kind, major, minor, access)}",
            )
    holder.device_rules = tuple(step.rules)


def join_cgroup(context: Context, step: JoinCgroup) -> None:
    """Move the container process into its groups."""
    del step
    for group in context.cgroups.values():
        group.join(context.process)


def check_resctrl(resctrl: Resctrl, step: CreateResctrlGroup) -> Group | None:
    """Return the class of service if it is there; refuse what the machine cannot do."""
    clos = resctrl.find(step.clos_id)
    where = resctrl.path(step.clos_id)
    if clos is None and not step.create:
        raise refusal(errno.ENOENT, where, f"there is no class of service {step.clos_id!r}")
    if clos is not None and not step.may_exist:
        raise refusal(errno.EEXIST, where, f"the class of service {step.clos_id!r} exists already")
    missing = [name for name in step.events if name not in resctrl.events]
    if missing:
        raise refusal(errno.EOPNOTSUPP, where, f"the processor cannot monitor {', '.join(missing)}")
    return clos


def delegate_cgroup(context: Context, step: DelegateCgroup) -> None:
    """Make the container's user the owner of its group; version 1 must never be."""
    group = context.cgroups.get("")
    if group is None or context.kernel.cgroup_mode != "v2":
        return
    owner = context.process.namespaces.user.to_host("uid", step.uid)
    if owner is None:
        raise refusal(errno.EINVAL, group.file(""), f"user {step.uid} has no id on the host")
    group.uid = owner
    cgroup_directory(group).uid = owner


def create_resctrl(context: Context, step: CreateResctrlGroup) -> None:
    """Make or find the class of service, and the monitoring group."""
    resctrl = mounted_resctrl(context)
    clos = check_resctrl(resctrl, step)
    context.clos_was_there = clos is not None
    if clos is None:
        context.journal.intend("resctrl", clos=step.clos_id, monitor="", shared=step.may_exist)
        clos = resctrl.make(step.clos_id, context.container)
    if step.monitoring:
        context.journal.intend("resctrl", clos=step.clos_id, monitor=context.container, shared=False)
        resctrl.make_monitor(clos, context.container, context.container)
    context.record.kernel["resctrl"] = step.clos_id


def write_schemata(context: Context, step: WriteSchemata) -> None:
    """Write the schemata of a class that the container made, or compare those of a shared one."""
    resctrl = context.kernel.resctrl
    own = context.record.kernel.get("resctrl", "")
    if context.updates and (not own or step.clos_id not in {"", own}):
        raise refusal(errno.ENOENT, "/sys/fs/resctrl", "the container has no class of service of its own")
    clos = resctrl.find(own if context.updates else step.clos_id) if resctrl is not None else None
    if resctrl is None or clos is None:
        raise refusal(errno.ENOENT, f"/sys/fs/resctrl/{step.clos_id or own}")
    if context.updates and clos.owner != context.container:
        raise refusal(
            errno.EPERM, resctrl.path(clos.name), "the class of service was there before the container"
        )
    if context.updates or not context.clos_was_there:
        resctrl.change(clos, step.lines)
    elif not resctrl.matches(clos, step.lines):
        raise refusal(
            errno.EEXIST, f"{resctrl.path(clos.name)}/schemata", "the class of service has other schemata"
        )


def join_resctrl(context: Context, step: JoinResctrlGroup) -> None:
    """Move the container process into its class and monitoring group."""
    resctrl = context.kernel.resctrl
    clos = resctrl.find(step.clos_id) if resctrl is not None else None
    if resctrl is None or clos is None:
        raise refusal(errno.ENOENT, f"/sys/fs/resctrl/{step.clos_id}")
    resctrl.join(context.process, clos.monitors[context.container] if step.monitoring else clos)


def set_oom_score(context: Context, step: SetOomScore) -> None:
    """Write oom_score_adj; lowering it needs CAP_SYS_RESOURCE (proc(5))."""
    if not -_OOM_SCORE <= step.score <= _OOM_SCORE:
        raise refusal(errno.EINVAL, "oom_score_adj")
    runtime = context.kernel.runtime
    if step.score < context.process.oom_score_adj and not runtime.credentials.may("CAP_SYS_RESOURCE"):
        raise refusal(errno.EACCES, "oom_score_adj")
    context.process.oom_score_adj = step.score


def run_hook_step(context: Context, step: RunHook) -> None:
    """Run a hook with the state on its standard input."""
    inside = step.kind in {"createContainer", "startContainer"}
    run_hook(context.kernel, step.as_data(), context.state, context.process if inside else None)


def check_host(context: Context, plan: Plan) -> None:
    """Refuse what this host cannot do before the first step touches it.

    Raises:
        StepError: The step that would be refused.
    """
    check_namespaces(context, plan)
    for planned in plan.steps("host"):
        step: Any = planned.step
        try:
            if type(step).__name__ == "CreateResctrlGroup":
                check_resctrl(mounted_resctrl(context), step)
            elif type(step).__name__ == "WriteCgroup" and not context.kernel.uid:
                choose({name: one.root for name, one in context.kernel.hierarchies.items()}, step)
        except OSError as error:
            raise refused_step(context, planned, error) from error


_SETTERS = {"SetHostname": "uts", "SetDomainname": "uts", "MoveNetDevices": "network"}


def check_namespaces(context: Context, plan: Plan) -> None:
    """Refuse paths that are no such namespaces, and changes of the runtime's own ones.

    Raises:
        StepError: The step that would be refused.
    """
    own = set()
    for planned in plan.steps("clone"):
        step: Any = planned.step
        if type(step).__name__ != "JoinNamespace":
            continue
        try:
            found = namespace_at(context, step)
        except OSError as error:
            raise refused_step(context, planned, error) from error
        if found is context.kernel.runtime.namespaces.get(step.type):
            own.add(step.type)
    for planned in (*plan.steps("host-with-pid"), *plan.steps("confined")):
        step = planned.step
        name = type(step).__name__
        kind = step.namespace if name == "SetSysctl" else _SETTERS.get(name, "")
        if kind in own:
            own_one = refusal(
                errno.EPERM, message=f"the {kind} namespace that is joined is the runtime's own"
            )
            raise refused_step(context, planned, own_one)


def mounted_resctrl(context: Context) -> Resctrl:
    """Return the machine's resctrl; refuse where there is none."""
    resctrl = context.kernel.resctrl
    if resctrl is None:
        raise refusal(errno.ENOENT, "/sys/fs/resctrl", "no resctrl file system is mounted")
    return resctrl


HANDLERS: dict[str, Handler] = {
    "CreateCgroup": create_cgroup,
    "CreateResctrlGroup": create_resctrl,
    "DelegateCgroup": delegate_cgroup,
    "JoinCgroup": join_cgroup,
    "JoinResctrlGroup": join_resctrl,
    "RunHook": run_hook_step,
    "SetDeviceRules": set_device_rules,
    "SetOomScore": set_oom_score,
    "WriteCgroup": write_cgroup,
    "WriteSchemata": write_schemata,
}
