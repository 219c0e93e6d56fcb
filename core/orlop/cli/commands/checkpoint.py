"""``orlop checkpoint``: write the processes of a container to images."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from orlop.cli.interrupts import Interruptible
from orlop.cli.paths import complete
from orlop.lifecycle.checkpoint import checkpoint
from orlop.store.root import absolute
from orlop_hookspecs.checkpoint import CheckpointOptions
from orlop_hookspecs.errors import UsageError

if TYPE_CHECKING:
    from orlop.cli.context import Context
    from orlop.cli.flags import Parsed

DEFAULT_IMAGE = "checkpoint"
_DIGITS = 6


def run(context: Context) -> int:
    """Write the container; whatever fails or interrupts, it goes on as before."""
    if context.parts is None:
        complete()
    line = context.line
    options = CheckpointOptions(
        image=verify_directory(line.text("image-path") or DEFAULT_IMAGE, "image-path"),
        work=verify_directory(line.text("work-path"), "work-path") if line.text("work-path") else "",
        parent=line.text("parent-path"),
        pre_dump=line.on("pre-dump"),
        leave_running=line.on("leave-running"),
        tcp_established=line.on("tcp-established"),
        tcp_skip_in_flight=line.on("tcp-skip-in-flight"),
        link_remap=line.on("link-remap"),
        ext_unix_sk=line.on("ext-unix-sk"),
        shell_job=line.on("shell-job"),
        file_locks=line.on("file-locks"),
        lazy_pages=line.on("lazy-pages"),
        page_server=line.text("page-server"),
        status_fd=_descriptor(line),
        auto_dedup=line.on("auto-dedup"),
        manage_cgroups=line.text("manage-cgroups-mode"),
        empty_ns=tuple(line.texts("empty-ns")),
    )
    with Interruptible() as interruptible:
        checkpoint(context.site(), context.id, options)
        interruptible.finish()
    return 0


def verify_directory(path: str, flag: str) -> str:
    """Return the absolute form of *path*, which may still have to be made.

    Raises:
        UsageError: Something else is there, or nothing can be.
    """
    place = absolute(path)
    try:
        found = stat.S_ISDIR(os.stat(place).st_mode)
    except FileNotFoundError:
        return place
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise UsageError(f"--{flag}: {why}", path=path, errno=error.errno) from None
    if not found:
        raise UsageError(f"--{flag}: not a directory", path=path, errno=errno.ENOTDIR)
    return place


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
