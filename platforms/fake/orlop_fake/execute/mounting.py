"""Steps that mount something under the container's root."""

from __future__ import annotations

import copy
import errno
from typing import TYPE_CHECKING, Any

from orlop_fake.filesystems import cgroup_directory, new_filesystem
from orlop_fake.mounts import Location, Mount, walk
from orlop_fake.namespaces import UserNamespace
from orlop_fake.refusals import refusal, text_of
from orlop_fake.versions import ATTRIBUTES as ATTRIBUTES_SINCE
from orlop_fake.versions import IDMAPPED
from orlop_fake.vfs import Directory, Node, Symlink
from orlop_hookspecs.errors import StepError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop_fake.execute.context import Context, Handler
    from orlop_hookspecs.steps import MountBind, MountCgroup, MountFilesystem, MountProc, MountSysfs

ATTRIBUTES = frozenset(
    {"ro", "nosuid", "nodev", "noexec", "nodiratime", "nosymfollow", "noatime", "relatime", "strictatime"}
)
SUPERBLOCK = frozenset({"sync", "dirsync", "lazytime", "mand", "iversion", "silent", "ro"})
_ATIMES = frozenset({"noatime", "relatime", "strictatime"})
FURNISHED = frozenset({"ramfs", "tmpfs"})
BELOW_PROC = frozenset(
    {
        "/proc/cpuinfo", "/proc/diskstats", "/proc/loadavg", "/proc/meminfo", "/proc/net/dev",
        "/proc/slabinfo", "/proc/stat", "/proc/swaps", "/proc/sys/crypto/fips_enabled",
        "/proc/sys/kernel/ns_last_pid", "/proc/uptime",
    }
)  # fmt: skip
_VALUE_MAX = 255
_DATA_MAX = 4095
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
        path = f"{context.root.mount.path.rstrip('/')}/{path.lstrip('/')}"
        context.journal.intend("mount", path=path, namespace=context.process.namespaces.mount.inode)
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


def _finish(
    context: Context,
    mount: Mount,
    step: Any,  # noqa: ANN401 - any of the mount steps
    recursive: Sequence[tuple[str, bool]] | None = None,
) -> None:
    tree = context.process.namespaces.mount.tree
    idmap = getattr(step, "idmap", None)
    wanted = step.recursive if recursive is None else recursive
    for name in (*getattr(step, "attributes", ()), *(name for name, _ in wanted)):
        if context.kernel.host.linux < ATTRIBUTES_SINCE.get(name, (0, 0)):
            raise refusal(errno.EINVAL, mount.path, f"this kernel does not know {name}")
    if idmap is not None:
        _map_ids(context, mount, idmap)
    for name in step.propagation:
        tree.set_propagation(mount, name)
    for attribute, on in wanted:
        for one in list(tree.below(mount)):
            set_attributes(one, (attribute,) if on else (), () if on else (attribute,))


def _map_ids(context: Context, mount: Mount, idmap: dict[str, Any]) -> None:
    """Map the owners of *mount*, or refuse as mount_setattr(2) does."""
    if context.kernel.uid:
        raise refusal(errno.EPERM, mount.path, "the caller has no rights over the file system")
    tree = context.process.namespaces.mount.tree
    probe = UserNamespace(0, context.kernel.runtime.namespaces.user)
    for kind in ("uid", "gid"):
        if idmap.get(kind):
            probe.write_map(kind, idmap[kind])
    if not idmap.get("uid") and context.process.namespaces.user.owner is None:
        raise refusal(errno.EINVAL, mount.path, "id mappings are missing")
    for one in tree.below(mount) if idmap.get("recursive") else (mount,):
        since = IDMAPPED.get(one.type)
        if since is None or context.kernel.host.linux < since:
            raise refusal(errno.EINVAL, one.path, f"{one.type} cannot be mounted with id mappings")
        if one.idmap is not None:
            raise refusal(errno.EPERM, one.path, "it is id-mapped already")
        one.idmap = _maps(context, idmap)


def _maps(context: Context, idmap: dict[str, Any]) -> dict[str, tuple[tuple[int, int, int], ...]]:
    """Return the maps of a mount; empty ones are those of the container's user namespace."""
    user = context.process.namespaces.user
    return {"uid": tuple(idmap.get("uid") or user.uid_map), "gid": tuple(idmap.get("gid") or user.gid_map)}


def _permit(context: Context, type_: str) -> None:
    """Refuse with EPERM what a user namespace may not mount (user_namespaces(7))."""
    spaces = context.process.namespaces
    if spaces.user.owner is None:
        return
    kind = _OWNERS.get(type_)
    if type_ not in _IN_USER_NAMESPACES or (kind is not None and spaces.get(kind).owner is not spaces.user):
        raise refusal(errno.EPERM, type_)


def _target(
    context: Context, path: str, *, directory: bool, links: bool = True, procfs: bool = False
) -> Location:
    """Return the mount point *path*, made if it is missing.

    Raises:
        OSError: EBUSY: it is the root itself; EPERM: it is in a procfs, or is to be ``/proc`` and what is
            mounted is no procfs.
    """
    tree = context.process.namespaces.mount.tree
    where = walk(tree, context.root, path, make="dir" if directory else "file", links=links)
    if where == context.root:
        raise refusal(errno.EBUSY, path)
    inside = where.mount.type == "proc"
    top = inside and where.node is where.mount.root
    if (path == "/proc" and not procfs) or (inside and not (procfs and top) and path not in BELOW_PROC):
        raise refusal(errno.EPERM, path)
    return where


def _split_readonly(step: MountFilesystem) -> tuple[list[str], list[tuple[str, bool]], bool]:
    """Return attributes and recursive attributes for now, and whether read-only comes last.

    Devices and links are still to be made in what is furnished.
    """
    names, pairs = list(step.attributes), list(step.recursive)
    if step.type not in FURNISHED:
        return names, pairs, False
    late = dict(pairs).get("ro", "ro" in names)
    return [name for name in names if name != "ro"], [pair for pair in pairs if pair[0] != "ro"], late


def _check_data(context: Context, step: MountFilesystem) -> None:
    """Refuse what mount(2) could not take, where fsconfig(2) cannot be used.

    Raises:
        OSError: E2BIG: the options are too long; EOPNOTSUPP: mount(2) would need a private place.
    """
    values = (step.source, *(option.partition("=")[2] for option in step.data))
    whole = ",".join(step.data).encode(errors="surrogateescape")
    long = any(len(value.encode(errors="surrogateescape")) > _VALUE_MAX for value in values)
    if not (long or "iversion" in step.superblock):
        return
    if not context.own_mounts:
        raise refusal(errno.EOPNOTSUPP, step.destination)
    if len(whole) > _DATA_MAX:
        raise refusal(errno.E2BIG, step.destination)


def mount_filesystem(context: Context, step: MountFilesystem) -> None:
    """Mount a new instance of a file system type."""
    _permit(context, step.type)
    owned = context.process.namespaces.user.owner is None
    if step.idmap is not None and not owned and step.type not in FURNISHED:
        raise refusal(errno.EPERM, step.destination, f"{step.type} cannot be id-mapped in a user namespace")
    unknown = frozenset(step.superblock) - SUPERBLOCK
    if unknown:
        raise refusal(errno.EINVAL, step.destination, f"unknown superblock flag {min(unknown)!r}")
    mode = _mode_there(context, step)
    where = _target(context, step.destination, directory=True)
    _check_data(context, step)
    root = new_filesystem(context.kernel, context.process, step.type, step.source, step.data)
    if mode >= 0:
        root.mode = mode
    if step.tmpcopyup and isinstance(where.node, Directory) and isinstance(root, Directory):
        _copy_up(where.node, root)
    mount = Mount(step.type, step.source, root)
    mount.path = step.destination
    mount.superblock = frozenset(step.superblock)
    mount.data = step.data
    attributes, recursive, late = _split_readonly(step)
    set_attributes(mount, attributes, step.cleared)
    attach(context, mount, where, step.destination)
    if late:
        context.late_readonly.append(mount)
    _finish(context, mount, step, recursive)


def _mode_there(context: Context, step: MountFilesystem) -> int:
    """Return the mode that a new tmpfs takes over from the directory that it covers; -1: none."""
    if step.type == "tmpfs" and not any(option.startswith("mode=") for option in step.data):
        try:
            node = walk(context.process.namespaces.mount.tree, context.root, step.destination).node
        except OSError:
            return -1
        if isinstance(node, Directory):
            return node.mode
    return -1


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
    source = _source(context, step)
    unknown = frozenset(step.superblock) - SUPERBLOCK
    if unknown:
        raise refusal(errno.EINVAL, step.destination, f"unknown superblock flag {min(unknown)!r}")
    mount, inside = tree.bind(source, recursive=step.submounts)
    procfs = mount.type == "proc" and mount.root is source.mount.root
    where = _target(
        context,
        step.destination,
        directory=isinstance(source.node, Directory),
        links=step.destination != "/proc",
        procfs=procfs and step.destination == "/proc",
    )
    mount.path = step.destination
    set_attributes(mount, step.attributes, step.cleared)
    attach(context, mount, where, step.destination)
    for _, copied in inside:
        copied.owner = context.container
    tree.adopt(copied for _, copied in inside)
    _finish(context, mount, step)


def _source(context: Context, step: MountBind) -> Location:
    """Return what a bind mount shows; what is wrong with it is said of the property ``source``."""
    try:
        return context.kernel.host_find(
            step.source, context.process.namespaces.mount.tree, context.process.root
        )
    except OSError as error:
        number = error.errno or errno.ENOENT
        raise StepError(
            f"cannot open the mount source {step.source}: {text_of(number)}",
            pointer=f"{step.because}/source",
            errno=number,
        ) from error


def _mount_kernel(context: Context, step: MountProc | MountSysfs, type_: str) -> None:
    spaces = context.process.namespaces
    if type_ == "sysfs" and spaces.network is context.kernel.runtime.namespaces.network:
        # A user namespace gets no new one of a network namespace that it does not own; that one's own serves.
        pass
    else:
        _permit(context, type_)
    where = _target(context, step.destination, directory=True, links=False, procfs=type_ == "proc")
    root = new_filesystem(context.kernel, context.process, type_, type_, step.data)
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
