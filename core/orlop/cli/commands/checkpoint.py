"""``orlop checkpoint``: write the processes of a container to images."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orlop.cli.imaging import common_options
from orlop.cli.interrupts import Interruptible
from orlop.cli.paths import complete
from orlop.lifecycle.checkpoint import checkpoint
from orlop_hookspecs.checkpoint import CheckpointOptions
from orlop_hookspecs.errors import UsageError

if TYPE_CHECKING:
    from orlop.cli.context import Context
    from orlop.cli.flags import Parsed

_DIGITS = 6


def run(context: Context) -> int:
    """Write the container; whatever fails or interrupts, it goes on as before."""
    if context.parts is None:
        complete()
    line = context.line
    options = CheckpointOptions(
        **common_options(line),
        parent=line.text("parent-path"),
        pre_dump=line.on("pre-dump"),
        leave_running=line.on("leave-running"),
        tcp_skip_in_flight=line.on("tcp-skip-in-flight"),
        link_remap=line.on("link-remap"),
        page_server=line.text("page-server"),
        status_fd=_descriptor(line),
    )
    with Interruptible() as interruptible:
        checkpoint(context.site(), context.id, options)
        interruptible.finish()
    return 0


def _descriptor(line: Parsed) -> int:
    """Return the descriptor of ``--status-fd``; -1 for none.

    Raises:
        UsageError: It is no number, or not open.
    """
    text = line.text("status-fd")
    if text in {"", "-1"}:
        return -1
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        raise UsageError("--status-fd is not a descriptor", value=text)
    try:
        os.fstat(int(text))
    except OSError as error:
        raise UsageError(f"--status-fd={text} is not open", errno=error.errno) from error
    return int(text)
