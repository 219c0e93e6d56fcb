"""What a caller decides about a checkpoint and about a restore: the flags of the two commands."""

from __future__ import annotations

from orlop_hookspecs.frozen import Frozen, frozen

CGROUP_MODES = ("ignore", "full", "strict", "soft")
"""What is restored of cgroups: nothing; all settings; the same into cgroups that must not exist; only those
of cgroups that do not exist (criu(8), ``--manage-cgroups``)."""

LABEL_KINDS = ("apparmor:", "selinux:")
"""How a security label begins that processes get when they are restored."""

EMPTY_NAMESPACES = ("network",)
"""Namespaces that can be left empty: their content is made anew by whoever makes it."""


@frozen
class CheckpointOptions(Frozen):
    """How a container is written to images; paths are absolute, descriptors stay the caller's."""

    image: str
    """Directory that receives the images; it is made when it does not exist."""
    work: str = ""
    """Directory that receives the log and the statistics; empty: the images' own."""
    parent: str = ""
    """Images of an earlier pre-dump, as a path relative to ``image``: what has not changed since is left
    there."""
    pre_dump: bool = False
    """Write the memory only, while the container runs on."""
    leave_running: bool = False
    """Let the container run on; otherwise it ends and is deleted."""
    tcp_established: bool = False
    """Allow established TCP connections, and keep them."""
    tcp_skip_in_flight: bool = False
    """Leave out TCP connections that are not established yet."""
    link_remap: bool = False
    """Keep files that are open but have no name any more, by giving them one."""
    ext_unix_sk: bool = False
    """Allow unix sockets with a peer outside the container."""
    shell_job: bool = False
    """Allow a session or a terminal from outside the container."""
    file_locks: bool = False
    """Allow file locks, and keep them."""
    lazy_pages: bool = False
    """Leave the memory out and serve it, by ``page_server``, to who restores the container."""
    page_server: str = ""
    """``ADDRESS:PORT`` of a page server that receives the memory; with ``lazy_pages``, where it is served."""
    status_fd: int = -1
    """Descriptor that is written a zero byte to when the memory can be asked for; -1: none."""
    auto_dedup: bool = False
    """Take out of earlier images what a later one has anew."""
    manage_cgroups: str = "soft"
    """One of :data:`CGROUP_MODES`."""
    empty_ns: tuple[str, ...] = ()
    """Of :data:`EMPTY_NAMESPACES`."""


@frozen
class RestoreOptions(Frozen):
    """How a container is brought back from images; paths are absolute."""

    image: str
    """Directory with the images."""
    work: str = ""
    """Directory that receives the log and the statistics; empty: the images' own."""
    tcp_established: bool = False
    """Restore established TCP connections."""
    tcp_close: bool = False
    """Restore TCP connections as closed ones."""
    ext_unix_sk: bool = False
    """Restore unix sockets with a peer outside the container."""
    shell_job: bool = False
    """Restore a session or a terminal from outside the container: the caller's."""
    file_locks: bool = False
    """Restore file locks."""
    lazy_pages: bool = False
    """Fetch the memory when it is needed, from criu's lazy-pages daemon in the working directory."""
    auto_dedup: bool = False
    """Take out of the images what has been restored."""
    manage_cgroups: str = "soft"
    """One of :data:`CGROUP_MODES`."""
    empty_ns: tuple[str, ...] = ()
    """Of :data:`EMPTY_NAMESPACES`."""
    lsm_profile: str = ""
    """``TYPE:NAME`` of the security label that the processes get instead of the config's: ``apparmor`` or
    ``selinux``."""
    lsm_mount_context: str = ""
    """SELinux context that mounts get instead of the config's."""
