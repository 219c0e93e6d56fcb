"""Steps on the processes of a whole container: written to images, and made from them again.

What belongs to the host is not in the images. Both steps name it, from the config: an image decides nothing
about it.
"""

from __future__ import annotations

from typing import Any

from orlop_hookspecs.steps.base import Step, step


@step
class ConfigureCriu(Step):
    """Name the file with options for CRIU beside those of the request (criu(8), Configuration files).

    Without this step it is the administrator's: ``/etc/criu/orlop.conf``, else ``/etc/criu/runc.conf``, if
    there is one.
    """

    ACT = "configure criu"
    SLOT = "settings"

    because: str
    act: str
    """``checkpoint`` or ``restore``."""
    path: str = ""
    """Absolute path of a file of root's that nobody else can write; empty: no file at all."""

    @property
    def phase(self) -> str:
        """The phase of the operation that it is for."""
        return self.act


@step
class DumpProcesses(Step):
    """Write the processes of a live container to images, with all that they have (criu(8), ``dump``)."""

    ACT = "write the processes to images"
    PHASE = "checkpoint"
    SLOT = "processes"

    because: str
    options: dict[str, Any]
    """The fields of :class:`orlop_hookspecs.checkpoint.CheckpointOptions`."""
    mounts: tuple[tuple[str, str, str], ...] = ()
    """Mounts from the host as (destination, source, JSON pointer of what asks for it)."""
    cgroups: tuple[tuple[str, str], ...] = ()
    """Where the container's own cgroups are shown, as (destination, JSON pointer)."""
    joined: tuple[tuple[str, str, str], ...] = ()
    """Namespaces of others as (type, path, JSON pointer)."""
    own: tuple[str, ...] = ()
    """Types of the container's own namespaces."""
    module: str = ""
    """Security module by which the config confines the process, ``apparmor`` or ``selinux``: the images have
    to hold its labels."""


@step
class RestoreProcesses(Step):
    """Make the processes of a container from images (criu(8), ``restore``).

    The root file system, the mounts of the host and the namespaces of others are those named here, whatever
    the images say.
    """

    ACT = "restore the processes from images"
    PHASE = "restore"
    SLOT = "processes"

    because: str
    options: dict[str, Any]
    """The fields of :class:`orlop_hookspecs.checkpoint.RestoreOptions`."""
    mounts: tuple[tuple[str, str, str], ...] = ()
    """Mounts from the host as (destination, source, JSON pointer of what asks for it)."""
    places: tuple[str, ...] = ()
    """Mount points of the config, in its order: those that the root lacks are made."""
    attributes: tuple[tuple[str, tuple[str, ...], tuple[str, ...], str], ...] = ()
    """What mounts must not allow: mount point, its attributes, those of all that is mounted below it, JSON
    pointer. ``/`` is the root; what is neither in ``places`` nor the root is a path that the config makes
    read-only: where there is one, a mount has to be on it."""
    contexts: tuple[tuple[str, str, str], ...] = ()
    """SELinux contexts of mounts as (mount point, context, JSON pointer)."""
    cgroups: tuple[tuple[str, str], ...] = ()
    """Where the container's own cgroups are shown, as (destination, JSON pointer)."""
    joined: tuple[tuple[str, str, str], ...] = ()
    """Namespaces of others as (type, path, JSON pointer)."""
    own: tuple[str, ...] = ()
    """Types of the container's own namespaces."""
    bounding: tuple[str, ...] | None = None
    """Capabilities that each process has at most; ``None``: the config says nothing of them."""
    user: tuple[int, int, tuple[int, ...]] | None = None
    """User, group and further groups of each process; ``None``: the config lets a process become another."""
    no_new_privileges: bool = False
    filtered: bool = False
    """The config has system calls filtered."""
    label: tuple[str, str, str] | None = None
    """What confines each process: (``apparmor`` or ``selinux``, profile or context, JSON pointer); ``None``:
    neither the caller nor the config says anything of it."""
    uid: tuple[tuple[int, int, int], ...] = ()
    """Mappings of users of the own user namespace, as (container id, host id, size)."""
    gid: tuple[tuple[int, int, int], ...] = ()
    """Mappings of groups."""
