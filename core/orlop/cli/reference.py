"""The reference page of the command line, made from the table; run as a program, it prints the page."""

from __future__ import annotations

from orlop.cli.flags import OWN
from orlop.cli.help import ENVIRONMENT, PROGRAM, meaning, spelling, usage
from orlop.cli.output import write
from orlop.cli.table import COMMANDS, OPTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from orlop.cli.flags import Command, Flag

_HEAD = f"""\
<!-- Made by `python -m orlop.cli.reference`; a test compares it with the table in `orlop.cli.table`. -->

# Command line

`{PROGRAM} [global flags] COMMAND [flags] [arguments]`

A flag is written `--name value`, `--name=value` or with one hyphen; a switch may be given a value
(`--detach=false`). Global flags stand before the command. Flags of a command may stand before or after its
arguments, up to `--`, unless its section says otherwise.

## Exit status

| Status | When |
|---|---|
| 0 | The command has done what it was asked to. |
| the program's, or 128 plus a signal's number | `run` and `exec` in the foreground: how the program ended. |
| 1 | An error; one line on standard error says which, and a line in the log file if there is one. |
| 3 | There is no such command. |
| 255 | `exec` could not run its program. |
| 128 plus a signal's number | The command was interrupted; what it had begun is undone. |

## Messages

Without `--log`, a message is a line on standard error. With `--log` it is a line in that file, and an error
is also a bare line on standard error. With `--log-format json` a line is one JSON object with `level`, `msg`
and `time` (RFC 3339); an error has its parts in `error` (`code`, `pointer`, `plugin`, ...) and the warnings
that came before it in `warnings`.
"""


_ENVIRONMENT = """\
## Environment

Nothing else is read of the environment. A container is given what its config says, not what is here.

| Variable | What it is for |
|---|---|
{}
"""


def page() -> str:
    """Return the whole page as Markdown."""
    variables = "\n".join(f"| `{name}` | {text} |" for name, text in ENVIRONMENT)
    parts = [_HEAD, _ENVIRONMENT.format(variables), "## Global flags\n", _flags(OPTIONS)]
    for title, group in (("Commands", False), ("Commands that look inside", True)):
        parts.append(f"## {title}\n")
        parts += [_command(command) for command in COMMANDS if (command.group == OWN) is group]
    return "\n".join(parts)


def _command(command: Command) -> str:
    parts = [
        f"### {command.name}\n",
        f"{command.summary[0].upper()}{command.summary[1:]}.\n",
        f"`{usage(command)}`\n",
    ]
    if command.aliases:
        parts.append("Also called: " + ", ".join(f"`{name}`" for name in command.aliases) + ".\n")
    if command.text:
        parts.append(command.text + "\n")
    if not command.mixed:
        parts.append("Flags stand before the first argument.\n")
    if command.flags:
        parts.append(_flags(command.flags))
    return "\n".join(parts)


def _flags(flags: Iterable[Flag]) -> str:
    rows = ["| Flag | Meaning |", "|---|---|"]
    rows += [f"| {_code(spelling(flag))} | {_cell(meaning(flag))} |" for flag in flags]
    return "\n".join(rows) + "\n"


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    write(page())
