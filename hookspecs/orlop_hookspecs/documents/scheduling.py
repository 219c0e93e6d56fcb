"""How the kernel schedules the process: parts of ``process`` that few configs set (config.md, Process)."""

from __future__ import annotations

from orlop_hookspecs.documents import vocabulary
from orlop_hookspecs.documents.base import Document, document, field
from orlop_hookspecs.documents.kinds import INT32, UINT64, Choice, ListOf, Text


@document
class Scheduler(Document):
    """The scheduling policy; times are in nanoseconds, see sched_setattr(2) (config.md, Linux Process)."""

    policy: str = field(Choice(vocabulary.SCHEDULER_POLICIES))
    nice: int | None = field(INT32, default=None)
    priority: int | None = field(INT32, default=None)
    flags: tuple[str, ...] | None = field(ListOf(Choice(vocabulary.SCHEDULER_FLAGS)), default=None)
    runtime: int | None = field(UINT64, default=None)
    deadline: int | None = field(UINT64, default=None)
    period: int | None = field(UINT64, default=None)


@document
class IOPriority(Document):
    """The I/O scheduling class and level, see ioprio_set(2) (config.md, Linux Process)."""

    class_: str = field(Choice(vocabulary.IO_PRIORITY_CLASSES))
    priority: int | None = field(INT32, default=None)


_CPU_LIST = Text("[0-9, -]*", "a list of CPUs such as 0-3,7")


@document
class CPUAffinity(Document):
    """The CPUs of ``exec``, before and after the process joins its cgroup (config.md, Linux Process)."""

    initial: str | None = field(_CPU_LIST, default=None)
    final: str | None = field(_CPU_LIST, default=None)
