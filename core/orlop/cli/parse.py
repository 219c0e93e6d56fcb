"""Read a command line by the table: the grammar that OCI engines expect of a runtime.

``-name``, ``--name``, ``--name=value`` and ``--name value`` are one spelling for short and long flags alike;
short flags do not combine. Global flags stand before the command. A command's flags may stand anywhere after
it, up to ``--``.
"""

from __future__ import annotations

from orlop.cli.flags import CHOICE, COUNT, LIST, NUMBERS, SWITCH, Parsed
from orlop_hookspecs.errors import UsageError, shorten

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import NoReturn

    from orlop.cli.flags import Command, Flag, Value

TRUE = frozenset(("1", "t", "T", "true", "True", "TRUE"))
"""Spellings of "on" behind ``=``."""
FALSE = frozenset(("0", "f", "F", "false", "False", "FALSE"))
"""Spellings of "off" behind ``=``."""

HELP = ("help", "h")
"""Every command has these flags."""

FAILED = 1
UNKNOWN_COMMAND = 3

_COUNT_DIGITS = 9
_NUMBER_DIGITS = 18


class WrongUsageError(UsageError):
    """A command line that does not fit the table.

    Args:
        message: What is wrong.
        command: The command whose help belongs to the error; ``None``: the global help.
        status: The exit status.
        show: Whether help goes to standard output.
    """

    def __init__(
        self, message: str, command: Command | None, *, status: int = FAILED, show: bool = True
    ) -> None:
        """Keep the parts beside the message."""
        super().__init__(message)
        self.command = command
        self.status = status
        self.show = show


class HelpAskedError(Exception):
    """``--help`` was given: nothing else of the line counts."""

    def __init__(self, command: Command | None) -> None:
        """Keep the command whose help is wanted; ``None``: the global help."""
        super().__init__()
        self.command = command


def parse_options(arguments: Sequence[str], options: tuple[Flag, ...]) -> tuple[dict[str, Value], list[str]]:
    """Return the values of the global flags in front of the command, and the rest, which begins with it.

    Raises:
        WrongUsageError: A flag does not fit the table.
        HelpAskedError: Help was asked for.
    """
    return _flags(arguments, options, None, mixed=False)


def parse_command(options: Mapping[str, Value], command: Command, arguments: Sequence[str]) -> Parsed:
    """Return the parsed line of *command*, whose flags and positional arguments are *arguments*.

    Raises:
        WrongUsageError: The line does not fit the table.
        HelpAskedError: Help was asked for.
    """
    flags, positional = _flags(arguments, command.flags, command, mixed=command.mixed)
    found = len(positional)
    if found < command.least:
        how = "exactly" if command.most == command.least else "a minimum of"
        raise WrongUsageError(f'"{command.name}" requires {how} {command.least} argument(s)', command)
    if command.most is not None and found > command.most:
        how = "exactly" if command.most == command.least else "a maximum of"
        raise WrongUsageError(f'"{command.name}" requires {how} {command.most} argument(s)', command)
    return Parsed(options, command, flags, positional)


def _flags(
    arguments: Sequence[str], table: Iterable[Flag], command: Command | None, *, mixed: bool
) -> tuple[dict[str, Value], list[str]]:
    """Split *arguments* into the values of the flags in *table* and what is positional."""
    known = {name: flag for flag in table for name in flag.names}
    values: dict[str, Value] = {flag.names[0]: initial(flag) for flag in table}
    positional: list[str] = []
    index = 0
    while index < len(arguments):
        argument = arguments[index]
        index += 1
        if argument == "--":
            positional.extend(arguments[index:])
            break
        if argument[:1] != "-" or argument == "-":
            positional.append(argument)
            if not mixed:
                positional.extend(arguments[index:])
                break
            continue
        name, equals, value = argument[2 if argument[1] == "-" else 1 :].partition("=")
        flag = known.get(name) or _unknown(argument, name, equals, command)
        if flag.kind in {SWITCH, CHOICE}:
            values[flag.names[0]] = _switch(name, value if equals else "true", command)
            continue
        if not equals:
            if index == len(arguments):
                raise WrongUsageError(f"flag needs an argument: -{name}", command)
            value = arguments[index]
            index += 1
        if flag.kind in {LIST, NUMBERS}:
            _verify_text(flag, name, value, command)
            before = values[flag.names[0]]
            values[flag.names[0]] = [*(before if isinstance(before, list) else ()), value]
            continue
        values[flag.names[0]] = _value(flag, name, value, command)
    return values, positional


def _unknown(argument: str, name: str, equals: str, command: Command | None) -> NoReturn:
    """Raise what becomes of a flag that the table does not have."""
    if name in HELP and not equals:
        raise HelpAskedError(command)
    if not name or name[0] == "-":
        raise WrongUsageError(f"bad flag syntax: {shorten(argument)}", command)
    # Without quotes around it, as engines expect, but as harmless as with them.
    raise WrongUsageError(f"flag provided but not defined: -{shorten(name)[1:-1]}", command)


def initial(flag: Flag) -> Value:
    """Return the value of a flag that is not given."""
    if flag.kind == SWITCH:
        return False
    if flag.kind == COUNT:
        return flag.default or 0
    return flag.default


def _switch(name: str, value: str, command: Command | None) -> bool:
    if value in TRUE:
        return True
    if value in FALSE:
        return False
    raise WrongUsageError(f"invalid boolean value {shorten(value)} for -{name}", command)


def _verify_text(flag: Flag, name: str, value: str, command: Command | None) -> None:
    """Refuse a text that no flag of the kind has."""
    if flag.filled and not value:
        raise WrongUsageError(f"flag -{name} needs an argument that is not empty", command)
    if flag.kind == NUMBERS:
        digits = value[1:] if value[:1] in {"+", "-"} else value
        if not (digits.isascii() and digits.isdigit() and len(digits) <= _NUMBER_DIGITS):
            raise WrongUsageError(
                f"invalid value {shorten(value)} for flag -{name}: not a whole number", command
            )


def _value(flag: Flag, name: str, value: str, command: Command | None) -> Value:
    if flag.kind == COUNT:
        if not (value.isascii() and value.isdigit() and len(value) <= _COUNT_DIGITS):
            raise WrongUsageError(
                f"invalid value {shorten(value)} for flag -{name}: not a whole number from 0 to 999999999",
                command,
            )
        return int(value)
    if flag.choices and value not in flag.choices:
        expected = ", ".join(flag.choices)
        raise WrongUsageError(
            f"invalid {name}: {shorten(value)}; one of {expected} is expected", command, show=False
        )
    _verify_text(flag, name, value, command)
    return value
