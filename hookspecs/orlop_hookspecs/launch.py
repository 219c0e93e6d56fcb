"""What a caller decides about one launch, beside the bundle: the flags of ``create`` and ``run``."""

from __future__ import annotations

from orlop_hookspecs.frozen import Frozen, field, frozen
from orlop_hookspecs.host import NO_HOST, HostView

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


@frozen
class LaunchOptions(Frozen):
    """How one container is launched; none of it is in the config.

    Paths are absolute. File descriptors are the caller's and stay the caller's.
    """

    console_socket: str = ""
    """AF_UNIX stream socket that receives the pseudoterminal's master; empty: none."""
    pidfd_socket: str = ""
    """AF_UNIX stream socket that receives a pidfd of the container process; empty: none."""
    preserve_fds: int = 0
    """How many descriptors from 3 on the container process inherits."""
    stdio: tuple[int, int, int] = (0, 1, 2)
    """Descriptors that become 0, 1 and 2 of the container process when it has no terminal."""
    foreground: bool = False
    """The caller stays and proxies the terminal (``run`` without ``--detach``)."""
    no_pivot: bool = False
    """Switch the root by MS_MOVE and chroot instead of pivot_root(2), for a root on rootfs (ramfs)."""
    no_new_keyring: bool = False
    """Do not create a session keyring for the container."""
    systemd_cgroup: bool = False
    """The cgroups path is ``slice:prefix:name`` and systemd makes the cgroup."""
    manage_cgroups: bool = True
    """False: the container stays in the caller's cgroups and none are created."""
    listen_fds: int = 0
    """How many of the preserved descriptors are sockets passed by LISTEN_FDS (sd_listen_fds(3))."""


@frozen
class ExecOptions(Frozen):
    """How one more process is started in a container: the flags of ``exec`` that are not of the process.

    Paths are absolute. File descriptors are the caller's and stay the caller's.
    """

    console_socket: str = ""
    """AF_UNIX stream socket that receives the pseudoterminal's master; empty: none."""
    pidfd_socket: str = ""
    """AF_UNIX stream socket that receives a pidfd of the process; empty: none."""
    preserve_fds: int = 0
    """How many descriptors from 3 on the process inherits."""
    stdio: tuple[int, int, int] = (0, 1, 2)
    """Descriptors that become 0, 1 and 2 of the process when it has no terminal."""
    foreground: bool = False
    """The caller stays and proxies the terminal."""
    cgroups: Mapping[str, str] = field(factory=dict)
    """Cgroup below the container's own that the process joins, by controller; the empty name stands for all
    hierarchies. It must exist."""
    ignore_paused: bool = False
    """Join a paused container as well: the process goes on when the container does."""


@frozen
class PlanContext(Frozen):
    """What a planner may know beside the config; planning reads nothing else.

    The state of the host (cgroup version, free ids, existing files) is not here on purpose: a plan is the
    same on every machine, and the platform's kernel resolves it.
    """

    container: str
    """The container's identifier."""
    bundle: str
    """Absolute path of the bundle."""
    rootfs: str
    """Absolute path of the root filesystem; empty when the config has no root."""
    options: LaunchOptions = field(factory=LaunchOptions)
    """The caller's launch flags."""
    store: str = ""
    """A word for the store that holds the container, another one for each; empty for the user's usual one.

    An identifier is unique in its store only: what is named after it on the host needs this word as well."""
    joins: bool = False
    """The plan is for a process that joins the container (``exec``): the config is the container's, with the
    ``process`` of the one that joins, and only steps with :attr:`Step.JOINS` are executed."""
    host: HostView = NO_HOST
    """The host's files, while ``orlop_adjust`` is called; for every other hook there is nothing in it.

    Since: 1.1."""
