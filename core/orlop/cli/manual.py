"""Manual pages, made from the table; their language is that of man(7)."""

from __future__ import annotations

from orlop import __version__
from orlop.cli.flags import COMMON, OWN
from orlop.cli.help import ENVIRONMENT, PROGRAM, meaning, spelling, usage
from orlop.cli.table import COMMANDS, OPTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from orlop.cli.flags import Command, Flag

SECTION = 8
"""Commands for system administration, as those of other runtimes."""

_STATUS = (
    ("0", "The command has done what it was asked to."),
    ("1", "An error; one line on standard error says which."),
    ("3", "There is no such command."),
    (
        "other",
        "That of the program in the foreground, or 128 plus the number of a signal that ended something.",
    ),
)


def name_of(command: Command | None = None) -> str:
    """Return the name of the page of *command*, or of the whole program."""
    return f"{PROGRAM}-{command.name}" if command else PROGRAM


def page(command: Command | None = None) -> str:
    """Return the manual page of *command*, or of the whole program."""
    if command is None:
        summary, lines = "run OCI containers through plugins", _whole()
    else:
        summary, lines = command.summary, _one(command)
    head = [
        f'.TH {_text(name_of(command).upper())} {SECTION} "" "{PROGRAM} {_text(__version__)}" "Containers"',
        ".SH NAME",
        f"{_text(name_of(command))} \\- {_text(summary)}",
        ".SH SYNOPSIS",
    ]
    return "\n".join([*head, *lines]) + "\n"


def _whole() -> list[str]:
    lines = [f".B {PROGRAM}", _text("[global flags] COMMAND [flags] [arguments]"), ".SH COMMANDS"]
    for title, group in (("As every OCI runtime has them:", COMMON), ("That look inside:", OWN)):
        lines += [".PP", title]
        lines += _items(
            (f"{name_of(command)}({SECTION})", command.summary)
            for command in COMMANDS
            if command.group == group
        )
    lines += [".SH OPTIONS", *_options(OPTIONS), ".SH EXIT STATUS", *_items(_STATUS)]
    return [*lines, ".SH ENVIRONMENT", *_items(ENVIRONMENT)]


def _one(command: Command) -> list[str]:
    called = usage(command).removeprefix(f"{PROGRAM} ")
    lines = [f".B {PROGRAM}", _text(f"[global flags] {called}")]
    if command.text or command.aliases:
        lines += [".SH DESCRIPTION", *map(_text, command.text.splitlines())]
        if command.aliases:
            lines += [".PP", _text(f"Also called: {', '.join(command.aliases)}.")]
    lines += [".SH OPTIONS", *_options(command.flags), ".SH EXIT STATUS", *_items(_STATUS)]
    return [*lines, ".SH SEE ALSO", f".BR {PROGRAM} ({SECTION})"]


def _options(flags: Iterable[Flag]) -> list[str]:
    return [
        *_items((spelling(flag), meaning(flag)) for flag in flags if not flag.hidden),
        *_items([("--help, -h", "print help")]),
    ]


def _items(rows: Iterable[tuple[str, str]]) -> list[str]:
    lines = []
    for term, text in rows:
        lines += [".TP", f".B {_text(term)}", _text(text)]
    return lines


def _text(text: str) -> str:
    """Return *text* so that nothing in it is a request or an escape of roff."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped[:1] in {".", "'"} else escaped
