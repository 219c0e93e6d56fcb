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


class Failure(Exception):  # noqa: N818 - it is raised, sent and never shown
    """An errno with a detail code and, for hooks, the end of their output."""

    def __init__(self, errno: int, detail: int, output: bytes = b"") -> None:
        """Keep the parts."""
        super().__init__(errno, detail)
        self.errno = errno
        self.detail = detail
        self.output = output


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
