"""The state of all containers, in memory: what a directory under /run is for a real runtime."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from orlop_fake.faults import CALL
from orlop_fake.refusals import DeadlockError, RuntimeCrash
from orlop_hookspecs.errors import ContainerExistsError, ContainerNotFoundError, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop_fake.machine import Machine


class _Entry:
    __slots__ = ("files", "holder", "removed")

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.holder: MemorySlot | None = None
        self.removed = False


class MemorySlot:
    """One container's place, as :class:`orlop_hookspecs.kernel.Slot` describes it."""

    __slots__ = ("_container", "_entry", "_generation", "_kernel", "_thread")

    def __init__(self, kernel: Machine, container: str, entry: _Entry) -> None:
        """Open the place *entry* of *container*."""
        self._kernel = kernel
        self._container = container
        self._entry = entry
        self._generation = kernel.generation
        self._thread = threading.get_ident()

    @property
    def path(self) -> str:
        """Empty: there is no directory."""
        return ""

    @property
    def thread(self) -> int:
        """The thread that opened the slot."""
        return self._thread

    def read(self, name: str) -> bytes | None:
        """Return the content of *name*, or ``None``."""
        with self._kernel.lock:
            self._check()
            return self._entry.files.get(name)

    def write(self, name: str, data: bytes) -> None:
        """Replace the content of *name*."""
        with self._kernel.lock:
            self._check()
            faults = self._kernel.faults
            if faults.armed:
                faults.before(CALL, f"slot.write:{name}")
            self._entry.files[name] = bytes(data)
            if faults.armed:
                faults.after(CALL, f"slot.write:{name}")

    def append(self, name: str, data: bytes) -> None:
        """Append *data* to *name*."""
        with self._kernel.lock:
            self._check()
            faults = self._kernel.faults
            if faults.armed:
                faults.before(CALL, f"slot.append:{name}")
            self._entry.files[name] = self._entry.files.get(name, b"") + data
            if faults.armed:
                faults.after(CALL, f"slot.append:{name}")

    def remove(self) -> None:
        """Remove the place; the identifier is free again. Idempotent."""
        with self._kernel.lock:
            self._check()
            if self._entry.removed:
                return
            faults = self._kernel.faults
            if faults.armed:
                faults.before(CALL, "slot.remove")
            self._entry.removed = True
            self._kernel.memory.forget(self._container, self._entry)
            if faults.armed:
                faults.after(CALL, "slot.remove")

    def close(self) -> None:
        """Release the lock. Idempotent."""
        with self._kernel.lock:
            if self._entry.holder is self:
                self._entry.holder = None
                self._kernel.condition.notify_all()

    def _check(self) -> None:
        if not self._kernel.generation:
            return
        self._kernel.check_alive()
        if self._generation != self._kernel.generation:
            raise RuntimeCrash("the runtime that opened this slot is dead")


class MemoryStore:
    """All containers of one kernel, as :class:`orlop_hookspecs.kernel.Store` describes it."""

    __slots__ = ("_entries", "_kernel")

    def __init__(self, kernel: Machine) -> None:
        """Be empty."""
        self._kernel = kernel
        self._entries: dict[str, _Entry] = {}

    def create(self, container: str) -> MemorySlot:
        """Take *container* and return its locked slot."""
        kernel = self._kernel
        with kernel.lock:
            kernel.check_alive()
            faults = kernel.faults
            if faults.armed:
                faults.before(CALL, "store.create")
            if container in self._entries:
                raise ContainerExistsError("container with given ID already exists", container=container)
            entry = self._entries[container] = _Entry()
            entry.holder = slot = MemorySlot(kernel, container, entry)
            if faults.armed:
                faults.after(CALL, "store.create")
            return slot

    def open(self, container: str, *, wait: bool = True) -> MemorySlot:
        """Return the slot of an existing container: locked, or only to be read with ``wait=False``.

        Raises:
            ContainerNotFoundError: There is no such container.
            DeadlockError: The calling thread holds the lock itself.
        """
        kernel = self._kernel
        with kernel.lock:
            kernel.check_alive()
            while True:
                entry = self._entries.get(container)
                if entry is None:
                    raise ContainerNotFoundError(
                        "container does not exist", container=container, value=container
                    )
                slot = MemorySlot(kernel, container, entry)
                if not wait:
                    return slot
                holder = entry.holder
                if holder is None:
                    entry.holder = slot
                    return slot
                if holder.thread == threading.get_ident():
                    raise DeadlockError(f"container {container} is locked by the caller itself")
                kernel.condition.wait()

    def list(self) -> Sequence[str]:
        """Return all identifiers, sorted."""
        with self._kernel.lock:
            self._kernel.check_alive()
            return sorted(self._entries)

    def forget(self, container: str, entry: _Entry) -> None:
        """Remove the place of *container*, if it is still this one."""
        if self._entries.get(container) is entry:
            del self._entries[container]

    def unlock_all(self) -> None:
        """Release every lock, as the kernel does with flock(2) when a process dies."""
        for entry in self._entries.values():
            entry.holder = None
        self._kernel.condition.notify_all()

    def names(self) -> Sequence[str]:
        """Return all identifiers, sorted; for reports, not for a runtime."""
        return sorted(self._entries)

    def locked(self) -> Sequence[str]:
        """Return the identifiers whose slot is open and locked, sorted."""
        return sorted(name for name, entry in self._entries.items() if entry.holder is not None)

    def free_unused(self) -> None:
        """Free the identifiers under which nothing was ever stored and that nobody holds."""
        for name, entry in list(self._entries.items()):
            if not entry.files and entry.holder is None:
                del self._entries[name]

    def corrupt(self, container: str, name: str, data: bytes) -> None:
        """Replace stored data behind the runtime's back, for tests of damaged state."""
        entry = self._entries.get(container)
        if entry is None:
            raise StoreError("there is no such container", container=container)
        entry.files[name] = data
