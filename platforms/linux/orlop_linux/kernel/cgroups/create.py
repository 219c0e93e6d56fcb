"""Make the container's cgroup in every hierarchy and hold it open while the container is created."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from orlop_linux.kernel.cgroups import marks
from orlop_linux.kernel.cgroups.hierarchies import is_unified
from orlop_linux.kernel.refusal import lacking, refuse, refuse_os
from orlop_linux.live.cgroups import Group, members, read_file, write_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from orlop_hookspecs.kernel import Journal
    from orlop_hookspecs.record import Record
    from orlop_hookspecs.steps import CreateCgroup, CreateScope
    from orlop_hookspecs.steps.base import Step
    from orlop_linux.kernel.cgroups.hierarchies import Hierarchy

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_TRIES = 30
_MODE = 0o755
_GONE = frozenset({errno.ENOENT, errno.ENODEV})  # ENODEV: a file of a cgroup that has been removed

make_directory = os.mkdir
"""mkdir(2); a seam for tests that model cgroups on plain directories, which begin without files."""


class OpenGroup:
    """One of the container's cgroups with a descriptor of its directory."""

    __slots__ = ("aliases", "fd", "group", "shown_as")

    def __init__(self, group: Group, fd: int, shown_as: str, aliases: tuple[str, ...]) -> None:
        """Take ownership of *fd*."""
        self.group = group
        self.fd = fd
        self.shown_as = shown_as
        self.aliases = aliases


class _Wish:
    """What is to be made, for whom."""

    __slots__ = ("carrier", "controllers", "path", "plugin", "step", "tolerant")

    def __init__(  # noqa: PLR0913 - the parts of a wish
        self,
        step: Step,
        plugin: str,
        path: str,
        controllers: Collection[str],
        *,
        tolerant: bool = False,
        carrier: int = 0,
    ) -> None:
        self.step = step
        self.plugin = plugin
        self.path = path
        self.controllers = controllers
        self.tolerant = tolerant
        self.carrier = carrier
        """A process that may be in the cgroup, which systemd made around it; 0: none, and we make it."""


class _Branch:
    """A hierarchy with the container's path in it, opened as far as it exists."""

    def __init__(self, hierarchy: Hierarchy, parts: list[str], owner: str, *, optional: bool) -> None:
        self.hierarchy = hierarchy
        self._owner = owner
        self.parts = parts
        self.optional = optional
        self.fds = [os.open(hierarchy.mount, _DIRECTORY)]
        try:
            for part in parts:
                self.fds.append(os.open(part, _DIRECTORY, dir_fd=self.fds[-1]))
        except FileNotFoundError:
            pass
        except BaseException:
            self.close()
            raise
        self.kept = len(self.fds) - 1
        self.made = False
        """Whether the last directory is one that was made here."""

    @property
    def exists(self) -> bool:
        return self.kept == len(self.parts)

    @property
    def path(self) -> str:
        return "/" + "/".join(self.parts)

    def make_next(self) -> None:
        """Make the next missing directory, mode 0755 whatever the umask."""
        name = self.parts[len(self.fds) - 1]
        is_leaf = len(self.fds) == len(self.parts)
        made = True
        try:
            make_directory(name, _MODE, dir_fd=self.fds[-1])
        except FileExistsError:
            if is_leaf:
                raise
            made = False  # somebody else's, then
        self.made = made and is_leaf
        fd = os.open(name, _DIRECTORY, dir_fd=self.fds[-1])
        self.fds.append(fd)
        if made and os.fstat(fd).st_mode & 0o777 != _MODE:
            os.fchmod(fd, _MODE)
        if made and is_leaf:
            marks.mark_owner(fd, self._owner)
        elif made:
            marks.mark_parent(fd)

    def close(self, *, but_leaf: bool = False) -> int:
        leaf = self.fds.pop() if but_leaf else -1
        while self.fds:
            os.close(self.fds.pop())
        return leaf


def _disown(record: Record, branches: Iterable[_Branch]) -> None:
    """Say that cgroups are somebody else's, whatever the journal announced."""
    foreign = [[one.hierarchy.mount, one.path] for one in branches]
    if foreign:
        record.kernel.setdefault("foreign_cgroups", []).extend(foreign)


def _refuse_anothers(step: Step, plugin: str, fd: int, path: str, record: Record) -> None:
    """Refuse a cgroup that goes with another container, together with all that is in it then."""
    owner = marks.other_owner(fd, record.directory)
    if owner:
        raise refuse(
            step,
            plugin,
            f"the cgroup is that of the container {os.path.basename(owner)}",
            path=path,
            number=errno.EBUSY,
            hint="delete that container first, or choose another cgroupsPath",
        )


class Cgroups:
    """The container's cgroups while it is created."""

    def __init__(self, hierarchies: Sequence[Hierarchy]) -> None:
        """Begin with nothing made.

        Args:
            hierarchies: What :func:`~orlop_linux.kernel.cgroups.hierarchies.find_hierarchies` found.
        """
        self._hierarchies = hierarchies
        self._unified = is_unified(hierarchies)
        self._made: set[str] = set()
        self._announced: set[str] = set()
        self.open_groups: list[OpenGroup] = []

    def create(  # noqa: PLR0913 - the step, its plugin, who asks and what for
        self,
        step: CreateCgroup,
        plugin: str,
        record: Record,
        journal: Journal,
        *,
        controllers: Collection[str],
        unprivileged: bool,
    ) -> None:
        """Make the cgroup in every hierarchy.

        Args:
            step: What is asked for.
            plugin: Who asked, for errors.
            record: Its ``kernel`` learns which cgroups are the container's.
            journal: Told what will be made before it is made.
            controllers: What the plan limits: enabled on the way down in the unified hierarchy.
            unprivileged: The caller may be denied cgroups if the config does not insist on a path.

        Raises:
            PlatformError: No hierarchy is mounted.
            StepError: The path is impossible or in use, or the kernel refused.
        """
        tolerant = unprivileged and not step.explicit
        if not self._hierarchies:
            if tolerant:
                return
            raise lacking(
                "no cgroup hierarchy is mounted", pointer=step.because, hint="mount one at /sys/fs/cgroup"
            )
        self._repeat(_Wish(step, plugin, step.path, controllers, tolerant=tolerant), record, journal)

    def adopt(  # noqa: PLR0913 - the step, its plugin, who asks and what for
        self,
        step: CreateScope,
        path: str,
        plugin: str,
        record: Record,
        journal: Journal,
        *,
        controllers: Collection[str],
        carrier: int,
    ) -> None:
        """Open the cgroup *path* that systemd made, and make it where systemd does not.

        Args:
            step: What was asked for.
            path: The cgroup of the scope.
            plugin: Who asked, for errors.
            record: As for :meth:`create`.
            journal: As for :meth:`create`.
            controllers: As for :meth:`create`; of those that systemd knows it has enabled what it may.
            carrier: The process that is in the scope until the container is.

        Raises:
            StepError: systemd's cgroup is not to be seen, or the kernel refused.
        """
        wish = _Wish(step, plugin, path, controllers, carrier=carrier)
        self._repeat(wish, record, journal)
        if self._unified and self.unified is None:
            raise refuse(
                step, plugin, "the cgroup of the scope is not to be seen", number=errno.ENOENT, path=path
            )

    def _repeat(self, wish: _Wish, record: Record, journal: Journal) -> None:
        for _ in range(_TRIES):
            try:
                self._try(wish, record, journal)
            except OSError as error:
                if hasattr(error, "pointer"):
                    raise
                if error.errno in _GONE:
                    # A parent went away between looking and making: its last user was deleted. Look again.
                    self.close()
                    continue
                raise refuse_os(wish.step, wish.plugin, "cannot make the cgroup", error) from error
            record.kernel["cgroups"] = [one.group.to_data() for one in self.open_groups]
            return
        raise refuse(wish.step, wish.plugin, "a parent of the cgroup keeps disappearing", number=errno.ENOENT)

    def _try(self, wish: _Wish, record: Record, journal: Journal) -> None:
        branches: list[_Branch] = []
        try:
            for hierarchy in self._hierarchies:
                beside = hierarchy.version == 2 and not self._unified
                parts = self._parts(wish, record, hierarchy)
                optional = wish.tolerant or beside or hierarchy.named
                branches.append(_Branch(hierarchy, parts, record.directory, optional=optional))
            self._refuse_used(wish, branches)
            for branch in branches:
                if branch.exists:
                    path = branch.hierarchy.mount + branch.path
                    _refuse_anothers(wish.step, wish.plugin, branch.fds[-1], path, record)
            _disown(record, (one for one in branches if one.exists and self._is_anothers(one)))
            self._announce(journal, branches)
            self._make(wish, record, branches)
        finally:
            self._made.update(one.hierarchy.mount for one in branches if one.made)
            for branch in branches:
                branch.close()

    def _is_anothers(self, branch: _Branch) -> bool:
        """Tell whether an earlier try announced what somebody else has made since."""
        mount = branch.hierarchy.mount
        return mount in self._announced and mount not in self._made

    def _parts(self, wish: _Wish, record: Record, hierarchy: Hierarchy) -> list[str]:
        path = wish.path or record.id
        parts = [part for part in path.split("/") if part]
        if not parts or "." in parts or ".." in parts or "\0" in path or "\n" in path:
            raise refuse(
                wish.step,
                wish.plugin,
                "the cgroup's path may not be the root or hold '.', '..' or a line end",
            )
        if path.startswith("/"):
            return parts
        own = hierarchy.own
        if hierarchy.version == 2 and self._unified:
            # The caller's own cgroup has a process in it, the caller: its children could have no controllers.
            own = own[:-1]
        return [*own, *parts]

    def _refuse_used(self, wish: _Wish, branches: Sequence[_Branch]) -> None:
        for branch in branches:
            if branch.exists and (pids := members(branch.fds[-1]) - {wish.carrier}):
                raise refuse(
                    wish.step,
                    wish.plugin,
                    f"the cgroup is in use by {len(pids)} processes, such as {min(pids)}",
                    path=branch.hierarchy.mount + branch.path,
                    number=errno.EBUSY,
                    hint="every container needs a cgroup of its own",
                )

    def _announce(self, journal: Journal, branches: Sequence[_Branch]) -> None:
        trees = []
        for branch in branches:
            if not branch.exists:
                tree = Group(branch.hierarchy.mount, branch.path, branch.hierarchy.version).to_data()
                trees.append({**tree, "kept": branch.kept})
        if trees:
            journal.intend("cgroup", trees=trees)
            self._announced.update(one.hierarchy.mount for one in branches if not one.exists)

    def _make(self, wish: _Wish, record: Record, branches: Sequence[_Branch]) -> None:
        claimed = {name for one in self._hierarchies for name in one.controllers}
        for index, branch in enumerate(branches):
            hierarchy = branch.hierarchy
            try:
                if hierarchy.version == 2:
                    wanted = [name for name in wish.controllers if name not in claimed]
                    _descend_unified(branch, wanted, wish)
                else:
                    _descend_v1(branch)
            except FileExistsError as error:
                # Somebody else made it after we looked: it is not ours to remove, whatever the journal says.
                # Neither is what comes after it: that one is making it now, and may have its process there.
                _disown(record, branches[index:])
                raise refuse_os(
                    wish.step,
                    wish.plugin,
                    "cannot make the cgroup",
                    error,
                    path=hierarchy.mount + branch.path,
                ) from error
            except OSError as error:
                if hasattr(error, "pointer") or error.errno in _GONE:
                    raise
                if branch.optional and (error.errno in _DENIED or not self._unified):
                    continue
                raise refuse_os(
                    wish.step,
                    wish.plugin,
                    "cannot make the cgroup",
                    error,
                    path=hierarchy.mount + branch.path,
                ) from error
            group = Group(hierarchy.mount, branch.path, hierarchy.version, hierarchy.controllers)
            name = hierarchy.shown_as if hierarchy.version == 1 else ("" if self._unified else "unified")
            aliases = hierarchy.controllers if len(hierarchy.controllers) > 1 else ()
            self.open_groups.append(OpenGroup(group, branch.close(but_leaf=True), name, aliases))

    def require_own(self, step: Step, plugin: str, record: Record) -> None:
        """Refuse cgroups that were there before if a creation at the same time turns out to make them.

        The container process is in them by now, and whoever made them has marked them long since.
        """
        for one in self.open_groups:
            _refuse_anothers(step, plugin, one.fd, one.group.directory, record)

    @property
    def unified(self) -> OpenGroup | None:
        """The container's cgroup in the unified hierarchy."""
        for one in self.open_groups:
            if one.group.version == 2:
                return one
        return None

    def with_controller(self, name: str) -> OpenGroup | None:
        """Return the v1 cgroup that has controller *name*."""
        for one in self.open_groups:
            if one.group.version == 1 and name in one.group.controllers:
                return one
        return None

    def open_tasks(self) -> list[int]:
        """Open the ``tasks`` file of every v1 cgroup for writing; the caller closes them."""
        fds: list[int] = []
        try:
            for one in self.open_groups:
                if one.group.version == 1:
                    fds.append(os.open("tasks", os.O_WRONLY | os.O_CLOEXEC, dir_fd=one.fd))  # noqa: PERF401 - those before a failure are closed
        except OSError:
            for fd in fds:
                os.close(fd)
            raise
        return fds

    def mounts(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """Return what a cgroup mount in the container shows: (name, directory on the host, other names)."""
        return [(one.shown_as, one.group.directory, one.aliases) for one in self.open_groups]

    def close(self) -> None:
        """Close the descriptors; the cgroups stay."""
        while self.open_groups:
            os.close(self.open_groups.pop().fd)


def _descend_v1(branch: _Branch) -> None:
    is_cpuset = "cpuset" in branch.hierarchy.controllers
    if is_cpuset:
        for parent, child in zip(branch.fds, branch.fds[1:], strict=False):
            _inherit_cpuset(parent, child)
    while len(branch.fds) <= len(branch.parts):
        branch.make_next()
        if is_cpuset:
            _inherit_cpuset(branch.fds[-2], branch.fds[-1])


def _inherit_cpuset(parent: int, child: int) -> None:
    """Copy the parent's processors and memory nodes to a v1 cpuset without any, which nothing can join."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if not read_file(child, name).strip():
            write_file(child, name, read_file(parent, name).strip())


def _descend_unified(branch: _Branch, wanted: Sequence[str], wish: _Wish) -> None:
    depth = 0
    while depth < len(branch.parts):
        if depth > 0 and (depth > branch.kept or marks.is_parent(branch.fds[depth])):
            _enable_all(branch.fds[depth])
        _enable(branch.fds[depth], wanted, branch, depth, wish)
        depth += 1
        if depth == len(branch.fds):
            branch.make_next()


def _enable_all(fd: int) -> None:
    """Let the children of a cgroup that is ours have every controller that it has.

    A later update may limit what the config did not, and statistics are those of controllers. What the plan
    needs is asked for again by itself, so nothing depends on success here.
    """
    available = set(read_file(fd, "cgroup.controllers").split())
    missing = sorted(available.difference(read_file(fd, "cgroup.subtree_control").split()))
    if missing:
        try:
            write_file(fd, "cgroup.subtree_control", " ".join(f"+{name}" for name in missing))
        except OSError as error:
            if error.errno in _GONE:
                raise


def _enable(fd: int, wanted: Sequence[str], branch: _Branch, depth: int, wish: _Wish) -> None:
    """Enable what the plan needs for the children of one cgroup, which may be somebody else's."""
    if not wanted:
        return
    enabled = read_file(fd, "cgroup.subtree_control").split()
    missing = [name for name in wanted if name not in enabled]
    if not missing:
        return
    available = read_file(fd, "cgroup.controllers").split()
    # One that is not available is reported by the step that needs it.
    text = " ".join(f"+{name}" for name in missing if name in available)
    if not text:
        return
    try:
        write_file(fd, "cgroup.subtree_control", text)
    except OSError as error:
        if error.errno in _GONE:
            raise
        if wish.carrier and error.errno in _DENIED:
            return  # what is above a user's manager is not the user's; the step that needs it will tell
        where = branch.hierarchy.mount + "".join(f"/{part}" for part in branch.parts[:depth])
        hint = ""
        if error.errno == errno.EBUSY:
            hint = (
                "it has processes of its own, and cgroup v2 gives controllers to children only where "
                "there are none: choose a cgroupsPath elsewhere"
            )
        raise refuse_os(
            wish.step, wish.plugin, f"cannot enable {text} for children", error, path=where, hint=hint
        ) from error
