"""Steps that mount something under the container's root."""

from __future__ import annotations

import copy
import errno
from typing import TYPE_CHECKING, Any

from orlop_fake.filesystems import cgroup_directory, new_filesystem
from orlop_fake.mounts import Location, Mount, walk
from orlop_fake.namespaces import UserNamespace
from orlop_fake.refusals import refusal
from orlop_fake.vfs import Directory, Node, Symlink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop_fake.execute.context import Context, Handler
    from orlop_hookspecs.steps import MountBind, MountCgroup, MountFilesystem, MountProc, MountSysfs

ATTRIBUTES = frozenset(
    {"ro", "nosuid", "nodev", "noexec", "nodiratime", "nosymfollow", "noatime", "relatime", "strictatime"}
)
SUPERBLOCK = frozenset({"sync", "dirsync", "lazytime", "mand", "iversion", "silent", "ro"})
_ATIMES = frozenset({"noatime", "relatime", "strictatime"})
_NO_IDMAP = frozenset({"proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue"})
_OWNERS = {"proc": "pid", "sysfs": "network", "mqueue": "ipc"}
_IN_USER_NAMESPACES = frozenset(
    {"tmpfs", "ramfs", "proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2", "overlay", "bpf"}
)


def attach(context: Context, mount: Mount, where: Location, path: str) -> None:
    """Attach *mount* for the container; in a shared mount namespace its undo is journalled first."""
    tree = context.process.namespaces.mount.tree
    mount.owner = context.container
    context.places.clear()
    if not context.own_mounts:
        full = f"{context.root.mount.path.rstrip('/')}/{path.lstrip('/')}"
        context.journal.intend("mount", path=full, namespace=context.process.namespaces.mount.inode)
    tree.attach(mount, where, path)
    if where.mount.shared is not None:
        context.kernel.propagate(mount, where)


def set_attributes(mount: Mount, attributes: Sequence[str], cleared: Sequence[str]) -> None:
    """Set and clear attributes as mount_setattr(2): EINVAL for unknown ones; one access time is in force."""
    wanted = frozenset(attributes)
    if not wanted <= ATTRIBUTES or not frozenset(cleared) <= ATTRIBUTES | _ATIMES:
        unknown = sorted((wanted | frozenset(cleared)) - ATTRIBUTES)
        raise refusal(errno.EINVAL, mount.path, f"unknown mount attribute {unknown[0]!r}")
    if len(wanted & _ATIMES) > 1:
        raise refusal(errno.EINVAL, mount.path, "more than one access time mode")
    kept = mount.attributes - frozenset(cleared)
    if wanted & _ATIMES:
        kept -= _ATIMES
    mount.attributes = kept | wanted


def _finish(context: Context, mount: Mount, step: Any) -> None:  # noqa: ANN401 - any of the mount steps
    tree = context.process.namespaces.mount.tree
    idmap = getattr(step, "idmap", None)
    if idmap is not None:
        if mount.type in _NO_IDMAP:
            raise refusal(errno.EINVAL, mount.path, f"{mount.type} cannot be mounted with id mappings")
        probe = UserNamespace(0, context.kernel.runtime.namespaces.user)
        for kind in ("uid", "gid"):
            if idmap.get(kind):
                probe.write_map(kind, idmap[kind])
        if not idmap.get("uid") and context.process.namespaces.user.owner is None:
            raise refusal(errno.EINVAL, mount.path, "id mappings are missing")
        for one in tree.below(mount) if idmap.get("recursive") else (mount,):
            one.idmap = dict(idmap)
    for name in step.propagation:
        tree.set_propagation(mount, name)
    for attribute, on in step.recursive:
        for one in list(tree.below(mount)):
            set_attributes(one, (attribute,) if on else (), () if on else (attribute,))


def _permit(context: Context, type_: str) -> None:
    """Refuse with EPERM what a user namespace may not mount (user_namespaces(7))."""
    spaces = context.process.namespaces
    if spaces.user.owner is None:
        return
    kind = _OWNERS.get(type_)
    if type_ not in _IN_USER_NAMESPACES or (kind is not None and spaces.get(kind).owner is not spaces.user):
        raise refusal(errno.EPERM, type_)


def _target(context: Context, path: str, *, directory: bool, links: bool = True) -> Location:
    tree = context.process.namespaces.mount.tree
    return walk(tree, context.root, path, make="dir" if directory else "file", links=links)


def mount_filesystem(context: Context, step: MountFilesystem) -> None:
    """Mount a new instance of a file system type."""
    _permit(context, step.type)
    unknown = frozenset(step.superblock) - SUPERBLOCK
    if unknown:
        raise refusal(errno.EINVAL, step.destination, f"unknown superblock flag {min(unknown)!r}")
    root = new_filesystem(context.kernel, context.process, step.type, step.source, step.data)
    where = _target(context, step.destination, directory=True)
    if step.tmpcopyup and isinstance(where.node, Directory) and isinstance(root, Directory):
        _copy_up(where.node, root)
    mount = Mount(step.type, step.source, root)
    mount.path = step.destination
    mount.superblock = frozenset(step.superblock)
    mount.data = step.data
    # Devices and links are still to be made below: read-only comes last.
    late = "ro" in step.attributes
    set_attributes(mount, [name for name in step.attributes if name != "ro"], step.cleared)
    attach(context, mount, where, step.destination)
    if late:
        context.late_readonly.append(mount)
    _finish(context, mount, step)


def _copy_up(source: Directory, target: Directory) -> None:
    for name in source.names():
        node = source.get(name)
        if node is None:
            continue
        twin: Node
        if isinstance(node, Directory):
            twin = Directory(node.mode, node.uid, node.gid)
            _copy_up(node, twin)
        else:
            twin = copy.copy(node)
        target.put(name, twin)


def mount_bind(context: Context, step: MountBind) -> None:
    """Attach an existing file or directory of the caller's mount namespace."""
    tree = context.process.namespaces.mount.tree
    source = context.kernel.host_find(step.source, tree, context.process.root)
    unknown = frozenset(step.superblock) - SUPERBLOCK
    if unknown:
        raise refusal(errno.EINVAL, step.destination, f"unknown superblock flag {min(unknown)!r}")
    mount, inside = tree.bind(source, recursive=step.submounts)
    where = _target(context, step.destination, directory=isinstance(source.node, Directory))
    mount.path = step.destination
    set_attributes(mount, step.attributes, step.cleared)
    attach(context, mount, where, step.destination)
    for _, copied in inside:
        copied.owner = context.container
    tree.adopt(copied for _, copied in inside)
    _finish(context, mount, step)


def _mount_kernel(context: Context, step: MountProc | MountSysfs, type_: str) -> None:
    _permit(context, type_)
    root = new_filesystem(context.kernel, context.process, type_, type_, step.data)
    where = _target(context, step.destination, directory=True, links=False)
    if not isinstance(where.node, Directory):
        raise refusal(errno.ENOTDIR, step.destination)
    mount = Mount(type_, type_, root)
    mount.path = step.destination
    mount.data = step.data
    set_attributes(mount, step.attributes, step.cleared)
    attach(context, mount, where, step.destination)
    _finish(context, mount, step)


def mount_proc(context: Context, step: MountProc) -> None:
    """Mount a procfs of the container's pid namespace on a real directory: ELOOP for a link on the way."""
    _mount_kernel(context, step, "proc")


def mount_sysfs(context: Context, step: MountSysfs) -> None:
    """Mount a sysfs of the container's network namespace on a real directory: ELOOP for a link on the way."""
    _mount_kernel(context, step, "sysfs")


def mount_cgroup(context: Context, step: MountCgroup) -> None:
    """Show the container its own cgroups."""
    hierarchies = context.kernel.hierarchies
    if not hierarchies:
        raise refusal(errno.ENODEV, step.destination, "no cgroup file system is mounted on this host")
    groups = {name: context.cgroups.get(name) or h.root for name, h in hierarchies.items()}
    where = _target(context, step.destination, directory=True)
    if context.kernel.cgroup_mode == "v2":
        mount = Mount("cgroup2", "cgroup", cgroup_directory(groups[""]))
        mount.path = step.destination
        set_attributes(mount, step.attributes, step.cleared)
        attach(context, mount, where, step.destination)
        _finish(context, mount, step)
        return
    holder = Mount("tmpfs", "tmpfs", Directory())
    holder.path = step.destination
    set_attributes(holder, [name for name in step.attributes if name != "ro"], step.cleared)
    attach(context, holder, where, step.destination)
    for name, group in groups.items():
        place = name.removeprefix("name=") or "unified"
        made = Directory()
        assert isinstance(holder.root, Directory)  # noqa: S101 - it was made four lines above; for the type checker
        holder.root.put(place, made)
        for alias in name.split(",") if "," in name else ():
            holder.root.put(alias, Symlink(place))
        mount = Mount("cgroup2" if not name else "cgroup", "cgroup", cgroup_directory(group))
        mount.path = f"{step.destination.rstrip('/')}/{place}"
        set_attributes(mount, step.attributes, step.cleared)
        attach(context, mount, Location(holder, made), mount.path)
    if "ro" in step.attributes:
        holder.attributes |= {"ro"}
    _finish(context, holder, step)


HANDLERS: dict[str, Handler] = {
    "MountBind": mount_bind,
    "MountCgroup": mount_cgroup,
    "MountFilesystem": mount_filesystem,
    "MountProc": mount_proc,
    "MountSysfs": mount_sysfs,
}
