"""Commands that plugins add: looked for only when a command is unknown, and for the list of commands."""

from __future__ import annotations

from orlop.cli.composition import runtime
from orlop.cli.help import PROGRAM
from orlop.cli.parse import UNKNOWN_COMMAND, WrongUsageError
from orlop_hookspecs.errors import OrlopError, shorten

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.context import Context, Parts
    from orlop.cli.report import Reporter


def run(name: str, context: Context) -> int:
    """Run the command *name* of a plugin.

    Raises:
        WrongUsageError: No plugin adds it.
    """
    try:
        composed = runtime(context)
        commands = composed.composition.hooks.commands(context.report.warning)
    except OrlopError as error:
        context.report.warning(f"commands of plugins are not known: {error}")
        raise unknown(name) from error
    for _, command in commands:
        if command.name == name:
            import argparse

            prog = f"{PROGRAM} {name}"
            parser = argparse.ArgumentParser(prog=prog, description=command.summary, allow_abbrev=False)
            command.configure(parser)
            status: int = command.run(composed, parser.parse_args(context.line.arguments))
            return status
    raise unknown(name)


def topics(report: Reporter, parts: Parts | None) -> list[tuple[str, str]]:
    """Return names and summaries of the plugins' commands; plugins that do not fit together have none."""
    from orlop.cli.context import Context
    from orlop.cli.flags import Parsed

    try:
        composed = runtime(Context(Parsed({"plugins": None, "root": None}, None, {}, []), report, parts))
        commands = composed.composition.hooks.commands(report.warning)
    except OrlopError as error:
        report.warning(f"commands of plugins are not listed: {error}")
        return []
    return [(command.name, command.summary) for _, command in commands]


def unknown(name: str) -> WrongUsageError:
    """Return the error for a command that does not exist; engines look for its first words."""
    return WrongUsageError(f"No help topic for {shorten(name)}", None, status=UNKNOWN_COMMAND, show=False)
