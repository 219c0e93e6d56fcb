"""``orlop manual``: the manual pages."""

from __future__ import annotations

import os

from orlop.cli import manual
from orlop.cli.output import write
from orlop.cli.table import COMMANDS, find
from orlop_hookspecs.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.context import Context


def run(context: Context) -> int:
    """Print one page, or write all of them into a directory."""
    line = context.line
    directory = line.text("directory")
    if directory:
        if line.arguments:
            raise UsageError("--directory writes all pages, not one", value=line.arguments[0])
        for one in (None, *COMMANDS):
            name = f"{manual.name_of(one)}.{manual.SECTION}"
            _write(os.path.join(directory, name), manual.page(one))
        return 0
    command = find(line.arguments[0]) if line.arguments else None
    if line.arguments and command is None:
        raise UsageError("there is no such command", value=line.arguments[0], hint="orlop help lists them")
    write(manual.page(command))
    return 0


def _write(path: str, page: str) -> None:
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(page)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise UsageError(f"cannot write the manual page: {why}", path=path, errno=error.errno) from error
