"""What the container mounts from the host: which detached copies, by :mod:`orlop_linux.init.sources`."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import StepError
from orlop_linux.init import failure, protocol, sources, syscalls
from orlop_linux.init.attributes import ACCESS_TIMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from orlop_hookspecs.plan import PlannedStep
    from orlop_linux.kernel.idmap import Maps

_PROPAGATION = {
    "rslave": syscalls.MS_SLAVE,
    "slave": syscalls.MS_SLAVE,
    "rprivate": syscalls.MS_PRIVATE,
    "private": syscalls.MS_PRIVATE,
    "unbindable": syscalls.MS_PRIVATE,
    "runbindable": syscalls.MS_PRIVATE,
}
AT_ONCE = min(32, protocol.FDS_PER_MESSAGE)
"""Sources that are open at the same time."""
_DEFAULT_DEVICES = "/linux/devices"
"""Because of what the default devices are made: no single one of the config (config-linux.md)."""


def _is_mounted_below(source: str) -> bool:
    """Tell whether something is mounted below *source*."""
    fd = sources.open_source(source)
    try:
        place = os.readlink(f"/proc/self/fd/{fd}").rstrip("/").encode(errors="surrogateescape") + b"/"
    finally:
        os.close(fd)
    with open("/proc/self/mountinfo", "rb") as file:
        return any(_unescape(line.split(b" ")[4]).startswith(place) for line in file)


def _unescape(path: bytes) -> bytes:
    """Return a path of /proc/PID/mountinfo as it is: blanks and the like stand there in octal (proc(5))."""
    if b"\\" not in path:
        return path
    first, *rest = path.split(b"\\")
    return first + b"".join(bytes((int(part[:3], 8),)) + part[3:] for part in rest)


def _is_below(path: str, places: Sequence[str]) -> bool:
    return any(path.startswith(f"{place.rstrip('/')}/") for place in places)


_MADE_INSIDE = frozenset({"MountCgroup", "MountFilesystem", "MountProc", "MountSysfs"})
"""Steps by which the container process makes mounts, beside those that it is sent."""


class Sources:
    """The detached mounts that one container needs, by key.

    Keys are ``root``, ``mount:<index>``, ``device:<index>`` and ``cgroup:<index>:<number>`` with the index of
    the step in phase ``container`` and the number of the cgroup mount. ``idmap:<index>`` is a user namespace,
    by which the container process maps the new file system of that step.

    All are opened or verified by :meth:`keys` before the container process does anything. Of more sources
    than :data:`AT_ONCE`, each is opened again when it is due: few descriptors are enough for any number.

    A copy for an entry of ``mounts`` is made when the entries before it have been mounted: since Linux 6.8
    mounts are listed in the order in which they were made, not attached, and that is to be the config's.
    """

    def __init__(  # noqa: PLR0913 - what is known of the container; all but the first two are keywords
        self,
        container: Sequence[PlannedStep],
        cgroup_mounts: Sequence[tuple[str, str, tuple[str, ...]]],
        *,
        user_namespace: int | None,
        own_network: bool,
        delegated: bool,
        nodes: bool,
        map_users: Callable[[Maps, Maps], int],
        announce_root: Callable[[int], None] | None = None,
    ) -> None:
        """Note what has to be opened; nothing is opened yet.

        Args:
            container: The steps of phase ``container``.
            cgroup_mounts: Name, host path and aliases of the container's own cgroup directories.
            user_namespace: Process id whose user namespace the container has; ``None``: the caller's own.
            own_network: The container has another network namespace than the caller.
            delegated: The engine may not mount: the container process opens the sources itself.
            nodes: The container process can make device nodes.
            map_users: Returns a descriptor of a new user namespace with these user and group id maps.
            announce_root: Called with the root that is bound in a shared mount namespace, before it is sent.
        """
        self._steps = container
        self._cgroups = cgroup_mounts
        self._user_namespace = user_namespace
        self._own_network = own_network
        self._delegated = delegated
        self.requests: list[tuple[str, int, str, dict[str, Any]]] = []
        """What the container process has to open, see :func:`orlop_linux.init.sources.open_all`."""
        self._map_users = map_users
        self._announce_root = announce_root
        self._propagation = 0
        self._jobs: list[tuple[str, int]] = []
        self._turns: dict[str, int] = {}
        furnished: list[str] = []
        turn = made = 0
        for index, planned in enumerate(container):
            name = type(planned.step).__name__
            step: Any = planned.step
            before = len(self._jobs)
            if name == "MountFilesystem":
                furnished.append(step.destination)
            if name == "PrepareRoot":
                self._propagation = _PROPAGATION.get(step.propagation, 0)
                self._jobs.append(("root", index))
            elif name in ("MountBind", "MountSysfs") or (
                name == "MountFilesystem" and self._is_made_here(step)
            ):
                self._jobs.append((f"mount:{index}", index))
            elif name == "MountFilesystem" and step.idmap is not None:
                self._jobs.append((f"idmap:{index}", index))
            elif name == "CreateDevice" and step.type in sources.KINDS:
                # Where the image itself holds the default devices, a container with a user namespace has left
                # mount points for them.
                spare = step.because == _DEFAULT_DEVICES and not _is_below(step.path, furnished)
                if not nodes or spare:
                    self._jobs.append((f"device:{index}", index))
            elif name == "MountCgroup":
                self._jobs += [(f"cgroup:{index}:{number}", index) for number in range(len(cgroup_mounts))]
            if name.startswith("Mount") and len(self._jobs) > before:
                turn = made
            self._turns.update((key, turn) for key, _ in self._jobs[before:])
            made += name in _MADE_INSIDE
        self._open_now: list[int] = []
        self._inside = -1

    def keys(self) -> list[str]:
        """Return the keys of all sources that are needed, in the order in which they are used.

        Raises:
            StepError: A source is missing or cannot be copied.
        """
        turns = self._turns
        self._jobs = [(self._key(key, index), index) for key, index in self._jobs]
        self._turns = dict(zip((key for key, _ in self._jobs), turns.values(), strict=True))
        few = len(self._jobs) <= AT_ONCE
        needed: list[tuple[str, int]] = []
        for job in self._jobs:
            due = few and not self._turns[job[0]]
            fd = self._attempt(*job, verify=not due)
            if fd is None:
                continue
            needed.append(job)
            if due:
                self._open_now.append(fd)
            else:
                os.close(fd)
        self._jobs = needed
        return [key for key, _ in needed]

    def batches(self) -> Iterator[list[int]]:
        """Yield the descriptors for the keys, in order, at most :data:`AT_ONCE` at a time; then close them.

        Raises:
            StepError: A source has vanished since it was verified.
        """
        if self._open_now:
            opened = len(self._open_now)
            yield self._open_now
            self.close()
            del self._jobs[:opened]
        while self._jobs:
            turn = self._turns[self._jobs[0][0]]
            batch = [job for job in self._jobs[:AT_ONCE] if self._turns[job[0]] == turn]
            del self._jobs[: len(batch)]
            for key, index in batch:
                fd = self._attempt(key, index, verify=False)
                if fd is None:
                    gone = OSError(errno.ESTALE, os.strerror(errno.ESTALE))
                    raise self._refuse(self._steps[index], gone)
                self._open_now.append(fd)
            yield self._open_now
            self.close()

    def _key(self, key: str, index: int) -> str:
        """Return ``place:<index>`` for a bind mount that the container process shall copy by itself.

        Its copy keeps the flags that the host's mount has, such as read-only: the kernel locked them when it
        gave the host's mounts to the container's user namespace (mount_namespaces(7)). A copy by the engine
        has no such locks, but can have other flags where the config says so, and can do without what is
        mounted below.
        """
        step: Any = self._steps[index].step
        if type(step).__name__ != "MountBind" or self._user_namespace is None or self._delegated:
            return key
        own_flags = step.cleared or step.recursive or not ACCESS_TIMES.keys().isdisjoint(step.attributes)
        if own_flags or step.idmap is not None or not self._propagation:
            return key
        try:
            if self._inside < 0:
                flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
                self._inside = os.open(f"/proc/{self._user_namespace}/root", flags)
            if not step.submounts and _is_mounted_below(step.source):
                return key
        except OSError:
            return key  # without CAP_SYS_PTRACE, or without the source, which is told when it is opened
        return f"place:{index}"

    def close(self) -> None:
        """Close what has been opened for the container process. Idempotent."""
        while self._open_now:
            os.close(self._open_now.pop())

    def end(self) -> None:
        """Close everything. Idempotent."""
        self.close()
        if self._inside >= 0:
            os.close(self._inside)
            self._inside = -1

    def _attempt(self, key: str, index: int, *, verify: bool) -> int | None:
        """Return a source, or to *verify* it perhaps only its place; ``None`` if it is not needed."""
        planned = self._steps[index]
        step: Any = planned.step
        try:
            plain = type(step).__name__ == "MountBind" and step.idmap is None
            if verify and plain and not self._delegated:
                return sources.open_source(step.source)
            fd = self._open(key, index, step)
            if fd is not None and key == "root" and step.bound and not verify and self._announce_root:
                self._announce_root(fd)
        except StepError as error:
            error.pointer, error.plugin = error.pointer or step.because, planned.plugin
            raise
        except OSError as error:
            raise self._refuse(planned, error) from error
        return fd

    @staticmethod
    def _refuse(planned: PlannedStep, error: OSError) -> StepError:
        from orlop_linux.kernel.mountfailures import explain, unopened

        step: Any = planned.step
        number = error.errno or errno.EIO
        if isinstance(error, failure.Refusal):
            made = explain(step, number, error.detail)
        elif type(step).__name__ == "MountFilesystem":
            made = explain(step, number, failure.DETAIL_NONE)
        else:
            made = unopened(step, number)
        made.plugin = planned.plugin
        return made

    def _open(self, key: str, index: int, step: Any) -> int | None:  # noqa: ANN401 - its class follows from the key
        if key.startswith("idmap:"):
            return self._users(step.idmap)
        if type(step).__name__ == "MountFilesystem":
            return self._filesystem(step)
        wanted = self._wanted(key, step)
        if wanted is None:
            return None
        if self._delegated:
            if key == "root" and step.bound:
                raise OSError(errno.EPERM, "")  # the caller could not take it off again
            if getattr(step, "idmap", None) is not None:
                # It is mapped by whoever owns the file system that is mounted, which the caller does not.
                raise failure.Refusal(errno.EPERM, failure.DETAIL_IDMAP)
            self._settle(key, step, -1)
            self.requests.append((key, index, *wanted))
            return None
        if key.startswith("place:"):
            how = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
            return syscalls.openat2(self._inside, os.fsencode(step.source), os.O_PATH, how)
        fd = sources.make(*wanted)
        if key.startswith("mount:") and getattr(step, "idmap", None) is not None:
            self._idmap(fd, step.idmap)
        fd = self._settle(key, step, fd)
        return fd if fd >= 0 else None

    def _settle(self, key: str, step: Any, fd: int) -> int:  # noqa: ANN401 - as above
        """Return *fd*, or where it is a device that is not as the config says, another node in its place."""
        if not key.startswith("device:") or not step.exact:
            return fd
        from orlop_linux.kernel import nodes

        if not self._delegated:
            return nodes.settle(fd, step, self._user_namespace)
        nodes.refuse_different(step.path, step, self._user_namespace)
        return fd

    def _wanted(self, key: str, step: Any) -> tuple[str, dict[str, Any]] | None:  # noqa: ANN401 - as above
        """Return function and arguments for a source; ``None`` if the container process needs none."""
        below = {"propagation": self._propagation}
        if key == "root":
            if step.bound:
                return "root", {"path": step.path, "detached": True, "propagation": syscalls.MS_PRIVATE}
            return "root", below | {"path": step.path, "detached": step.own_namespace}
        if key.startswith("cgroup:"):
            return "copy", below | {"path": self._cgroups[int(key.rpartition(":")[2])][1], "recursive": False}
        if key.startswith("device:"):
            return "device", {
                "path": step.path,
                "kind": step.type,
                "major": step.major,
                "minor": step.minor,
            }
        if type(step).__name__ == "MountSysfs":
            # A user namespace only gets a new sysfs of a network namespace that it owns. Where the container
            # has the caller's, that one's sysfs is what was asked for.
            needed = self._user_namespace is not None and not self._own_network
            return ("sysfs", below) if needed else None
        return "copy", below | {"path": step.source, "recursive": step.submounts}

    def _idmap(self, tree: int, idmap: dict[str, Any]) -> None:
        """Map the owners of a detached mount, or close it (mount_setattr(2))."""
        from orlop_linux.init import mounts

        try:
            users = self._users(idmap)
        except BaseException:
            os.close(tree)
            raise
        try:
            mounts.map_ids(tree, users, idmap)
        finally:
            os.close(users)

    def _is_made_here(self, step: Any) -> bool:  # noqa: ANN401 - a MountFilesystem
        """Tell whether a new file system is for the engine to make.

        One that is made in the container's user namespace belongs to it, and only maps of its children would
        do. A block device may be opened by the engine, but perhaps not by a process in the container's
        cgroup, whose rules are there from the beginning. What needs mount(2) is left to the container
        process, which has mounts of its own.
        """
        from orlop_linux.init import mounts

        if self._user_namespace is not None or self._delegated:
            return step.idmap is not None
        try:
            block = step.source[:1] == "/" and stat.S_ISBLK(os.stat(step.source).st_mode)
        except (OSError, ValueError):
            return False
        return block and not mounts.needs_mount_call(step.as_data())

    def _filesystem(self, step: Any) -> int:  # noqa: ANN401 - a MountFilesystem
        """Return a new file system of the caller's user namespace, id-mapped if it shall be."""
        from orlop_linux.init import mounts

        fields = step.as_data()
        # A container that could not mount a medium itself does not get it by asking for id maps as well; and
        # mount(2) would need a place in the caller's own mounts.
        own = self._user_namespace is None and not self._delegated
        if mounts.needs_mount_call(fields) or not (own or step.type in mounts.FURNISHED):
            raise failure.Refusal(errno.EPERM, failure.DETAIL_IDMAP)
        tree = mounts.make_filesystem(fields, mounts.split_readonly(fields)[0])
        if step.idmap is not None:
            self._idmap(tree, step.idmap)
        return tree

    def _users(self, idmap: dict[str, Any]) -> int:
        """Return a user namespace with the maps that a mount asks for; by default the container's own."""
        if idmap["uid"] or idmap["gid"]:
            return self._map_users(idmap["uid"], idmap["gid"])
        if self._user_namespace is None:
            raise failure.Refusal(errno.EOPNOTSUPP, failure.DETAIL_IDMAP)
        return os.open(f"/proc/{self._user_namespace}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
