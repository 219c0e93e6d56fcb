"""Commands that plugins add: looked for only when a command is unknown, and for the list of commands."""

from __future__ import annotations

from orlop.cli.composition import runtime
from orlop.cli.help import PROGRAM
from orlop.cli.parse import FAILED, UNKNOWN_COMMAND, WrongUsageError
from orlop_hookspecs.errors import OrlopError, shorten

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.context import Context, Parts
    from orlop.cli.report import Reporter
    from orlop.runtime import Runtime
    from orlop_hookspecs.hooks.commands import Command


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
            return _call(command, composed, context.line.arguments)
    raise unknown(name)


def _call(command: Command, composed: Runtime, arguments: list[str]) -> int:
    import argparse
    import sys

    prog = f"{PROGRAM} {command.name}"
    parser = argparse.ArgumentParser(prog=prog, description=command.summary, allow_abbrev=False)
    command.configure(parser)
    try:
        parsed = parser.parse_args(arguments)
    except SystemExit as end:
        return FAILED if end.code else 0
    try:
        return command.run(composed, parsed)
    finally:
        composed.close()
        # It may have printed in the usual way, and the process ends without the interpreter's own farewell.
        if sys.stdout is not None:
            sys.stdout.flush()


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
