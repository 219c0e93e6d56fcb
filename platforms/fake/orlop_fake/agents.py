"""Seccomp agents on the fake kernel: Python callables by the path of their socket (config-linux.md, Seccomp).

An agent is called for each call that a filter lets it decide. ``None`` lets the call go on; a number is the
errno with which it fails. Who is not in ``kernel.agents`` does not listen: a container that needs it cannot
be created or started, and calls that an agent should have decided after its death fail with ENOSYS.
"""

from __future__ import annotations

import errno
import json
from typing import TYPE_CHECKING, Any

from orlop_fake.mounts import walk
from orlop_fake.refusals import text_of
from orlop_hookspecs.errors import StepError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop_fake.machine import Machine
    from orlop_hookspecs.record import Record


class AgentCall:
    """One system call that waits for its agent."""

    __slots__ = ("args", "name", "pid", "state")

    def __init__(self, state: dict[str, Any], name: str, args: Sequence[int], pid: int) -> None:
        """Describe the call."""
        self.state = state
        """The container process state that the agent was sent."""
        self.name = name
        self.args = tuple(args)
        self.pid = pid
        """The calling process, as the host sees it."""


class Listener:
    """Where the calls go that a loaded filter lets an agent decide."""

    __slots__ = ("_kernel", "_path", "_state")

    def __init__(self, kernel: Machine, path: str, state: dict[str, Any]) -> None:
        """Be the listener of the container that *state* describes."""
        self._kernel = kernel
        self._path = path
        self._state = state

    def decide(self, name: str, args: Sequence[int], pid: int) -> int:
        """Return the errno of the call; 0 lets it go on."""
        agent = self._kernel.agents.get(self._path)
        if agent is None:
            return errno.ENOSYS
        return agent(AgentCall(self._state, name, args, pid)) or 0


def require_agent(kernel: Machine, path: str) -> None:
    """Make sure that an agent listens at *path*.

    Raises:
        StepError: ENOENT: there is nothing; ECONNREFUSED: there is a file on which nobody listens.
    """
    if path in kernel.agents:
        return
    try:
        walk(kernel.runtime.namespaces.mount.tree, kernel.runtime.root, path)
        number = errno.ECONNREFUSED
    except OSError as error:
        number = error.errno or errno.ENOENT
    raise StepError(
        f"seccomp agent: {text_of(number)}",
        pointer="/linux/seccomp/listenerPath",
        plugin="seccomp",
        path=path,
        errno=number,
    )


def deliver(kernel: Machine, record: Record, path: str, metadata: str | None, state: bytes) -> Listener:
    """Send the container process state to the agent at *path* and return its listener.

    Raises:
        StepError: Nobody listens there.
    """
    require_agent(kernel, path)
    described = json.loads(state)
    document = {"ociVersion": described["ociVersion"], "fds": ["seccompFd"], "pid": record.pid}
    if metadata is not None:
        document["metadata"] = metadata
    document["state"] = described
    kernel.agent_states.append(document)
    return Listener(kernel, path, document)
