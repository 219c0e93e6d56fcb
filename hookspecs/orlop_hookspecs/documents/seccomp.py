"""The ``linux.seccomp`` section of config.json (config-linux.md, Seccomp)."""

from __future__ import annotations

from orlop_hookspecs.documents import vocabulary
from orlop_hookspecs.documents.base import Document, document, field
from orlop_hookspecs.documents.kinds import STRING, UINT32, UINT64, Choice, ListOf, Ref

_ACTION = Choice(vocabulary.SECCOMP_ACTIONS)


@document
class SyscallArg(Document):
    """A condition on one argument of a system call (config-linux.md, Seccomp)."""

    index: int = field(UINT32)
    value: int = field(UINT64)
    value_two: int | None = field(UINT64, default=None)
    op: str = field(Choice(vocabulary.SECCOMP_OPERATORS))


@document
class Syscall(Document):
    """A rule for some system calls; all conditions in ``args`` must hold (config-linux.md, Seccomp)."""

    names: tuple[str, ...] = field(ListOf(STRING, 1))
    action: str = field(_ACTION)
    errno_ret: int | None = field(UINT32, default=None)
    args: tuple[SyscallArg, ...] | None = field(ListOf(Ref("seccomp", "SyscallArg")), default=None)


@document
class Seccomp(Document):
    """The system call filter (config-linux.md, Seccomp)."""

    default_action: str = field(_ACTION)
    default_errno_ret: int | None = field(UINT32, default=None)
    architectures: tuple[str, ...] | None = field(
        ListOf(Choice(vocabulary.SECCOMP_ARCHITECTURES)), default=None
    )
    flags: tuple[str, ...] | None = field(ListOf(Choice(vocabulary.SECCOMP_FLAGS)), default=None)
    listener_path: str | None = field(STRING, default=None)
    listener_metadata: str | None = field(STRING, default=None)
    syscalls: tuple[Syscall, ...] | None = field(ListOf(Ref("seccomp", "Syscall")), default=None)
