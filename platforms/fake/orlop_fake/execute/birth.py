"""Steps at the birth of the container process: clone(2), setns(2), id maps and clock offsets."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from orlop_fake.namespaces import (
    FILES,
    CgroupNamespace,
    IpcNamespace,
    MountNamespaceHandle,
    Namespace,
    NamespaceSet,
    NetworkNamespace,
    PidNamespace,
    TimeNamespace,
    UserNamespace,
    UtsNamespace,
)
from orlop_fake.refusals import refusal
from orlop_fake.versions import NAMESPACES
from orlop_fake.vfs import NamespaceFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop_fake.execute.context import Context, Handler
    from orlop_fake.machine import Machine
    from orlop_hookspecs.steps import JoinNamespace, KeepGroups, NewNamespace, SetIdMappings, SetTimeOffset

_SIMPLE: dict[str, Callable[[int, UserNamespace], Namespace]] = {
    "user": UserNamespace,
    "network": NetworkNamespace,
    "ipc": IpcNamespace,
    "time": TimeNamespace,
}
"""Namespaces that take nothing over from those of the process."""


def join(context: Context, step: JoinNamespace) -> None:
    """Enter the namespace at a path; EINVAL when it is no namespace or one of another kind (setns(2))."""
    setattr(_spaces(context), step.type, namespace_at(context, step))
    if step.type == "mount":
        # setns(2): the root becomes the root of that namespace.
        tree = context.process.namespaces.mount.tree
        context.process.root = tree.find("/")


def namespace_at(context: Context, step: JoinNamespace) -> Namespace:
    """Return the namespace at the path of *step*, which must be of its type."""
    node = context.kernel.host_find(step.path).node
    if not isinstance(node, NamespaceFile) or node.namespace.kind != step.type:
        raise refusal(errno.EINVAL, step.path, f"not a {FILES.get(step.type, step.type)} namespace")
    return node.namespace


def new(context: Context, step: NewNamespace) -> None:
    """Make a namespace of one's own; EPERM without privileges in the user namespace."""
    kernel = context.kernel
    spaces = _spaces(context)
    kind = step.type
    if kernel.host.linux < NAMESPACES.get(kind, (0, 0)):
        raise refusal(errno.EINVAL, message=f"this kernel has no {FILES.get(kind, kind)} namespaces")
    if kernel.uid and kind != "user" and "user" not in context.new:
        raise refusal(
            errno.EPERM, message=f"cannot make a {FILES.get(kind, kind)} namespace: operation not permitted"
        )
    made = make_namespace(kernel, spaces, kind)
    if isinstance(made, MountNamespaceHandle):
        # The root stays where it was, in the copy.
        root = context.process.root
        old = spaces.mount.tree
        context.process.root = root._replace(mount=made.tree.mounts[old.mounts.index(root.mount)])
    setattr(spaces, kind, made)
    context.new.add(kind)


def make_namespace(kernel: Machine, spaces: NamespaceSet, kind: str) -> Namespace:
    """Return a new namespace of *kind*, made from those of a process as clone(2) makes it."""
    inode = kernel.next_inode()
    user = spaces.user
    if kind == "mount":
        return MountNamespaceHandle(inode, user, spaces.mount.tree.copy())
    if kind == "pid":
        return PidNamespace(inode, user, spaces.pid)
    if kind == "uts":
        return UtsNamespace(inode, user, spaces.uts.hostname, spaces.uts.domainname)
    if kind == "cgroup":
        return CgroupNamespace(inode, user, {})
    simple = _SIMPLE.get(kind)
    if simple is None:
        raise refusal(errno.EINVAL, message=f"unknown namespace {kind!r}")
    return simple(inode, user)


def set_id_mappings(context: Context, step: SetIdMappings) -> None:
    """Write both id maps; an unprivileged caller may map only itself (user_namespaces(7)).

    EINVAL when a user namespace that has been joined has others.
    """
    kernel = context.kernel
    if "user" not in context.new:
        joined = _spaces(context).user
        for name, known, wanted in (("uid", joined.uid_map, step.uid), ("gid", joined.gid_map, step.gid)):
            if wanted and sorted(known) != sorted(tuple(one) for one in wanted):
                raise refusal(
                    errno.EINVAL, message=f"the user namespace that is joined has another {name}_map"
                )
        return
    if kernel.uid and (
        any(size != 1 or outside != kernel.uid for _, outside, size in step.uid)
        or any(size != 1 or outside != kernel.uid for _, outside, size in step.gid)
    ):
        raise refusal(errno.EPERM, "uid_map")
    user = _spaces(context).user
    user.write_map("uid", step.uid)
    user.write_map("gid", step.gid)


def set_time_offset(context: Context, step: SetTimeOffset) -> None:
    """Set a clock's offset while the time namespace is empty; ERANGE when the clock would be negative."""
    now = context.kernel.clock.nanoseconds
    if step.secs * 1_000_000_000 + step.nanosecs + now < 0:
        raise refusal(errno.ERANGE, "timens_offsets")
    _spaces(context).time.set_offset(step.clock, step.secs, step.nanosecs)


def keep_groups(context: Context, step: KeepGroups) -> None:
    """Have the process keep the supplementary groups of the runtime when it becomes its user."""
    del step
    context.keep_groups = True


def _spaces(context: Context) -> NamespaceSet:
    return context.process.namespaces


HANDLERS: dict[str, Handler] = {
    "JoinNamespace": join,
    "KeepGroups": keep_groups,
    "NewNamespace": new,
    "SetIdMappings": set_id_mappings,
    "SetTimeOffset": set_time_offset,
}
