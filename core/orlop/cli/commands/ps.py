"""``orlop ps``: the processes of a container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.cli.output import to_json, write
from orlop.lifecycle.processes import processes
from orlop_hookspecs.errors import PlatformError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop.cli.context import Context

_PID = "PID"


def run(context: Context) -> int:
    """Print the process ids as JSON, or the rows that ps(1) has for them."""
    pids = processes(context.site(), context.id)
    if context.line.text("format") == "json":
        # null and not []: what engines have always been given for "none"
        write((to_json(pids) if pids else "null") + "\n")
    else:
        write(_rows(_ask_ps(context.line.arguments[1:] or ["-ef"]), pids))
    return 0


def _ask_ps(options: Sequence[str]) -> str:
    import subprocess

    try:
        asked = subprocess.run(  # noqa: S603 - the options are the caller's to choose, and there is no shell
            ["ps", *options],  # noqa: S607 - found in PATH
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except OSError as error:
        raise PlatformError(
            f"ps cannot be run: {(error.strerror or str(error)).lower()}", errno=error.errno
        ) from error
    if asked.returncode:
        why = asked.stderr.decode("utf-8", "replace").strip().split("\n")[0]
        raise PlatformError(f"ps failed with status {asked.returncode}: {why}")
    return asked.stdout.decode("utf-8", "surrogateescape")


def _rows(table: str, pids: Sequence[int]) -> str:
    """Return the head of *table* and its rows for *pids*.

    Raises:
        PlatformError: No column is titled PID.
    """
    lines = table.splitlines(keepends=True)
    titles = lines[0].split() if lines else []
    if _PID not in titles:
        raise PlatformError(f"the output of ps has no column {_PID}", hint="choose other options for ps")
    column = titles.index(_PID)
    wanted = {str(pid) for pid in pids}
    kept = [line for line in lines[1:] if len(cells := line.split()) > column and cells[column] in wanted]
    return "".join(lines[:1] + kept)
