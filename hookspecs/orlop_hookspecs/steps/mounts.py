"""Steps that mount something under the container's root: config.md "Mounts", mount(8), mount_setattr(2).

All destinations are absolute paths in the container. The kernel resolves them inside the root only, whatever
symbolic links the image holds, makes missing mount points there, and mounts from descriptor to descriptor.

Attributes are named without any prefix: ``ro``, ``nosuid``, ``nodev``, ``noexec``, ``nodiratime``,
``nosymfollow``, ``noatime``, ``relatime``, ``strictatime``. Superblock flags: ``sync``, ``dirsync``,
``lazytime``, ``mand``, ``iversion``, ``silent``, ``ro``.
"""

from __future__ import annotations

from typing import Any

from orlop_hookspecs.steps.base import Step, step


@step
class MountFilesystem(Step):
    """Mount a new instance of a file system type (fsopen(2), fsconfig(2), fsmount(2)).

    The root of a tmpfs without the option ``mode`` has the mode of the directory that it covers.
    """

    ACT = "mount a {type} on {destination}"
    PHASE = "container"
    SLOT = "mounts"

    because: str
    destination: str
    type: str
    source: str = ""
    attributes: tuple[str, ...] = ()
    cleared: tuple[str, ...] = ()
    """Attributes that the options switch off again (``suid`` clears ``nosuid``)."""
    superblock: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    """Options for the file system itself, ``key=value`` or ``flag``."""
    propagation: tuple[str, ...] = ()
    """``private``, ``rslave``, ...: applied after mounting, in order."""
    tmpcopyup: bool = False
    """Copy what the image has at the destination into the new (tmpfs) mount first."""
    recursive: tuple[tuple[str, bool], ...] = ()
    """(attribute, set) of the options in r-form: applied to the mount and all below it, after the others.

    On a tmpfs or ramfs ``ro``, in either form, comes when the whole root has been furnished."""
    idmap: dict[str, Any] | None = None
    """``{"recursive": bool, "uid": [[container, host, size], ...], "gid": [...]}``; empty maps: the
    container's own."""


@step
class MountBind(Step):
    """Attach an existing file or directory (open_tree(2) with OPEN_TREE_CLONE, move_mount(2))."""

    ACT = "bind {source} on {destination}"
    PHASE = "container"
    SLOT = "mounts"

    because: str
    destination: str
    source: str
    """Absolute path in the caller's mount namespace."""
    submounts: bool = False
    """``rbind``: what is mounted below the source comes along."""
    attributes: tuple[str, ...] = ()
    cleared: tuple[str, ...] = ()
    superblock: tuple[str, ...] = ()
    propagation: tuple[str, ...] = ()
    recursive: tuple[tuple[str, bool], ...] = ()
    idmap: dict[str, Any] | None = None


@step
class MountProc(Step):
    """Mount a procfs of the container's pid namespace.

    The destination must be a real directory of the root, never a symbolic link.
    """

    ACT = "mount a procfs on {destination}"
    PHASE = "container"
    SLOT = "mounts"

    because: str
    destination: str
    attributes: tuple[str, ...] = ()
    cleared: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    propagation: tuple[str, ...] = ()
    recursive: tuple[tuple[str, bool], ...] = ()


@step
class MountSysfs(Step):
    """Mount a sysfs of the container's network namespace.

    The destination must be a real directory of the root, never a symbolic link. A user namespace that does
    not own the network namespace gets the caller's sysfs if it is the caller's network namespace, and EPERM
    otherwise.
    """

    ACT = "mount a sysfs on {destination}"
    PHASE = "container"
    SLOT = "mounts"

    because: str
    destination: str
    attributes: tuple[str, ...] = ()
    cleared: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    propagation: tuple[str, ...] = ()
    recursive: tuple[tuple[str, bool], ...] = ()


@step
class MountCgroup(Step):
    """Show the container its cgroups: cgroup2 on a unified host, a tmpfs with one mount per hierarchy on v1.

    Without a cgroup namespace the container's own cgroup directories are bound, never the host's whole tree.
    """

    ACT = "show the cgroups on {destination}"
    PHASE = "container"
    SLOT = "mounts"

    because: str
    destination: str
    own_namespace: bool = False
    """The container has a cgroup namespace of its own."""
    attributes: tuple[str, ...] = ()
    cleared: tuple[str, ...] = ()
    propagation: tuple[str, ...] = ()
    recursive: tuple[tuple[str, bool], ...] = ()
