"""The container process: the ``process`` section of config.json (config.md, Process)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.documents.base import Document, document, field
from orlop_hookspecs.documents.kinds import (
    BOOL,
    INT64,
    STRING,
    STRINGS,
    UINT32,
    UINT64,
    ListOf,
    Ref,
    Text,
)

if TYPE_CHECKING:
    from orlop_hookspecs.documents.scheduling import CPUAffinity, IOPriority, Scheduler


@document
class ConsoleSize(Document):
    """The size of the terminal in characters (config.md, Process)."""

    height: int = field(UINT64)
    width: int = field(UINT64)


@document
class User(Document):
    """The user that the process runs as (config.md, User).

    ``uid`` and ``gid`` are required on POSIX platforms by the prose, but not by the schema: Windows has
    ``username``.
    """

    uid: int | None = field(UINT32, default=None)
    gid: int | None = field(UINT32, default=None)
    umask: int | None = field(UINT32, default=None)
    additional_gids: tuple[int, ...] | None = field(ListOf(UINT32), default=None)
    username: str | None = field(STRING, default=None)


@document
class Capabilities(Document):
    """The five capability sets; capabilities(7) has the names (config.md, Linux Process)."""

    bounding: tuple[str, ...] | None = field(STRINGS, default=None)
    effective: tuple[str, ...] | None = field(STRINGS, default=None)
    inheritable: tuple[str, ...] | None = field(STRINGS, default=None)
    permitted: tuple[str, ...] | None = field(STRINGS, default=None)
    ambient: tuple[str, ...] | None = field(STRINGS, default=None)


@document
class Rlimit(Document):
    """A resource limit; the unit depends on ``type``, see getrlimit(2) (config.md, POSIX process)."""

    type: str = field(Text("RLIMIT_[A-Z]+", "the name of a limit such as RLIMIT_NOFILE"))
    soft: int = field(UINT64)
    hard: int = field(UINT64)


@document
class Process(Document):
    """The container process (config.md, Process)."""

    cwd: str = field(STRING)
    terminal: bool | None = field(BOOL, default=None)
    console_size: ConsoleSize | None = field(Ref("process", "ConsoleSize"), default=None)
    user: User | None = field(Ref("process", "User"), default=None)
    args: tuple[str, ...] | None = field(STRINGS, default=None)
    command_line: str | None = field(STRING, default=None)
    env: tuple[str, ...] | None = field(STRINGS, default=None)
    capabilities: Capabilities | None = field(Ref("process", "Capabilities"), default=None)
    rlimits: tuple[Rlimit, ...] | None = field(ListOf(Ref("process", "Rlimit")), default=None)
    no_new_privileges: bool | None = field(BOOL, default=None)
    apparmor_profile: str | None = field(STRING, default=None)
    oom_score_adj: int | None = field(INT64, default=None)
    selinux_label: str | None = field(STRING, default=None)
    scheduler: Scheduler | None = field(Ref("scheduling", "Scheduler"), default=None)
    io_priority: IOPriority | None = field(Ref("scheduling", "IOPriority"), default=None)
    exec_cpu_affinity: CPUAffinity | None = field(Ref("scheduling", "CPUAffinity"), default=None)
