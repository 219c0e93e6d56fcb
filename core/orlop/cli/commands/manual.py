"""``orlop manual``: the manual pages."""

from __future__ import annotations

import os
from contextlib import suppress

from orlop.cli import manual
from orlop.cli.output import write
from orlop.cli.table import COMMANDS, find
from orlop_hookspecs.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.context import Context
    from orlop.cli.flags import Command


def run(context: Context) -> int:
    """Print one page, or write all of them into a directory."""
    line = context.line
    directory = line.text("directory")
    if directory:
        if line.arguments:
            raise UsageError("--directory writes all pages, not one", value=line.arguments[0])
        _write(directory, {f"{manual.name_of(one)}.{manual.SECTION}": one for one in (None, *COMMANDS)})
        return 0
    command = find(line.arguments[0]) if line.arguments else None
    if line.arguments and command is None:
        raise UsageError("there is no such command", value=line.arguments[0], hint="orlop help lists them")
    write(manual.page(command))
    return 0


def _write(directory: str, pages: dict[str, Command | None]) -> None:
    """Write all pages, or leave those as they are that were there before."""
    written: list[str] = []
    path = directory
    try:
        for name, command in pages.items():
            path = os.path.join(directory, name)
            written.append(f"{path}.part")
            with open(written[-1], "w", encoding="utf-8") as file:
                file.write(manual.page(command))
        for part in written:
            os.replace(part, part.removesuffix(".part"))
    except OSError as error:
        for part in written:
            with suppress(OSError):
                os.unlink(part)
        why = (error.strerror or str(error)).lower()
        raise UsageError(f"cannot write the manual page: {why}", path=path, errno=error.errno) from error
