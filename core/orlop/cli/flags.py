"""What a command line is made of: flags and commands as data, without behaviour."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    Value = str | bool | int | list[str] | None
    """What a flag can hold: by its kind, and ``None`` for a text flag that was not given."""

SWITCH = "switch"
"""On or off: ``--detach``, ``--detach=false``."""
TEXT = "text"
"""Any text; the last one counts when it is repeated."""
COUNT = "count"
"""A decimal number, not negative."""
LIST = "list"
"""Any text, as often as one likes; all of them count, in their order."""
NUMBERS = "numbers"
"""A decimal number, with a sign if one likes, as often as one likes; all of them count, in their order."""
CHOICE = "choice"
"""On, off, or neither when it is not given."""

COMMON = "common"
"""Commands as every OCI runtime has them."""
OWN = "own"
"""Commands that only orlop has."""


class Flag:
    """One flag of a command, or a global one.

    Args:
        names: Its spellings without hyphens; the first is the name by which commands ask for its value.
        text: One line of help: lower case, no full stop.
        kind: :data:`SWITCH`, :data:`TEXT`, :data:`COUNT`, :data:`LIST`, :data:`NUMBERS` or :data:`CHOICE`.
        metavar: What stands for the value in help.
        choices: The only accepted values, when there are such.
        default: The value when the flag is not given; ``None`` stands for "not given".
        hidden: Accepted, but not shown in help.
        filled: An empty text is refused. Of the flags that engines pass, an empty one counts as not given.
    """

    __slots__ = ("choices", "default", "filled", "hidden", "kind", "metavar", "names", "text")

    def __init__(  # noqa: PLR0913 - a row of a table; all but the first two are keywords
        self,
        names: tuple[str, ...],
        text: str,
        *,
        kind: str = TEXT,
        metavar: str = "VALUE",
        choices: tuple[str, ...] = (),
        default: str | int | None = None,
        hidden: bool = False,
        filled: bool = False,
    ) -> None:
        """Keep the row."""
        self.names = names
        self.text = text
        self.kind = kind
        self.metavar = metavar
        self.choices = choices
        self.default = default
        self.hidden = hidden
        self.filled = filled


class Command:
    """One command.

    Args:
        name: What is typed.
        summary: One line of help: lower case, no full stop.
        usage: The positional arguments as help shows them.
        least: How many positional arguments it needs.
        most: How many it takes at most; ``None``: any number.
        flags: Its own flags, beside ``--help``.
        aliases: Other names of it.
        mixed: Flags may stand after positional arguments. False where the rest is another program's.
        group: :data:`COMMON` or :data:`OWN`.
        text: What help says below the usage; lines are kept.
        failure: Exit status when it cannot do what it was asked to.
    """

    __slots__ = (
        "aliases", "failure", "flags", "group", "least", "mixed", "most", "name", "summary", "text", "usage",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 - a row of a table; all but the first two are keywords
        self,
        name: str,
        summary: str,
        *,
        usage: str = "",
        least: int = 0,
        most: int | None = 0,
        flags: tuple[Flag, ...] = (),
        aliases: tuple[str, ...] = (),
        mixed: bool = True,
        group: str = COMMON,
        text: str = "",
        failure: int = 1,
    ) -> None:
        """Keep the row."""
        self.name = name
        self.summary = summary
        self.failure = failure
        self.usage = usage
        self.least = least
        self.most = most
        self.flags = flags
        self.aliases = aliases
        self.mixed = mixed
        self.group = group
        self.text = text


class Parsed:
    """A parsed command line: the global flags, the command, its flags and its positional arguments."""

    __slots__ = ("arguments", "command", "flags", "options")

    def __init__(
        self,
        options: Mapping[str, Value],
        command: Command | None,
        flags: Mapping[str, Value],
        arguments: list[str],
    ) -> None:
        """Keep the parts; *command* is ``None`` for a plugin's command, which reads its arguments itself."""
        self.options = options
        self.command = command
        self.flags = flags
        self.arguments = arguments

    def option(self, name: str) -> str:
        """Return the text of the global flag *name*; empty when it was not given."""
        return _text(self.options[name])

    def text(self, name: str) -> str:
        """Return the text of the command's flag *name*; empty when it was not given."""
        return _text(self.flags[name])

    def on(self, name: str) -> bool:
        """Tell whether the command's switch *name* is on."""
        return self.flags[name] is True

    def given(self, name: str) -> bool | None:
        """Return what the command's flag *name*, a :data:`CHOICE`, was set to; ``None``: it was not given."""
        value = self.flags[name]
        return value if isinstance(value, bool) else None

    def texts(self, name: str) -> list[str]:
        """Return all texts of the command's flag *name*, a :data:`LIST` or :data:`NUMBERS`."""
        value = self.flags[name]
        return value if isinstance(value, list) else []

    def count(self, name: str) -> int:
        """Return the number of the command's flag *name*."""
        value = self.flags[name]
        return value if isinstance(value, int) else 0


def _text(value: Value) -> str:
    return value if isinstance(value, str) else ""
