"""What the flags of ``checkpoint`` and ``restore`` have in common."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from orlop.store.root import absolute
from orlop_hookspecs.errors import UsageError

if TYPE_CHECKING:
    from typing import Any

    from orlop.cli.flags import Parsed

_DEFAULT_IMAGE = "checkpoint"
_SWITCHES = ("tcp-established", "ext-unix-sk", "shell-job", "file-locks", "lazy-pages", "auto-dedup")


def common_options(line: Parsed) -> dict[str, Any]:
    """Return the fields that CheckpointOptions and RestoreOptions share.

    Raises:
        UsageError: A directory is something else, or cannot be made.
    """
    work = line.text("work-path")
    return {
        "image": _verify_directory(line.text("image-path") or _DEFAULT_IMAGE, "image-path"),
        "work": _verify_directory(work, "work-path") if work else "",
        **{name.replace("-", "_"): line.on(name) for name in _SWITCHES},
        "manage_cgroups": line.text("manage-cgroups-mode"),
        "empty_ns": tuple(line.texts("empty-ns")),
    }


def _verify_directory(path: str, flag: str) -> str:
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
