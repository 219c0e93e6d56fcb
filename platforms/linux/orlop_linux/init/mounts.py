"""Mounting below the container's root, from descriptor to descriptor (config.md, Mounts).

A mount is made detached and gets its attributes before it is attached, so that none of them comes too late.
Its destination is resolved by :mod:`.resolve` and used as a descriptor.
"""

from __future__ import annotations

import errno
import os
import stat

from orlop_linux.init import attributes, copyup, failure, resolve, sources, syscalls
from orlop_linux.init.failure import At, Refusal

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
_DATA_MAX = 4095
"""Bytes of all options in mount(2): the kernel copies a page and silently leaves out what is beyond."""


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
    with At(failure.DETAIL_TARGET):
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
        Refusal: An option is refused by itself; its detail says which.
    """
    context = syscalls.fsopen(resolve.encode(fstype))
    try:
        if source:
            syscalls.fsconfig(context, syscalls.FSCONFIG_SET_STRING, b"source", resolve.encode(source))
        for name in superblock:
            syscalls.fsconfig(context, syscalls.FSCONFIG_SET_FLAG, name.encode())
        for number, option in enumerate(data):
            with At(failure.DETAIL_OPTION + number):
                key, equals, value = resolve.encode_text(option).partition(b"=")
                if equals:
                    syscalls.fsconfig(context, syscalls.FSCONFIG_SET_STRING, key, value)
                else:
                    syscalls.fsconfig(context, syscalls.FSCONFIG_SET_FLAG, key)
        syscalls.fsconfig(context, syscalls.FSCONFIG_CMD_CREATE)
        return syscalls.fsmount(context, mask)
    finally:
        os.close(context)


def needs_mount_call(fields: dict[str, Any]) -> bool:
    """Tell whether the step says what fsconfig(2) cannot: long values, and a flag without a name."""
    values = (fields["source"], *(option.partition("=")[2] for option in fields["data"]))
    too_long = any(len(resolve.encode_text(value)) > _VALUE_MAX for value in values)
    return too_long or "iversion" in fields["superblock"]


def _quoted(option: str) -> str:
    """Return *option* as mount(2) takes it: the categories of an SELinux label have commas between them."""
    name, _, value = option.partition("=")
    return f'{name}="{value}"' if name.endswith("context") and "," in value else option


def _mount_by_call(fields: dict[str, Any], wanted: Sequence[str]) -> int:
    """Return a new mount, made by mount(2) in a private place that lasts as long as this function.

    The place is a tmpfs over ``/``, where no path leads to. The mount is then moved away from it by its
    descriptor.

    Raises:
        OSError: E2BIG: the options are longer than mount(2) takes; others by the file system.
    """
    flags = attributes.flags_of((*wanted, *fields["superblock"]))
    data = resolve.encode_text(",".join(_quoted(option) for option in fields["data"]))
    if len(data) > _DATA_MAX:
        raise OSError(errno.E2BIG, "")
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


_MADE_BEFORE = frozenset({"mqueue"})
"""Types whose one superblock is made with the ipc namespace, too early for a label from an option."""


def _labelled(mount: int, label: str, number: int) -> int:
    """Give the root of the new *mount* an SELinux label, as *number* of its options asks, or close it."""
    try:
        with At(failure.DETAIL_OPTION + number):
            root = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mount)
            try:
                os.setxattr(root, "security.selinux", resolve.encode_text(label))
            finally:
                os.close(root)
    except BaseException:
        os.close(mount)
        raise
    return mount


def make_filesystem(fields: dict[str, Any], wanted: Sequence[str]) -> int:
    """Return the detached mount of a new file system that MountFilesystem asks for, with attributes *wanted*.

    Raises:
        OSError: As :func:`new_filesystem`, and as mount(2).
    """
    if fields["type"] in _MADE_BEFORE:
        for number, option in enumerate(fields["data"]):
            if option.startswith("context="):
                others = [one for one in fields["data"] if one is not option]
                mount = make_filesystem({**fields, "data": others}, wanted)
                return _labelled(mount, option.removeprefix("context="), number)
    if needs_mount_call(fields):
        return _mount_by_call(fields, wanted)
    # What a mount logs goes to its own context, never to the kernel's log: it is silent by itself.
    flags = tuple(name for name in fields["superblock"] if name != "silent")
    return new_filesystem(fields["type"], fields["source"], fields["data"], flags, attributes.mask_of(wanted))


def map_ids(mount: int, users: int, idmap: dict[str, Any]) -> None:
    """Map the owners of the detached *mount* by the user namespace *users* (mount_setattr(2)).

    Raises:
        Refusal: EINVAL: the file system cannot be id-mapped; EPERM: it is already, or belongs to another user
            namespace. The mount is closed.
    """
    try:
        with At(failure.DETAIL_IDMAP):
            syscalls.mount_setattr(
                mount, set_=syscalls.MOUNT_ATTR_IDMAP, userns=users, recursive=bool(idmap["recursive"])
            )
    except Refusal:
        os.close(mount)
        raise


def _make(context: Context, fields: dict[str, Any], index: int, wanted: Sequence[str]) -> int:
    """Return the detached mount that MountFilesystem asks for.

    An id-mapped one is mapped here by the user namespace that the engine sent, or comes from the engine as it
    is to be.

    Raises:
        Refusal: EOPNOTSUPP: it shall be id-mapped, and the engine sent nothing for that.
        OSError: EOPNOTSUPP: it needs mount(2) and a mount namespace of its own, which is not there.
    """
    key = f"mount:{index}"
    if context.has(key):
        return context.take(key)
    users = context.take(f"idmap:{index}") if context.has(f"idmap:{index}") else -1
    try:
        if fields["idmap"] is not None and users < 0:
            raise Refusal(errno.EOPNOTSUPP, failure.DETAIL_IDMAP)
        if needs_mount_call(fields) and "mount" not in context.new_namespaces:
            # The private place would be in front of everybody who shares the mount namespace.
            raise OSError(errno.EOPNOTSUPP, "")
        mount = make_filesystem(fields, wanted)
        if users >= 0:
            map_ids(mount, users, fields["idmap"])
    finally:
        if users >= 0:
            os.close(users)
    return mount


def split_readonly(fields: dict[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, bool]], bool]:
    """Return the attributes of a new file system for now, its recursive ones, and whether ``ro`` comes last.

    Mount points, devices and links are still to be made in what is :data:`FURNISHED`. Nothing is mounted
    below a new file system yet, so that its recursive attributes are its own.
    """
    names = tuple(fields["attributes"])
    pairs = [(name, value) for name, value in fields["recursive"]]
    if fields["type"] not in FURNISHED:
        return names, pairs, False
    readonly = dict(pairs).get("ro", "ro" in names)
    return (
        tuple(name for name in names if name != "ro"),
        [(name, value) for name, value in pairs if name != "ro"],
        readonly,
    )


def _mode_there(context: Context, fields: dict[str, Any]) -> int:
    """Return the mode of the directory that a new tmpfs will cover; -1: there is none, or it is no tmpfs."""
    if fields["type"] != "tmpfs":
        return -1
    try:
        there = resolve.open_in_root(context.root_fd, fields["destination"], os.O_PATH | os.O_DIRECTORY)
    except OSError:
        return -1
    try:
        return stat.S_IMODE(os.fstat(there).st_mode)
    finally:
        os.close(there)


def _take_over(mount: int, mode: int, data: Sequence[str]) -> None:
    """Give the root of the new *mount* a mode, unless the options in *data* have."""
    if any(option.startswith("mode=") for option in data):
        return
    root = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mount)
    try:
        os.fchmod(root, mode)
    finally:
        os.close(root)


def mount_filesystem(context: Context, fields: dict[str, Any], index: int) -> None:
    """Execute MountFilesystem."""
    wanted, recursive, late = split_readonly(fields)
    mode = _mode_there(context, fields)
    with At(failure.DETAIL_TARGET):
        target = resolve.make_directory(context.root_fd, fields["destination"])
    try:
        with At(failure.DETAIL_TARGET):
            check_target(context, target, fields["destination"])
        mount = _make(context, fields, index, wanted)
        try:
            if mode >= 0 and fields["tmpcopyup"]:
                with At(failure.DETAIL_COPY):
                    copyup.copy_up(target, mount, fields["data"])
            elif mode >= 0:
                _take_over(mount, mode, fields["data"])
            attributes.apply_attributes(mount, wanted, fields["cleared"], recursive)
            attach(context, mount, target, fields)
            if late:
                context.make_readonly_late(mount)
        finally:
            os.close(mount)
    finally:
        os.close(target)


def mount_bind(context: Context, fields: dict[str, Any], index: int) -> None:
    """Execute MountBind with the tree ``mount:<index>``, id-mapped by the engine if it has to be.

    Or with a copy of what is at ``place:<index>``, a descriptor in this process's own mount namespace: such a
    copy keeps the flags that are locked there.

    Flags of the superblock are the owner's to change, not a bind mount's: mount(2) ignores them, too.
    """
    place = context.take(f"place:{index}") if context.has(f"place:{index}") else -1
    if place < 0:
        tree = context.take(f"mount:{index}")
    else:
        try:
            tree = sources.clone(place, recursive=fields["submounts"], propagation=0)
        finally:
            os.close(place)
    try:
        directory = stat.S_ISDIR(os.fstat(tree).st_mode)
        attributes.apply_attributes(tree, fields["attributes"], fields["cleared"], fields["recursive"])
        with At(failure.DETAIL_TARGET):
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
    with At(failure.DETAIL_TARGET):
        target = resolve.real_directory(context.root_fd, fields["destination"])
    try:
        with At(failure.DETAIL_TARGET):
            check_target(context, target, fields["destination"], procfs=fstype == "proc")
        mask = attributes.mask_of(fields["attributes"])
        recursive = tuple(fields["recursive"])
        try:
            mount = new_filesystem(fstype, fstype, fields["data"], (), mask)
        except PermissionError:
            # Without a network namespace of its own a user namespace gets no sysfs; the engine sent the one
            # of the network namespace that the container shares with it.
            if fstype != "sysfs" or not context.has(f"mount:{index}"):
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
