"""Steps at the birth of the container process: namespaces(7), user_namespaces(7), time_namespaces(7)."""

from __future__ import annotations

from orlop_hookspecs.steps.base import Step, step


@step
class JoinNamespace(Step):
    """Enter an existing namespace by its path; its kind is verified (NS_GET_NSTYPE) before it is entered."""

    ACT = "enter the {type} namespace at {path}"
    PHASE = "clone"
    SLOT = "join"

    because: str
    type: str
    """``pid``, ``network``, ``mount``, ``ipc``, ``uts``, ``user``, ``cgroup`` or ``time``."""
    path: str
    """Absolute path in the caller's mount namespace."""


@step
class NewNamespace(Step):
    """Give the container a namespace of its own."""

    ACT = "make a {type} namespace"
    PHASE = "clone"
    SLOT = "new"

    because: str
    type: str


@step
class SetIdMappings(Step):
    """Write the user and group id mappings of the new user namespace, as (container id, host id, size).

    A user namespace that is joined must have these mappings already; empty ones are not compared.
    """

    ACT = "write the id mappings"
    PHASE = "clone"
    SLOT = "idmap"

    because: str
    uid: tuple[tuple[int, int, int], ...]
    gid: tuple[tuple[int, int, int], ...]


@step
class SetTimeOffset(Step):
    """Set one clock's offset in the new time namespace before any process is in it."""

    ACT = "set the offset of the clock {clock}"
    PHASE = "clone"
    SLOT = "clocks"

    because: str
    clock: str
    """``monotonic`` or ``boottime``."""
    secs: int
    nanosecs: int
