"""What the container mounts from the host, opened by the engine: detached copies of mounts, by descriptor.

The caller's view decides what a path means, and the child never looks up a host path. A copy is cut off from
the host's propagation before anything can happen in it.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import StepError
from orlop_linux.init import failure, syscalls

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
_KINDS = {"c": stat.S_ISCHR, "u": stat.S_ISCHR, "b": stat.S_ISBLK}


def open_source(path: str) -> int:
    """Return an O_PATH descriptor of *path*.

    Magic links are refused: behind them are descriptors of this very process.
    """
    return syscalls.openat2(syscalls.AT_FDCWD, os.fsencode(path), os.O_PATH, syscalls.RESOLVE_NO_MAGICLINKS)


def _clone(fd: int, *, recursive: bool, propagation: int) -> int:
    flags = syscalls.OPEN_TREE_CLONE | syscalls.AT_EMPTY_PATH
    tree = syscalls.open_tree(fd, b"", flags | (syscalls.AT_RECURSIVE if recursive else 0))
    if propagation:
        syscalls.mount_setattr(tree, propagation=propagation, recursive=True)
    return tree


class Sources:
    """The detached mounts that one container needs, by key.

    Keys are ``root``, ``mount:<index>`` and ``device:<index>`` with the index of the step in phase
    ``container``, and ``cgroup:<index>`` with the index of the cgroup mount. ``idmap:<index>`` is a user
    namespace, by which the container process maps the new file system of that step.
    """

    def __init__(
        self,
        container: Sequence[PlannedStep],
        cgroup_mounts: Sequence[tuple[str, str, tuple[str, ...]]],
        *,
        user_namespace: int | None,
        own_network: bool,
        map_users: Callable[[Maps, Maps], int],
    ) -> None:
        """Note what has to be opened; nothing is opened yet.

        Args:
            container: The steps of phase ``container``.
            cgroup_mounts: Name, host path and aliases of the container's own cgroup directories.
            user_namespace: Process id whose user namespace the container has; ``None``: the caller's own.
            own_network: The container has another network namespace than the caller.
            map_users: Returns a descriptor of a new user namespace with these user and group id maps.
        """
        self._steps = container
        self._cgroups = cgroup_mounts
        self._user_namespace = user_namespace
        self._own_network = own_network
        self._map_users = map_users
        self._propagation = 0
        self._jobs: list[tuple[str, int]] = []
        for index, planned in enumerate(container):
            name = type(planned.step).__name__
            step: Any = planned.step
            if name == "PrepareRoot":
                self._propagation = _PROPAGATION.get(step.propagation, 0)
                self._jobs.append(("root", index))
            elif name in ("MountBind", "MountSysfs"):
                self._jobs.append((f"mount:{index}", index))
            elif name == "MountFilesystem" and step.idmap is not None:
                # A file system that is made in the container's user namespace belongs to it, and only maps of
                # its children would do. So the engine makes it.
                made_by = "idmap" if user_namespace is None else "mount"
                self._jobs.append((f"{made_by}:{index}", index))
            elif name == "CreateDevice" and user_namespace is not None and step.type in _KINDS:
                self._jobs.append((f"device:{index}", index))
            elif name == "MountCgroup":
                self._jobs += [(f"cgroup:{number}", index) for number in range(len(cgroup_mounts))]

    def open(self) -> Iterator[tuple[str, int]]:
        """Yield key and descriptor of each source; the receiver closes them.

        Raises:
            StepError: A source is missing or cannot be copied.
        """
        for key, index in self._jobs:
            planned = self._steps[index]
            try:
                fd = self._open(key, planned.step)
            except StepError as error:
                error.pointer, error.plugin = planned.step.because, planned.plugin
                raise
            except OSError as error:
                raise self._refuse(key, planned, error) from error
            if fd is not None:
                yield key, fd

    @staticmethod
    def _refuse(key: str, planned: PlannedStep, error: OSError) -> StepError:
        from orlop_linux.kernel.mountfailures import explain

        step: Any = planned.step
        number = error.errno or errno.EIO
        if isinstance(error, failure.Refusal):
            made = explain(step, number, error.detail)
        else:
            path = step.path if key == "root" else getattr(step, "source", "") or getattr(step, "path", "")
            what, pointer = f"{key} of the host", step.because
            if key == "root":
                what = f"the root file system {path}"
            elif key.startswith("mount:"):
                what, pointer = f"the mount source {path or '/sys'}", f"{step.because}/source"
            elif key.startswith("device:"):
                what = f"the device {path}"
            hint = ""
            if number == errno.ELOOP:
                hint = "a source may not be a magic link of /proc, nor a loop of symbolic links"
            made = StepError(
                f"cannot open {what}: {os.strerror(number).lower()}", pointer=pointer, errno=number, hint=hint
            )
        made.plugin = planned.plugin
        return made

    def _open(self, key: str, step: Any) -> int | None:  # noqa: ANN401 - the step's class follows from the key
        if key == "root":
            return self._root(step)
        if key.startswith("cgroup:"):
            path = self._cgroups[int(key[7:])][1]
            return self._copy(path, recursive=False)
        if key.startswith("device:"):
            return self._device(step)
        if key.startswith("idmap:"):
            return self._users(step.idmap)
        return self._mount(step)

    def _mount(self, step: Any) -> int | None:  # noqa: ANN401 - one of the mount steps
        """Return the detached mount for *step*; ``None`` if the container process can make it itself."""
        name = type(step).__name__
        if name == "MountSysfs":
            # A user namespace only gets a new sysfs of a network namespace that it owns. Where the container
            # has the caller's, that one's sysfs is what was asked for.
            needed = self._user_namespace is not None and not self._own_network
            return self._sysfs() if needed else None
        if name == "MountFilesystem":
            return self._mapped_filesystem(step)
        tree = self._copy(step.source, recursive=step.submounts)
        if step.idmap is not None:
            self._idmap(tree, step.idmap)
        return tree

    def _copy(self, path: str, *, recursive: bool) -> int:
        fd = open_source(path)
        try:
            return _clone(fd, recursive=recursive, propagation=self._propagation)
        finally:
            os.close(fd)

    def _sysfs(self) -> int:
        """Return the caller's own sysfs, without what is mounted below it as far as the kernel allows that.

        Nobody asked for the host's mounts below. Where they are locked together by the owner of another user
        namespace (mount_namespaces(7)) they come along, read-only: the cgroups of the caller are among them.
        """
        try:
            return self._copy("/sys", recursive=False)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        tree = self._copy("/sys", recursive=True)
        try:
            syscalls.mount_setattr(tree, set_=syscalls.MOUNT_ATTR_RDONLY, recursive=True)
            try:
                syscalls.mount_setattr(tree, clear=syscalls.MOUNT_ATTR_RDONLY)
            except PermissionError:
                pass  # it is read-only for its owner as well
        except BaseException:
            os.close(tree)
            raise
        return tree

    def _root(self, step: Any) -> int:  # noqa: ANN401 - a PrepareRoot
        fd = syscalls.openat2(
            syscalls.AT_FDCWD,
            os.fsencode(step.path),
            os.O_PATH | os.O_DIRECTORY,
            syscalls.RESOLVE_NO_MAGICLINKS,
        )
        if not step.own_namespace:
            return fd
        try:
            tree = _clone(fd, recursive=True, propagation=self._propagation)
        finally:
            os.close(fd)
        if not self._propagation:
            # pivot_root(2) refuses a shared root; the config's propagation is set after the switch.
            syscalls.mount_setattr(tree, propagation=syscalls.MS_PRIVATE)
        return tree

    def _device(self, step: Any) -> int | None:  # noqa: ANN401 - a CreateDevice
        """Return the host's node for a container that may not make nodes; ``None`` if there is none."""
        try:
            fd = open_source(step.path)
        except FileNotFoundError:
            return None
        try:
            info = os.fstat(fd)
            same = os.major(info.st_rdev), os.minor(info.st_rdev)
            if not _KINDS[step.type](info.st_mode) or same != (step.major, step.minor):
                return None
            return _clone(fd, recursive=False, propagation=syscalls.MS_PRIVATE)
        finally:
            os.close(fd)

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

    def _mapped_filesystem(self, step: Any) -> int:  # noqa: ANN401 - a MountFilesystem
        """Return a new file system of the caller's user namespace, id-mapped."""
        from orlop_linux.init import mounts

        fields = step.as_data()
        # A container that could not mount a medium itself does not get it by asking for id maps as well; and
        # mount(2) would need a place in the caller's own mounts.
        if step.type not in mounts.FURNISHED or mounts.needs_mount_call(fields):
            raise failure.Refusal(errno.EPERM, failure.DETAIL_IDMAP)
        tree = mounts.make_filesystem(fields, mounts.split_readonly(fields)[0])
        self._idmap(tree, step.idmap)
        return tree

    def _users(self, idmap: dict[str, Any]) -> int:
        """Return a user namespace with the maps that a mount asks for; by default the container's own."""
        if idmap["uid"] or idmap["gid"]:
            return self._map_users(idmap["uid"], idmap["gid"])
        if self._user_namespace is None:
            raise failure.Refusal(errno.EOPNOTSUPP, failure.DETAIL_IDMAP)
        return os.open(f"/proc/{self._user_namespace}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
