"""The fake kernel: a whole machine in memory, as :class:`orlop_hookspecs.kernel.Kernel` describes it.

Everything is deterministic: no wall clock, no chance, no dependence on what the real host is. Only the root
file system and the bundle of a container may be real directories; they are read, never written to.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from orlop_fake.entry import FakeEntry
from orlop_fake.execute.finish import check_filters
from orlop_fake.live import LiveMachine
from orlop_fake.sandbox import FakeSandbox
from orlop_fake.versions import REMEDY, lacking
from orlop_hookspecs.errors import PlatformError

if TYPE_CHECKING:
    from orlop_fake.store import MemoryStore
    from orlop_fake.view import FakeView
    from orlop_hookspecs.kernel import Journal
    from orlop_hookspecs.launch import ExecOptions, LaunchOptions
    from orlop_hookspecs.plan import Plan
    from orlop_hookspecs.record import Record


class FakeKernel(LiveMachine):
    """A deterministic Linux in memory that executes the plans of orlop.

    Args:
        files: Seed of the host's file system, grown over the usual directories (see :mod:`orlop_fake.vfs`).
        programs: Programs by the path of their executable (see :mod:`orlop_fake.programs`).
        hooks: Callables for hooks of the config by path (see :mod:`orlop_fake.hooks`).
        cgroups: ``v2``, ``v1``, ``hybrid`` or ``none``.
        resctrl: The machine's resource control; ``None``: it has none.
        systemd: Whether systemd is the machine's init, which can then make cgroups.
        host: What hardware there is.
        uid: User id of the runtime; other than 0, the kernel refuses what it refuses an unprivileged user.
        groups: Supplementary groups of the runtime; a container has them only when its plan keeps them.
        hostname: The host's name.
    """

    name = "fake"

    def store(self) -> MemoryStore:
        """Return the store in memory."""
        return self.memory

    def sandbox(self, plan: Plan, record: Record, journal: Journal, options: LaunchOptions) -> FakeSandbox:
        """Begin a creation; nothing has been touched yet.

        Raises:
            PlatformError: The kernel is too old for any container.
            StepError: A filter cannot be compiled, or its agent is not there.
        """
        with self.lock:
            self.check_alive()
            self._require_calls(record)
            check_filters(self, plan)
            made = FakeSandbox(self, plan, record, journal, options)
            self.sandboxes[made] = None
            self.open_sandboxes[made] = None
            if record.bundle:
                self.show_disk(record.bundle)
            return made

    def _require_calls(self, record: Record) -> None:
        """Refuse what the Linux platform refuses on a kernel without the calls that it needs."""
        why = lacking(self.host.linux)
        if why:
            raise PlatformError(why, container=record.id, errno=errno.ENOSYS, hint=f"use {REMEDY}")

    def enter(self, record: Record, plan: Plan, options: ExecOptions) -> FakeEntry:
        """Make one more process in a container; it then waits for its start.

        Raises:
            StateError: The container has stopped.
            StepError: A step is refused; the process has ended.
        """
        with self.lock:
            self.check_alive()
            check_filters(self, plan)
            entry = FakeEntry(self, record, options)
            self.sandboxes[entry] = None
            self.open_sandboxes[entry] = None
            try:
                entry.enter(plan)
            except BaseException:
                entry.close()
                raise
            return entry

    def host_view(self) -> FakeView:
        """Return the machine's files."""
        from orlop_fake.view import FakeView

        return FakeView(self)

    def close(self) -> None:
        """Do nothing: there are no helpers. Idempotent."""
