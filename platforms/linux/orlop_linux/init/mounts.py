"""Mounting below the container's root, from descriptor to descriptor (config.md, Mounts).

A mount is made detached and gets its attributes before it is attached, so that none of them comes too late.
Its destination is resolved by :mod:`.resolve` and used as a descriptor.
"""

from __future__ import annotations

import errno
import os
import stat

from orlop_linux.init import attributes, copyup, resolve, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from orlop_linux.init.context import Context

BELOW_PROC = frozenset(
    {
        "/proc/cpuinfo",
        "/proc/diskstats",
        "/proc/loadavg",
        "/proc/meminfo",
        "/proc/net/dev",
        "/proc/slabinfo",
        "/proc/stat",
        "/proc/swaps",
        "/proc/sys/crypto/fips_enabled",
        "/proc/sys/kernel/ns_last_pid",
        "/proc/uptime",
    }
)
"""What may be mounted over in a procfs: files that tell about the machine."""

FURNISHED = frozenset({"ramfs", "tmpfs"})
"""Types in which later steps make things: they become read-only at the end of the phase."""

_PROC_ROOT_INODE = 1  # include/linux/proc_ns.h, PROC_ROOT_INO
_VALUE_MAX = 255
"""Bytes of a parameter's value in fsconfig(2); the kernel copies 256 with the final NUL."""


def _is_procfs(fd: int) -> bool:
    """Tell whether *fd* is the root of a procfs."""
    return syscalls.statfs_type(fd) == resolve.PROC_SUPER_MAGIC and os.fstat(fd).st_ino == _PROC_ROOT_INODE


def check_target(context: Context, target: int, destination: str, *, procfs: bool = False) -> None:
    """Refuse mount points that would hide the root or parts of a procfs from those who rely on it.

    Args:
        context: Whose root it is.
        target: The resolved mount point.
        destination: The path that led there.
        procfs: What is to be mounted is a procfs; it may cover another one.

    Raises:
        OSError: EBUSY: it is the root itself; EPERM: it is in a procfs, or is to be ``/proc`` and is no
            procfs.
    """
    info = os.fstat(target)
    if os.path.samestat(info, os.fstat(context.root_fd)):
        raise OSError(errno.EBUSY, "")
    if destination == "/proc" and not procfs:
        raise OSError(errno.EPERM, "")
    if syscalls.statfs_type(target) != resolve.PROC_SUPER_MAGIC:
        return
    if procfs and info.st_ino == _PROC_ROOT_INODE:
        return
    if destination in BELOW_PROC:
        # Only by this very path: /proc is the root of a procfs, so that the rest of the path is the kernel's
        # own.
        top = resolve.real_directory(context.root_fd, "/proc")
        try:
            if _is_procfs(top):
                return
        finally:
            os.close(top)
    raise OSError(errno.EPERM, "")


def attach(
    context: Context, mount: int, target: int, fields: dict[str, Any], *, procfs: bool = False
) -> None:
    """Attach *mount* at *target* and set its propagation."""
    for name in fields["propagation"]:
        attributes.propagation_of(name)
    check_target(context, target, fields["destination"], procfs=procfs)
    if stat.S_ISDIR(os.fstat(mount).st_mode) != stat.S_ISDIR(os.fstat(target).st_mode):
        raise OSError(errno.ENOTDIR, "")
    syscalls.move_mount(mount, target)
    attributes.apply_propagation(mount, fields["propagation"])


def new_filesystem(
    fstype: str, source: str, data: Sequence[str], superblock: Sequence[str] = (), mask: int = 0
) -> int:
    """Return a new detached mount, see fsopen(2).

    Raises:
        OSError: ENODEV: the type is unknown; EINVAL: an option is; others by the file system.
    """
    context = syscalls.fsopen(resolve.encode(fstype))
    try:
        if source:
            syscalls.fsconfig(context, syscalls.FSCONFIG_SET_STRING, b"source", resolve.encode(source))
        for name in superblock:
            syscalls.fsconfig(context, syscalls.FSCONFIG_SET_FLAG, name.encode())
        for option in data:
            key, equals, value = resolve.encode_text(option).partition(b"=")
            if equals:
                syscalls.fsconfig(context, syscalls.FSCONFIG_SET_STRING, key, value)
            else:
                syscalls.fsconfig(context, syscalls.FSCONFIG_SET_FLAG, key)
        syscalls.fsconfig(context, syscalls.FSCONFIG_CMD_CREATE)
        return syscalls.fsmount(context, mask)
    finally:
        os.close(context)


def _needs_mount_call(fields: dict[str, Any]) -> bool:
    """Tell whether fsconfig(2) cannot say what mount(2) can: long values, and a flag without a name."""
    values = (fields["source"], *(option.partition("=")[2] for option in fields["data"]))
    too_long = any(len(resolve.encode_text(value)) > _VALUE_MAX for value in values)
    return too_long or "iversion" in fields["superblock"]


def _mount_by_call(fields: dict[str, Any], wanted: Sequence[str]) -> int:
    """Return a new mount, made by mount(2) in a private place that lasts as long as this function.

    The place is a tmpfs over ``/``, where no path leads to. The mount is then moved away from it by its
    descriptor.
    """
    flags = attributes.flags_of((*wanted, *fields["superblock"]))
    data = resolve.encode_text(",".join(fields["data"]))
    place = new_filesystem("tmpfs", "none", ("mode=0700",))
    try:
        over = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            syscalls.move_mount(place, over)
            os.mkdir("mount", dir_fd=place)
            os.fchdir(place)
            try:
                syscalls.mount(
                    resolve.encode(fields["source"]),
                    b"mount",
                    resolve.encode(fields["type"]),
                    flags,
                    data or None,
                )
                made = os.open("mount", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place)
                try:
                    return syscalls.open_tree(made, b"", syscalls.OPEN_TREE_CLONE | syscalls.AT_EMPTY_PATH)
                finally:
                    os.close(made)
            finally:
                syscalls.umount2(b".", syscalls.MNT_DETACH)
                os.chdir("/")
        finally:
            os.close(over)
    finally:
        os.close(place)


def _make(context: Context, fields: dict[str, Any], index: int, wanted: Sequence[str]) -> int:
    """Return the detached mount that MountFilesystem asks for.

    An id-mapped one is made by the engine, or mapped here by the user namespace that the engine sent.

    Raises:
        OSError: EOPNOTSUPP: it shall be id-mapped, and the engine sent nothing for that.
    """
    key = f"mount:{index}"
    if key in context.trees:
        return context.take(key)
    users = context.trees.pop(f"idmap:{index}", -1)
    try:
        if fields["idmap"] is not None and users < 0:
            raise OSError(errno.EOPNOTSUPP, "")
        if _needs_mount_call(fields):
            mount = _mount_by_call(fields, wanted)
        else:
            # What a mount logs goes to its own context, never to the kernel's log: it is silent by itself.
            flags = tuple(name for name in fields["superblock"] if name != "silent")
            mask = attributes.mask_of(wanted)
            mount = new_filesystem(fields["type"], fields["source"], fields["data"], flags, mask)
        if users >= 0:
            _map_ids(mount, users, fields["idmap"] or {})
    finally:
        if users >= 0:
            os.close(users)
    return mount


def _map_ids(mount: int, users: int, idmap: dict[str, Any]) -> None:
    try:
        syscalls.mount_setattr(
            mount, set_=syscalls.MOUNT_ATTR_IDMAP, userns=users, recursive=bool(idmap.get("recursive"))
        )
    except OSError:
        os.close(mount)
        raise


def mount_filesystem(context: Context, fields: dict[str, Any], index: int) -> None:
    """Execute MountFilesystem."""
    late = fields["type"] in FURNISHED and "ro" in fields["attributes"]
    wanted = tuple(name for name in fields["attributes"] if not (late and name == "ro"))
    target = resolve.make_directory(context.root_fd, fields["destination"])
    try:
        check_target(context, target, fields["destination"])
        mount = _make(context, fields, index, wanted)
        try:
            # First, because a recursive attribute may make the mount read-only.
            if fields["tmpcopyup"]:
                copyup.copy_up(target, mount, fields["data"])
            attributes.apply_attributes(mount, wanted, fields["cleared"], fields["recursive"])
            attach(context, mount, target, fields)
            if late:
                context.late_readonly.append(os.dup(mount))
        finally:
            os.close(mount)
    finally:
        os.close(target)


def mount_bind(context: Context, fields: dict[str, Any], index: int) -> None:
    """Execute MountBind with the tree ``mount:<index>``, id-mapped by the engine if it has to be.

    Flags of the superblock are the owner's to change, not a bind mount's: mount(2) ignores them, too.
    """
    tree = context.take(f"mount:{index}")
    try:
        directory = stat.S_ISDIR(os.fstat(tree).st_mode)
        attributes.apply_attributes(tree, fields["attributes"], fields["cleared"], fields["recursive"])
        if fields["destination"] == "/proc":
            target = resolve.real_directory(context.root_fd, fields["destination"])
        elif directory:
            target = resolve.make_directory(context.root_fd, fields["destination"])
        else:
            target = resolve.make_file(context.root_fd, fields["destination"])
        try:
            attach(
                context, tree, target, fields, procfs=fields["destination"] == "/proc" and _is_procfs(tree)
            )
        finally:
            os.close(target)
    finally:
        os.close(tree)


def _mount_kernel_view(context: Context, fields: dict[str, Any], index: int, fstype: str) -> None:
    target = resolve.real_directory(context.root_fd, fields["destination"])
    try:
        check_target(context, target, fields["destination"], procfs=fstype == "proc")
        mask = attributes.mask_of(fields["attributes"])
        recursive = tuple(fields["recursive"])
        try:
            mount = new_filesystem(fstype, fstype, fields["data"], (), mask)
        except PermissionError:
            # Without a network namespace of its own a user namespace gets no sysfs; the engine sent the
            # host's.
            if fstype != "sysfs" or f"mount:{index}" not in context.trees:
                raise
            mount = context.take(f"mount:{index}")
            # What the host has mounted below comes along, and must not be more writable than the rest.
            recursive = (
                *((name, True) for name in fields["attributes"] if name in attributes.ATTRIBUTES),
                *recursive,
            )
        try:
            attributes.apply_attributes(mount, fields["attributes"], fields["cleared"], recursive)
            attach(context, mount, target, fields, procfs=fstype == "proc")
        finally:
            os.close(mount)
    finally:
        os.close(target)
    context.discard(f"mount:{index}")


def mount_proc(context: Context, fields: dict[str, Any], index: int) -> None:
    """Execute MountProc."""
    _mount_kernel_view(context, fields, index, "proc")


def mount_sysfs(context: Context, fields: dict[str, Any], index: int) -> None:
    """Execute MountSysfs."""
    _mount_kernel_view(context, fields, index, "sysfs")


OPS = {
    "MountFilesystem": mount_filesystem,
    "MountBind": mount_bind,
    "MountProc": mount_proc,
    "MountSysfs": mount_sysfs,
}
