"""System calls by name and number: what a platform knows of the architectures of its machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from orlop_hookspecs.frozen import Frozen, frozen


@frozen
class CallTable(Frozen):
    """Some system calls of one architecture."""

    architecture: str
    """Name as in ``linux.seccomp.architectures`` (``SCMP_ARCH_X86_64``)."""
    numbers: Mapping[str, int]
    """Number by name; a name that is missing is no call of the architecture, or not known here."""
    hidden: Mapping[str, tuple[str, int, int]]
    """Calls behind a multiplexer (socketcall(2), ipc(2)): its name, the selector in its first argument, and
    the bits of that argument that are compared."""
    last: int
    """The largest number that a future call can have."""


class Resolver(Protocol):
    """A kernel that knows system calls; not every kernel does."""

    def call_table(self, architecture: str, names: Sequence[str]) -> CallTable | None:
        """Return what is known of *names* on *architecture* (empty: the machine's own).

        Returns:
            ``None`` when nothing is known of the architecture.

        Raises:
            PlatformError: The host lacks what knows system calls.
        """
