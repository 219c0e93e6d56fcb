"""Loading the compiled seccomp filter."""

from __future__ import annotations

import errno

from orlop_linux.init import execute, listener, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orlop_linux.init.context import Context


def load_seccomp(context: Context, fields: dict[str, Any], index: int) -> None:
    """Execute LoadSeccomp with the program that the engine compiled for this step.

    A late filter is the last thing before execve(2): whatever the program forbids, nothing of ours still
    needs it. An early one has to let through what changes the user and the capabilities and finds the
    program; what can be done before it is.
    """
    program, flags = context.filters.get(index, (b"", 0))
    if not program:
        raise OSError(errno.ENOSYS, "")
    if fields["early"]:
        execute.prepare_early(context)
    elif context.execute_fields is not None:
        execute.prepare(context, context.execute_fields)
    if flags & syscalls.SECCOMP_FILTER_FLAG_NEW_LISTENER:
        listener.load(context, flags, program)
        return
    # Kept: memory that is given back may be given back by a system call.
    loader = context.loader = syscalls.prepare_seccomp(flags, program)
    loader()


OPS = {"LoadSeccomp": load_seccomp}
