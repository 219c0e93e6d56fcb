"""The whole of the Linux platform: :class:`LinuxLive` that can also create."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orlop_linux.kernel.needs import require
from orlop_linux.kernel.sandbox import Sandbox
from orlop_linux.live.kernel import LinuxLive

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orlop_hookspecs.availability import Answer, Capability
    from orlop_hookspecs.calls import CallTable
    from orlop_hookspecs.kernel import Entry, Journal, Store
    from orlop_hookspecs.launch import ExecOptions, LaunchOptions
    from orlop_hookspecs.plan import Plan
    from orlop_hookspecs.record import Record
    from orlop_linux.kernel.cgroups.hierarchies import Hierarchy
    from orlop_linux.kernel.spawn import Launch
    from orlop_linux.kernel.zygote import Zygote


class LinuxKernel(LinuxLive):
    """Implements :class:`orlop_hookspecs.kernel.Kernel`; safe to use from several threads.

    Args:
        cgroup_root: Only cgroup hierarchies that are mounted at or below this directory are used; empty: all.
        resctrl_root: Where the resctrl file system is mounted; empty: at /sys/fs/resctrl.
    """

    def __init__(self, *, cgroup_root: str = "", resctrl_root: str = "") -> None:
        """Begin; nothing is touched and no helper is started."""
        super().__init__()
        from _thread import allocate_lock

        self.cgroup_root = cgroup_root
        self.resctrl_root = resctrl_root
        self._zygote: Zygote | None = None
        self._lock = allocate_lock()

    def store(self) -> Store | None:
        """Return ``None``: Linux containers are kept in a directory on disk."""
        return None

    def sandbox(self, plan: Plan, record: Record, journal: Journal, options: LaunchOptions) -> Sandbox:
        """Begin a creation; nothing has been touched yet.

        Raises:
            PlatformError: The kernel lacks a system call that every container needs.
        """
        require(record.id)
        return Sandbox(self, plan, record, journal, options)

    def close(self) -> None:
        """End the zygote; containers live on. Idempotent."""
        with self._lock:
            if self._zygote is not None:
                self._zygote.close()
                self._zygote = None

    def launch(self, record: Record, options: LaunchOptions, first: Zygote | None = None) -> Launch:
        """Return the launch of one container process; the zygote is started on first use.

        With *first* the process itself is cloned from that one, and whatever helps it later from ours.
        """
        from orlop_linux.kernel.spawn import Launch

        return Launch(self._own_zygote(), record, options, first)

    def _own_zygote(self) -> Zygote:
        from orlop_linux.kernel.zygote import Zygote

        with self._lock:
            if self._zygote is None:
                self._zygote = Zygote()
            return self._zygote

    def enter(self, record: Record, plan: Plan, options: ExecOptions) -> Entry:
        """Make one more process in the container; it then waits for its start."""
        from orlop_linux.kernel.entry import enter

        entry = enter(self._own_zygote(), record, plan, options, resctrl_root=self.resctrl_root)
        self._ends.add_guest((record.pid, record.start_time), (entry.pid, entry.start_time))
        return entry

    def examine(self, asked: Sequence[Capability]) -> Mapping[str, Answer]:
        """Answer what this host has and what the caller may do, see :mod:`orlop_linux.kernel.examine`."""
        from orlop_linux.kernel.examine.answers import examine

        return examine(self, asked)

    def call_table(self, architecture: str, names: Sequence[str]) -> CallTable | None:
        """Return what libseccomp knows of system calls (:class:`orlop_hookspecs.calls.Resolver`)."""
        from orlop_linux.kernel.seccomp_calls import call_table

        return call_table(architecture, names)

    def hierarchies(self) -> list[Hierarchy]:
        """Return the cgroup hierarchies as they are mounted now."""
        from orlop_linux.kernel.cgroups.hierarchies import find_hierarchies

        return find_hierarchies(self.cgroup_root)

    def unprivileged(self) -> bool:
        """Tell whether the caller lacks the privileges of the initial user namespace's root.

        Root in a user namespace has user id 0; what it is worth stands in its id map (user_namespaces(7)).
        """
        from orlop_linux.kernel.unprivileged import in_user_namespace

        return os.geteuid() != 0 or in_user_namespace()
