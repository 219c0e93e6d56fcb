"""The page of memory through which a filter's listener is handed over: who writes what into which byte.

While a filter may already forbid or report every system call, the child that has loaded it can still read and
write memory. The page is shared by the child, its helper and the command that starts the container; see
:mod:`orlop_linux.init.listener`. Imported on both sides; it imports nothing.
"""

from __future__ import annotations

SIZE = 4096

LOADED = 0
"""Written by the child: :data:`YES` when the filter is loaded, :data:`NO` when it will not be."""
VERDICT = 1
"""Written by the command: :data:`YES`, go on; or by the helper when the command is gone: :data:`NO`, end."""
FAILED = 2
"""Written by the child: :data:`YES` when a later step has failed and :data:`FAILURE` says how."""
NUMBER = 4
"""Written by the child before all else: the descriptor that the listener will be, four bytes."""
FAILURE = 64
"""What :func:`orlop_linux.init.failure.pack_failure` made, without a hook's output."""
FAILURE_SIZE = 32

NOTHING, YES, NO = 0, 1, 2

ANNOUNCED = b"N"
"""From the child: a listener will come. With the page and a pidfd of the helper."""
LISTENER = b"L"
"""From the helper: the listener."""
DELIVERED = b"g"
"""From the command: the agent has it."""
