"""Namespaces other than the mount tree itself: namespaces(7), user_namespaces(7), time_namespaces(7)."""

from __future__ import annotations

import errno
from itertools import pairwise
from typing import TYPE_CHECKING

from orlop_fake.links import Link
from orlop_fake.refusals import refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orlop_fake.cgroups import Cgroup
    from orlop_fake.mounts import MountNamespace
    from orlop_fake.processes import Process

KINDS = ("user", "mount", "pid", "network", "ipc", "uts", "cgroup", "time")
"""The names of config-linux.md, in the order in which they are entered: the user namespace first."""

FILES = {
    "user": "user",
    "mount": "mnt",
    "pid": "pid",
    "network": "net",
    "ipc": "ipc",
    "uts": "uts",
    "cgroup": "cgroup",
    "time": "time",
}
"""The names under /proc/PID/ns."""

_EXTENTS_MAX = 340  # UID_GID_MAP_MAX_EXTENTS
_ID_MAX = (1 << 32) - 1
_HOSTNAME_MAX = 64  # __NEW_UTS_LEN

Mapping = tuple[int, int, int]
"""(id inside, id outside, size)."""


class Namespace:
    """What all kinds have in common: an identity, and the user namespace that owns it."""

    __slots__ = ("inode", "kept", "kind", "owner")

    def __init__(self, kind: str, inode: int, owner: UserNamespace | None) -> None:
        """Make a namespace of *kind*."""
        self.kind = kind
        self.inode = inode
        self.owner = owner
        self.kept = False
        """A file keeps it alive, also without a process."""

    @property
    def link(self) -> str:
        """What readlink(2) says of its file under /proc/PID/ns."""
        return f"{FILES[self.kind]}:[{self.inode}]"


def _sound(extents: Sequence[Mapping]) -> bool:
    """Tell whether *extents* are in range and do not overlap, inside or outside."""
    for inside, outside, size in extents:
        if size < 1 or min(inside, outside) < 0 or max(inside, outside) + size > _ID_MAX:
            return False
    for column in (0, 1):
        starts = sorted((extent[column], extent[2]) for extent in extents)
        if any(first + size > second for (first, size), (second, _) in pairwise(starts)):
            return False
    return True


class UserNamespace(Namespace):
    """Ids: empty maps until they are written, once."""

    __slots__ = ("gid_map", "uid_map")

    def __init__(self, inode: int, owner: UserNamespace | None) -> None:
        """Make a user namespace without mappings; the host's own maps everything."""
        super().__init__("user", inode, owner)
        whole: tuple[Mapping, ...] = ((0, 0, _ID_MAX),)
        self.uid_map: tuple[Mapping, ...] = whole if owner is None else ()
        self.gid_map: tuple[Mapping, ...] = whole if owner is None else ()

    def write_map(self, kind: str, extents: Iterable[Sequence[int]]) -> None:
        """Write the ``uid`` or ``gid`` map: once, no overlaps, only ids of the parent."""
        known = self.uid_map if kind == "uid" else self.gid_map
        if known:
            raise refusal(errno.EPERM, f"{kind}_map")
        made: list[Mapping] = [(inside, outside, size) for inside, outside, size in extents]
        if not made or len(made) > _EXTENTS_MAX:
            raise refusal(errno.EINVAL, f"{kind}_map")
        if not _sound(made):
            raise refusal(errno.EINVAL, f"{kind}_map")
        if self.owner is not None and not all(
            self.owner.covers(kind, first, size) for _, first, size in made
        ):
            raise refusal(errno.EPERM, f"{kind}_map")
        if kind == "uid":
            self.uid_map = tuple(made)
        else:
            self.gid_map = tuple(made)

    def covers(self, kind: str, first: int, size: int) -> bool:
        """Tell whether the ids *first* to *first* + *size* - 1 of this namespace lie in one extent."""
        return any(
            inside <= first and first + size <= inside + length
            for inside, _, length in (self.uid_map if kind == "uid" else self.gid_map)
        )

    def to_host(self, kind: str, number: int) -> int | None:
        """Return the host's id for id *number* of this namespace; ``None`` when it is not mapped."""
        for inside, outside, size in self.uid_map if kind == "uid" else self.gid_map:
            if inside <= number < inside + size:
                parent = self.owner
                return (
                    outside + number - inside
                    if parent is None
                    else parent.to_host(kind, outside + number - inside)
                )
        return None

    def from_host(self, kind: str, number: int) -> int | None:
        """Return the id of this namespace for the host's id *number*; ``None`` when it is not mapped."""
        parent = self.owner
        wanted = number if parent is None else parent.from_host(kind, number)
        if wanted is None:
            return None
        for inside, outside, size in self.uid_map if kind == "uid" else self.gid_map:
            if outside <= wanted < outside + size:
                return inside + wanted - outside
        return None


class PidNamespace(Namespace):
    """Process ids: numbered from 1 in each namespace."""

    __slots__ = ("_next", "init", "parent", "processes")

    def __init__(
        self, inode: int, owner: UserNamespace | None, parent: PidNamespace | None, first: int = 1
    ) -> None:
        """Make a pid namespace whose first process gets the id *first*."""
        super().__init__("pid", inode, owner)
        self.parent = parent
        self.init: Process | None = None
        self.processes: dict[int, Process] = {}
        self._next = first

    def add(self, process: Process) -> int:
        """Number *process* here and in every namespace above; return its id here."""
        if self.init is None:
            self.init = process
        elif self.init.ended and self.parent is not None:
            raise refusal(errno.ENOMEM)  # fork(2): the init of the pid namespace has ended
        number = self._next
        self._next += 1
        self.processes[number] = process
        process.pids[self] = number
        if self.parent is not None:
            self.parent.add(process)
        return number

    def skip_to(self, number: int) -> None:
        """Let the next process get id *number*."""
        self._next = number

    def remove(self, process: Process) -> None:
        """Forget *process* here and in every namespace above."""
        self.processes.pop(process.pids[self], None)
        if self.parent is not None:
            self.parent.remove(process)


class NetworkNamespace(Namespace):
    """Network devices by name."""

    __slots__ = ("links", "sysctls")

    def __init__(self, inode: int, owner: UserNamespace | None) -> None:
        """Make a network namespace with a loopback that is down."""
        super().__init__("network", inode, owner)
        self.links: dict[str, Link] = {"lo": Link("lo", 1, "loopback")}
        self.sysctls: dict[str, str] = {}


class IpcNamespace(Namespace):
    """System V and POSIX IPC, of which the kernel parameters are kept."""

    __slots__ = ("sysctls",)

    def __init__(self, inode: int, owner: UserNamespace | None) -> None:
        """Make an IPC namespace with default parameters."""
        super().__init__("ipc", inode, owner)
        self.sysctls: dict[str, str] = {}


class UtsNamespace(Namespace):
    """Host name and NIS domain name."""

    __slots__ = ("domainname", "hostname")

    def __init__(self, inode: int, owner: UserNamespace | None, hostname: str, domainname: str) -> None:
        """Make a UTS namespace with the names of the one it is copied from."""
        super().__init__("uts", inode, owner)
        self.hostname = hostname
        self.domainname = domainname

    def set(self, what: str, name: str) -> None:
        """Set ``hostname`` or ``domainname``."""
        if len(name.encode()) > _HOSTNAME_MAX:
            raise refusal(errno.EINVAL, name)
        setattr(self, what, name)


class CgroupNamespace(Namespace):
    """What of the cgroup trees is shown as their root."""

    __slots__ = ("roots",)

    def __init__(self, inode: int, owner: UserNamespace | None, roots: dict[str, Cgroup]) -> None:
        """Make a cgroup namespace rooted at the cgroups of the process that asked for it."""
        super().__init__("cgroup", inode, owner)
        self.roots = roots


class TimeNamespace(Namespace):
    """Offsets of the monotonic and the boot-time clock."""

    __slots__ = ("offsets", "used")

    def __init__(self, inode: int, owner: UserNamespace | None) -> None:
        """Make a time namespace without offsets."""
        super().__init__("time", inode, owner)
        self.offsets: dict[str, tuple[int, int]] = {"monotonic": (0, 0), "boottime": (0, 0)}
        self.used = False
        """A process is in it: the offsets cannot be changed any more (time_namespaces(7))."""

    def set_offset(self, clock: str, secs: int, nanosecs: int) -> None:
        """Write one line of timens_offsets."""
        if clock not in self.offsets or not 0 <= nanosecs < 1_000_000_000:
            raise refusal(errno.EINVAL, "timens_offsets")
        if self.used:
            raise refusal(errno.EACCES, "timens_offsets")
        self.offsets[clock] = (secs, nanosecs)


class MountNamespaceHandle(Namespace):
    """The identity of a mount tree."""

    __slots__ = ("tree",)

    def __init__(self, inode: int, owner: UserNamespace | None, tree: MountNamespace) -> None:
        """Give *tree* an identity."""
        super().__init__("mount", inode, owner)
        self.tree = tree


class NamespaceSet:
    """The eight namespaces of a process."""

    __slots__ = KINDS

    cgroup: CgroupNamespace
    ipc: IpcNamespace
    mount: MountNamespaceHandle
    network: NetworkNamespace
    pid: PidNamespace
    time: TimeNamespace
    user: UserNamespace
    uts: UtsNamespace

    def copy(self) -> NamespaceSet:
        """Return a set of the same namespaces, to be changed."""
        twin = NamespaceSet()
        for kind in KINDS:
            setattr(twin, kind, getattr(self, kind))
        return twin

    def get(self, kind: str) -> Namespace:
        """Return the namespace of *kind*."""
        found: Namespace = getattr(self, kind)
        return found
