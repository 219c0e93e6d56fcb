"""Steps on the root file system itself: its propagation, devices, links, masks and the switch to it."""

from __future__ import annotations

from orlop_hookspecs.steps.base import Step, step


@step
class PrepareRoot(Step):
    """Make the root file system a mount of its own in the container's mount namespace."""

    ACT = "prepare the root file system {path}"
    PHASE = "container"
    SLOT = "root"

    because: str
    path: str
    """Absolute path of the root file system in the caller's mount namespace."""
    propagation: str = "rslave"
    """What the host's mounts become in the container's mount namespace first: ``rslave``, ``rprivate``,
    ``rshared``, ``slave``, ``private``, ``shared`` or ``unbindable`` (config-linux.md, "Rootfs Mount
    Propagation")."""
    own_namespace: bool = True
    """False: the container shares a mount namespace, and the root is entered by chroot(2)."""
    bound: bool = False
    """In a shared mount namespace: bind the root over itself, so that everything that is mounted below comes
    off with it when the container is deleted."""


@step
class CreateDevice(Step):
    """Make a device node under the root, or bind one of the host where mknod(2) is not allowed."""

    ACT = "make the device {path}"
    PHASE = "container"
    SLOT = "devices"

    because: str
    path: str
    type: str
    """``c``, ``u``, ``b`` or ``p``."""
    major: int = 0
    minor: int = 0
    mode: int = 0o666
    """Permission bits; the umask does not apply."""
    uid: int = 0
    gid: int = 0
    exact: tuple[str, ...] = ()
    """Which of ``mode``, ``uid`` and ``gid`` the config says: a node that is bound has these as well."""


@step
class CreateSymlink(Step):
    """Make a symbolic link under the root; one that is there already with the same target is kept."""

    ACT = "make the link {path}"
    PHASE = "container"
    SLOT = "links"

    because: str
    path: str
    target: str
    replace: bool = False
    """Replace whatever non-directory stands there (``/dev/ptmx``)."""


@step
class SwitchRoot(Step):
    """Make the prepared root the root directory of the container process and detach the old one."""

    ACT = "switch to the root file system"
    PHASE = "container"
    SLOT = "switch"

    because: str
    method: str = "pivot"
    """``pivot`` (pivot_root(2)), ``move`` (MS_MOVE and chroot) or ``chroot`` (no mount namespace of its
    own)."""


@step
class SetRootPropagation(Step):
    """Set the propagation of the container's root mount after the switch."""

    ACT = "set the propagation of the root mount to {propagation}"
    PHASE = "confined"
    SLOT = "root"

    because: str
    propagation: str


@step
class MakeRootReadonly(Step):
    """Make the root mount read-only; mounts below it keep their own options."""

    ACT = "make the root file system read-only"
    PHASE = "confined"
    SLOT = "root"

    because: str


@step
class ReadonlyPath(Step):
    """Make a path and all below it read-only; a path that does not exist is skipped."""

    ACT = "make {path} read-only"
    PHASE = "confined"
    SLOT = "protect"

    because: str
    path: str


@step
class MaskPath(Step):
    """Make a path unreadable: an empty read-only tmpfs over a directory, /dev/null over a file.

    A path that does not exist is skipped.
    """

    ACT = "mask {path}"
    PHASE = "confined"
    SLOT = "protect"

    because: str
    path: str
