"""Mounts, their namespaces, and where paths are resolved: mount_namespaces(7), path_resolution(7)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

from orlop_fake.refusals import refusal
from orlop_fake.vfs import Directory, File, Node, Symlink

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LINKS_MAX = 40
_PATH_MAX = 4096
_NAME_MAX = 255

PROPAGATIONS = frozenset({"private", "shared", "slave", "unbindable"})


class PeerGroup:
    """Mounts among which mount events propagate; who belongs to it is written at the mounts."""

    __slots__ = ()


class Mount:
    """One mount: a node of a file system that covers a node of its parent."""

    __slots__ = (
        "at", "attributes", "data", "idmap", "master", "owner", "parent", "path", "root", "shared", "source",
        "superblock", "type", "unbindable",
    )  # fmt: skip

    def __init__(self, type: str, source: str, root: Node) -> None:  # noqa: A002 - mount(8) calls it so
        """Make a mount that is attached nowhere yet."""
        self.type = type
        self.source = source
        self.root = root
        self.parent: Mount | None = None
        self.at: Node | None = None
        self.path = "/"
        """Where it was attached, for people."""
        self.attributes: frozenset[str] = frozenset()
        self.superblock: frozenset[str] = frozenset()
        self.data: tuple[str, ...] = ()
        self.idmap: dict[str, tuple[tuple[int, int, int], ...]] | None = None
        """Maps ``uid`` and ``gid`` of an id-mapped mount: (id in the file system, host's id, how many)."""
        self.shared: PeerGroup | None = None
        self.master: PeerGroup | None = None
        self.unbindable = False
        self.owner = ""
        """The container for which it was made; empty for the host's."""

    @property
    def readonly(self) -> bool:
        """Writing through this mount is refused."""
        return "ro" in self.attributes or "ro" in self.superblock

    @property
    def propagation(self) -> str:
        """``private``, ``shared``, ``slave``, ``shared,slave`` or ``unbindable``."""
        if self.unbindable:
            return "unbindable"
        kinds = [
            name for name, group in (("shared", self.shared), ("slave", self.master)) if group is not None
        ]
        return ",".join(kinds) or "private"

    def duplicate(self) -> Mount:
        """Return an unattached mount of the same node with the same attributes, in the same peer group."""
        twin = Mount.__new__(Mount)
        twin.type = self.type
        twin.source = self.source
        twin.root = self.root
        twin.parent = twin.at = None
        twin.path = self.path
        twin.attributes = self.attributes
        twin.superblock = self.superblock
        twin.data = self.data
        twin.idmap = self.idmap
        twin.shared = self.shared
        twin.master = self.master
        twin.unbindable = self.unbindable
        twin.owner = self.owner
        return twin

    def set_propagation(self, kind: str) -> None:
        """Change the propagation type as MS_SHARED, MS_SLAVE, MS_PRIVATE and MS_UNBINDABLE do."""
        if kind not in PROPAGATIONS:
            raise refusal(errno.EINVAL, self.path)
        self.unbindable = kind == "unbindable"
        if kind == "shared":
            self.shared = self.shared or PeerGroup()
        elif kind == "slave":
            # A private mount has no peers that it could listen to: it stays private (mount_namespaces(7)).
            self.master = self.shared or self.master
            self.shared = None
        else:
            self.shared = self.master = None

    def line(self) -> str:
        """Return the line of /proc/PID/mounts (proc(5))."""
        options = [*sorted((self.attributes | self.superblock) - {"ro"}), *self.data]
        text = ",".join(["ro" if self.readonly else "rw", *options])
        return f"{self.source or 'none'} {self.path} {self.type} {text} 0 0"

    def describe(self) -> str:
        """Return one line, much as mountinfo has it."""
        options = ",".join(sorted(self.attributes | self.superblock)) or "rw"
        return f"{self.path} {self.type} {self.source or 'none'} {options} {self.propagation}"


class Location(NamedTuple):
    """A node as seen through a mount."""

    mount: Mount
    node: Node


class MountNamespace:
    """A tree of mounts."""

    __slots__ = ("_parents", "covered", "mounts", "root")

    def __init__(self, root: Mount) -> None:
        """Make a namespace with one mount."""
        self.root = root
        self.mounts: list[Mount] = [root]
        self.covered: dict[tuple[Mount, Node], Mount] = {}
        """What is mounted on a node of a mount."""
        self._parents: set[Mount] = set()
        """All mounts that have, or have had, others below: most never do, and need not be searched for."""

    def copy(self) -> MountNamespace:
        """Return what CLONE_NEWNS makes of this namespace; its mounts are in the same order."""
        twins: dict[Mount, Mount] = {}
        for mount in self.mounts:
            twin = twins[mount] = mount.duplicate()
            if mount.parent is not None:
                twin.parent = twins[mount.parent]
                twin.at = mount.at
        made = MountNamespace(twins[self.root])
        made.mounts = list(twins.values())
        made._parents = {twin.parent for twin in made.mounts if twin.parent is not None}
        made.covered = {(twins[on], node): twins[mount] for (on, node), mount in self.covered.items()}
        return made

    def top(self, where: Location) -> Location:
        """Return what is seen at *where*: the root of the uppermost mount on it, or *where* itself."""
        over = self.covered
        while True:
            mount = over.get(where)
            if mount is None:
                return where
            where = Location(mount, mount.root)

    def attach(self, mount: Mount, where: Location, path: str) -> None:
        """Put *mount* on top of *where*; a directory is not covered by a file, nor a file by a directory."""
        if isinstance(where.node, Directory) != isinstance(mount.root, Directory):
            raise refusal(errno.ENOTDIR, path)
        mount.parent, mount.at, mount.path = where.mount, where.node, path
        self.covered[where] = mount
        self.mounts.append(mount)
        self._parents.add(where.mount)

    def below(self, mount: Mount) -> Iterator[Mount]:
        """Yield *mount* and all mounts under it, parents first."""
        inside = {mount}
        yield mount
        if mount not in self._parents:
            return
        for other in self.mounts:
            if other.parent in inside and other not in inside:
                inside.add(other)
                yield other

    def detach(self, mount: Mount) -> None:
        """Take *mount* and all under it out of the tree, as umount2(2) does with MNT_DETACH."""
        gone = set(self.below(mount))
        self.mounts = [other for other in self.mounts if other not in gone]
        self.covered = {key: other for key, other in self.covered.items() if other not in gone}

    def become(self, root: Mount) -> None:
        """Make *root* the root and drop all that is not under it: pivot_root(2), then MNT_DETACH."""
        kept = list(self.below(root))
        inside = set(kept)
        self.mounts = kept
        self.covered = {
            key: mount for key, mount in self.covered.items() if mount in inside and mount is not root
        }
        self.root = root
        root.parent = root.at = None

    def set_propagation(self, mount: Mount, name: str) -> None:
        """Set the propagation *name*; with a leading ``r`` on all mounts under *mount* as well."""
        if name in PROPAGATIONS:
            mount.set_propagation(name)
        elif name[:1] == "r" and name[1:] in PROPAGATIONS:
            for other in self.below(mount):
                other.set_propagation(name[1:])
        else:
            raise refusal(errno.EINVAL, mount.path)

    def bind(self, source: Location, *, recursive: bool) -> tuple[Mount, list[tuple[Mount, Mount]]]:
        """Return a new mount of *source*, and if *recursive*, (original, copy) pairs of what is below."""
        if source.mount.unbindable:
            raise refusal(errno.EINVAL, source.mount.path)
        made = source.mount.duplicate()
        made.root = source.node
        made.parent = made.at = None
        pairs: list[tuple[Mount, Mount]] = []
        if recursive:
            twins = {source.mount: made}
            for mount in self.below(source.mount):
                if mount is source.mount or mount.parent not in twins or mount.unbindable:
                    continue
                if mount.parent is source.mount and not _under(mount.at, source.node):
                    continue
                twin = twins[mount] = mount.duplicate()
                twin.parent, twin.at = twins[mount.parent], mount.at
                pairs.append((mount, twin))
        return made, pairs

    def adopt(self, mounts: Iterable[Mount]) -> None:
        """Add mounts whose parents are in the tree already."""
        for mount in mounts:
            if mount.parent is not None and mount.at is not None:
                self.covered[mount.parent, mount.at] = mount
                self.mounts.append(mount)
                self._parents.add(mount.parent)

    def find(self, path: str, root: Location | None = None) -> Location:
        """Return the location of *path*, all symbolic links followed; see :func:`walk`."""
        return walk(self, root or Location(self.root, self.root.root), path)


def _under(node: Node | None, top: Node) -> bool:
    while node is not None:
        if node is top:
            return True
        node = node.parent
    return False


def reaches(mount: Mount, node: Node) -> bool:
    """Tell whether *node* can be reached through *mount* without crossing another mount."""
    return _under(node, mount.root)


def walk(  # noqa: C901, PLR0912, PLR0913 - one loop over components is the clearest form of path_resolution(7)
    namespace: MountNamespace,
    root: Location,
    path: str,
    *,
    follow: bool = True,
    links: bool = True,
    make: str = "",
) -> Location:
    """Resolve *path* inside *root*: ``..`` and absolute links never lead out of it.

    Args:
        namespace: Whose mounts are crossed.
        root: Where an absolute path begins; a relative one begins there, too.
        path: What to resolve.
        follow: Follow a symbolic link at the end.
        links: False: any symbolic link on the way is refused with ELOOP.
        make: ``dir`` or ``file``: what is missing is made, the last part as that.

    Raises:
        OSError: As path_resolution(7) says: ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG, EROFS.
    """
    if "\0" in path:
        raise refusal(errno.EINVAL, path)
    if len(path) >= _PATH_MAX:
        raise refusal(errno.ENAMETOOLONG, path)
    stack = [namespace.top(root)]
    if path == "/":
        return stack[0]
    parts = path.split("/")
    parts.reverse()
    budget = _LINKS_MAX
    over = namespace.covered
    while parts:
        name = parts.pop()
        if name in ("", "."):
            continue
        here = stack[-1]
        directory = here.node
        if not isinstance(directory, Directory):
            raise refusal(errno.ENOTDIR, path)
        if name == "..":
            if len(stack) > 1:
                stack.pop()
            continue
        if len(name) > _NAME_MAX:
            raise refusal(errno.ENAMETOOLONG, path)
        node = directory.get(name)
        if node is None:
            if not make:
                raise refusal(errno.ENOENT, path)
            if here.mount.readonly:
                raise refusal(errno.EROFS, path)
            if make == "dir" or any(parts):
                node = directory.make_directory(name)
            else:
                node = File()
                directory.put(name, node)
        elif type(node) is Symlink and (follow or any(parts)):
            budget -= 1
            if budget < 0 or not links:
                raise refusal(errno.ELOOP, path)
            if node.target.startswith("/"):
                del stack[1:]
            parts.extend(reversed(node.target.split("/")))
            continue
        where = Location(here.mount, node)
        stack.append(namespace.top(where) if where in over else where)
    return stack[-1]


def split(path: str) -> tuple[str, str]:
    """Return the directory part and the last name of *path*."""
    head, _, tail = path.rstrip("/").rpartition("/")
    return head or "/", tail
