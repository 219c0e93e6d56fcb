"""Loading a filter with a listener: nothing waits for the listener before it is where it belongs.

The listener is a descriptor of the process that loads the filter, and it has to reach the command that
starts the container, which passes it on to the seccomp agent. From the moment the filter is loaded, each
system call of the child may be one that waits for the agent. So the child makes none until the agent has the
listener:

1. It clones a helper that shares its descriptors and is not filtered, tells the command of it, and then loads
   the filter. That the filter is there it writes into memory, and reads there whether it may go on.
2. The helper sends the listener to the command and closes it: the agent's copy has to be the only one, or
   calls would wait for an agent that has died.
3. The command stops the child by a signal, so that it keeps no processor busy while an agent takes its time.
   A process cannot wait by itself without a system call.
4. The command delivers the listener, and answers. Then the helper ends, and reaps itself; its end is what the
   command waits for before it lets the child go on. So the program of the container has no child that it does
   not know.

If the command ends meanwhile, the helper tells the child to end, and continues it. If the helper ends, the
child gives up by itself after a while. It ends by an access to no memory: exit_group(2) is a call, too.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # typeshed has only signal
import _socket as socket
import mmap
import os
import time
from itertools import repeat

from orlop_linux.init import handover, protocol, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from orlop_linux.init.context import Context

_PATIENCE = 1 << 30
"""Looks at the verdict: some tens of seconds, of which the child is stopped for most."""

_NAP = 0.0002
"""Seconds between the helper's looks; who waits by running is let run last."""


def load(context: Context, flags: int, program: bytes) -> None:
    """Load a filter whose *flags* ask for a listener; return when the agent has it.

    Raises:
        OSError: It was not loaded.
    """
    memory = syscalls.memory_file("handover")
    os.ftruncate(memory, handover.SIZE)
    page = mmap.mmap(memory, handover.SIZE)
    # Kept: memory that is given back may be given back by a system call.
    loader = context.loader = syscalls.prepare_seccomp(flags, program)
    # The helper must not become a zombie of the program's; execve(2) takes the flag away again.
    syscalls.default_signal(signal.SIGCHLD, syscalls.SA_NOCLDWAIT)
    parent = os.getpid()
    pid, pidfd = syscalls.clone3(syscalls.CLONE_FILES)
    if pid == 0:
        _help(page, context.status_fd, parent)
    try:
        _send(context.status_fd, handover.ANNOUNCED, (memory, pidfd))
        os.close(memory)
        os.close(pidfd)
        free = os.dup(context.status_fd)
        os.close(free)
        page[handover.NUMBER : handover.NUMBER + 4] = free.to_bytes(4, "little")
        loader()
    except OSError:
        page[handover.LOADED] = handover.NO
        raise
    # From here to the verdict: no system call, no new object.
    page[handover.LOADED] = handover.YES
    for _ in repeat(None, _PATIENCE):
        if page[handover.VERDICT]:
            break
    if page[handover.VERDICT] != handover.YES:
        syscalls.crash()
    context.handover = page


def fail(page: mmap.mmap, packed: bytes) -> None:
    """Tell the command of a failure without a system call."""
    page[handover.FAILURE : handover.FAILURE + handover.FAILURE_SIZE] = packed[: handover.FAILURE_SIZE]
    page[handover.FAILED] = handover.YES


def _send(fd: int, kind: bytes, fds: tuple[int, ...]) -> None:
    connection = socket.socket(fileno=fd)
    try:
        protocol.send(connection, kind, b"", fds)
    finally:
        connection.detach()


def _help(page: mmap.mmap, connection: int, parent: int) -> NoReturn:
    """Be the helper. Never return, never raise."""
    try:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        while not page[handover.LOADED] and os.getppid() == parent:
            time.sleep(_NAP)
        if page[handover.LOADED] == handover.YES:
            number = int.from_bytes(page[handover.NUMBER : handover.NUMBER + 4], "little")
            try:
                _send(connection, handover.LISTENER, (number,))
            finally:
                os.close(number)
            if os.read(connection, 1) != handover.DELIVERED:
                _give_up(page, parent)
    except OSError:
        _give_up(page, parent)
    finally:
        os._exit(0)


def _give_up(page: mmap.mmap, parent: int) -> None:
    """Tell the child to end; it may be stopped, and then goes on even where it is the first process."""
    page[handover.VERDICT] = handover.NO
    if os.getppid() == parent:
        os.kill(parent, signal.SIGCONT)
