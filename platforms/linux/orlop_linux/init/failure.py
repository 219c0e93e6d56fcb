"""How an operation of the child fails, as integers: place, errno and what an errno alone cannot say.

Imported by the child and by the commands that start a container; it imports nothing.
"""

from __future__ import annotations

OUTPUT_LIMIT = 4096
"""Bytes of a hook's output that a failure carries."""

_INTS = 4
_INT_SIZE = 8

# Where a failure happened, beside the phases of the plan.
PHASE_SPAWN = 0
PHASE_CONTAINER = 1
PHASE_CONFINED = 2
PHASE_EXEC = 3

# What an errno alone cannot say.
DETAIL_NONE = 0
DETAIL_NOT_IN_PATH = 1
DETAIL_HOOK_EXIT = 2
"""The hook's exit status stands in place of the errno."""
DETAIL_HOOK_SIGNAL = 3
"""The signal that ended the hook stands in place of the errno."""
DETAIL_HOOK_TIMEOUT = 4
DETAIL_HOOK_EXEC = 5
DETAIL_CWD = 6
DETAIL_UNKNOWN_STEP = 7
DETAIL_DIRECTORY = 8
"""The executable is a directory."""
DETAIL_CHDIR = 9
"""The errno is that of entering the working directory."""
DETAIL_AFFINITY = 10
"""The errno is that of setting the CPUs of a process that joins a container."""
DETAIL_SCORE = 11
"""The errno is that of setting the score for the OOM killer of such a process."""
DETAIL_CLOCK = 20
"""This and the next: the errno is that of setting a clock of the new time namespace, in the plan's order."""
DETAIL_NODES = 30
"""The kernel left out memory nodes."""
DETAIL_PROFILE = 31
"""The kernel has another AppArmor profile than the one that was written."""
DETAIL_TARGET = 40
"""The errno is that of the mount point: of resolving it, of making it, or of what may not be covered."""
DETAIL_ATTRIBUTES = 41
"""The errno is that of setting or clearing attributes of a mount."""
DETAIL_IDMAP = 42
"""The errno is that of id-mapping a mount."""
DETAIL_COPY = 43
"""The errno is that of copying what the image has into a new file system."""
DETAIL_SOURCE = 44
"""The errno is that of opening what is to be mounted from the host."""
DETAIL_ROOT = 45
"""The errno is that of finding the root file system in a mount namespace that others use as well."""
DETAIL_OPTION = 1000
"""This and above: the errno is that of an option of the file system, counted from here in its order."""


class Failure(Exception):  # noqa: N818 - it is raised, sent and never shown
    """An errno with a detail code and, for hooks, the end of their output."""

    def __init__(self, errno: int, detail: int, output: bytes = b"") -> None:
        """Keep the parts."""
        super().__init__(errno, detail)
        self.errno = errno
        self.detail = detail
        self.output = output


class Refusal(OSError):  # noqa: N818 - as above; whoever expects an OSError gets one
    """An OSError with a detail code."""

    def __init__(self, errno: int | None, detail: int) -> None:
        """Keep the parts."""
        super().__init__(errno or 0, "")
        self.detail = detail


class At:
    """Gives the refusals of a block their *detail*, unless they have one."""

    __slots__ = ("detail",)

    def __init__(self, detail: int) -> None:
        """Take the detail code."""
        self.detail = detail

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        """Raise a refusal in place of an OSError without details."""
        if isinstance(error, OSError) and not isinstance(error, Refusal):
            raise Refusal(error.errno, self.detail) from None


def pack_failure(phase: int, index: int, errno: int, detail: int, output: bytes = b"") -> bytes:
    """Return a failure as integers: phase, index of the step in it, errno, detail; then a hook's output."""
    head = b"".join(n.to_bytes(_INT_SIZE, "little", signed=True) for n in (phase, index, errno, detail))
    return head + output[-OUTPUT_LIMIT:]


def unpack_failure(payload: bytes) -> tuple[int, int, int, int, bytes] | None:
    """Return what :func:`pack_failure` packed; ``None`` when *payload* cannot be that."""
    size = _INTS * _INT_SIZE
    if not size <= len(payload) <= size + OUTPUT_LIMIT:
        return None
    phase, index, errno, detail = (
        int.from_bytes(payload[i : i + _INT_SIZE], "little", signed=True) for i in range(0, size, _INT_SIZE)
    )
    return phase, index, errno, detail, payload[size:]
