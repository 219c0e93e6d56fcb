"""What the container child knows and holds while it executes its steps."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import resource

from orlop_linux.init import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any


_FEW = 16
"""Late mounts whose descriptors are like others."""
_BEYOND = 1 << 16
"""Where the further ones begin at most: the kernel keeps a table up to the last descriptor."""


class Context:
    """One container's descriptors and facts; every operation gets it as its first argument.

    All descriptors are close-on-exec. Those of mounts are closed at the end of phase ``confined``: the child
    that waits for ``start`` holds nothing of the host's files.
    """

    __slots__ = (
        "attributes_fd", "cgroup_mounts", "console_fd", "entered", "execute_fields", "filters", "handover",
        "has_userns", "keep_groups",
        "late_readonly", "listen_fds", "loader", "mask_fd", "more", "new_namespaces", "null_fd", "pending",
        "prepared", "preserved", "proc_fd", "process_env", "root_fd", "settled", "state", "status_fd",
        "stdio", "trees", "umask",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 - one argument for each fact
        self,
        *,
        root_fd: int = -1,
        proc_fd: int = -1,
        attributes_fd: int = -1,
        trees: Mapping[str, int] | None = None,
        pending: Iterable[str] = (),
        more: Callable[[], list[int]] | None = None,
        has_userns: bool = False,
        new_namespaces: frozenset[str] = frozenset(),
        null_fd: int = -1,
        cgroup_mounts: Sequence[tuple[str, tuple[str, ...]]] = (),
        stdio: Sequence[int] = (),
        preserved: Sequence[int] = (),
        console_fd: int = -1,
        filters: Mapping[int, tuple[bytes, int]] | None = None,
        state: str = "",
        listen_fds: int = 0,
        process_env: Sequence[str] = (),
    ) -> None:
        """Take over the descriptors."""
        self.root_fd = root_fd
        """The root mount, O_PATH; made by PrepareRoot from the tree ``root``."""
        self.proc_fd = proc_fd
        """A procfs that the container cannot replace."""
        self.attributes_fd = attributes_fd
        """The directory of the process's security attributes as a mount, where there is no procfs."""
        self.trees: dict[str, int] = dict(trees or {})
        """Detached mounts from the engine by key: ``root``, ``mount:<index>``, ``cgroup:<index>:<n>``,
        ``device:<index>``; ``idmap:<index>`` is a user namespace. Each is taken once.

        The engine has given them the propagation that the host's mounts get in the container's namespace.
        """
        self.pending: dict[str, bool] = dict.fromkeys(pending, True)
        """Keys of the trees that have not come yet, in their order, and whether each is wanted.

        There may be more trees than the process may have descriptors: they come when they are needed."""
        self.more = more
        """Returns the next trees."""
        self.has_userns = has_userns
        self.new_namespaces = new_namespaces
        self.null_fd = null_fd
        """/dev/null as a mount of its own, see :mod:`orlop_linux.init.protect`."""
        self.mask_fd = -1
        """The empty file system that covers masked directories, once there is one."""
        self.late_readonly: list[int] = []
        """Mounts that become read-only when phase ``container`` is over."""
        self.cgroup_mounts = list(cgroup_mounts)
        """Name ("" for the one unified hierarchy) and further names of each cgroup mount."""
        self.stdio = tuple(stdio)
        self.preserved = list(preserved)
        self.console_fd = console_fd
        self.filters: dict[int, tuple[bytes, int]] = dict(filters or {})
        self.state = state
        self.listen_fds = listen_fds
        self.process_env = list(process_env)
        self.status_fd = -1
        self.keep_groups = False
        """Whether the supplementary groups stay the caller's (KeepGroups)."""
        self.umask = 0o022
        """The caller's umask: config.md lets the program inherit it when the config sets none."""
        self.settled = False
        """Whether descriptors and signals are as the program shall have them."""
        self.entered = False
        """Whether the working directory is the program's already."""
        self.prepared: tuple[Any, ...] = ()
        self.execute_fields: dict[str, Any] | None = None
        self.loader: Any = None
        """What has loaded the filter."""
        self.handover: Any = None
        """The page through which failures are told once a filter with a listener is loaded."""

    def has(self, key: str) -> bool:
        """Tell whether the tree *key* is there or will come."""
        return key in self.trees or key in self.pending

    def take(self, key: str) -> int:
        """Return the tree *key*; the caller closes it.

        Raises:
            OSError: EBADF: the engine does not send it, or it was taken before.
        """
        while key in self.pending:
            self._receive()
        fd = self.trees.pop(key, -1)
        if fd < 0:
            raise OSError(errno.EBADF, "")
        return fd

    def _receive(self) -> None:
        """Take the next trees in."""
        fds = self.more() if self.more is not None else []
        names = list(itertools.islice(self.pending.items(), len(fds)))
        for (name, wanted), fd in zip(names, fds, strict=False):
            del self.pending[name]
            if wanted:
                self.trees[name] = fd
            else:
                os.close(fd)
        if not fds or len(names) < len(fds):
            raise OSError(errno.EBADF, "")

    def discard(self, key: str) -> None:
        """Close the tree *key* if it is there, or as soon as it comes."""
        if key in self.pending:
            self.pending[key] = False
        fd = self.trees.pop(key, -1)
        if fd >= 0:
            os.close(fd)

    def make_readonly_late(self, mount: int) -> None:
        """Make *mount* read-only when the root has been furnished.

        Until then a descriptor is needed for each such mount. The first ones are like others; more of them
        lie beyond the soft limit of the process, which is back right afterwards: those below it stay free.
        """
        if len(self.late_readonly) < _FEW:
            self.late_readonly.append(fcntl.fcntl(mount, fcntl.F_DUPFD_CLOEXEC, 3))
            return
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        try:
            floor = min(soft, _BEYOND) if 0 <= soft < hard else 3
            self.late_readonly.append(fcntl.fcntl(mount, fcntl.F_DUPFD_CLOEXEC, floor))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    def seal(self) -> None:
        """Make the mounts read-only that had to stay writable while the root was furnished."""
        while self.late_readonly:
            fd = self.late_readonly.pop()
            try:
                syscalls.mount_setattr(fd, set_=syscalls.MOUNT_ATTR_RDONLY)
            finally:
                os.close(fd)

    def end_of_phase(self, phase: str) -> None:
        """Do what is due when all steps of *phase* have been executed."""
        if phase == "container":
            self.seal()
        elif phase == "confined":
            self.close()

    def close(self) -> None:
        """Close all descriptors of mounts."""
        fds = [
            self.root_fd,
            self.proc_fd,
            self.attributes_fd,
            self.null_fd,
            self.mask_fd,
            *self.trees.values(),
            *self.late_readonly,
        ]
        self.root_fd = self.proc_fd = self.attributes_fd = self.null_fd = self.mask_fd = -1
        self.trees.clear()
        self.late_readonly.clear()
        for fd in fds:
            if fd >= 0:
                os.close(fd)
