"""Help texts, made from the table."""

from __future__ import annotations

from orlop.cli.flags import CHOICE, COMMON, COUNT, OWN, SWITCH
from orlop.cli.table import COMMANDS, OPTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orlop.cli.flags import Command, Flag

PROGRAM = "orlop"

ENVIRONMENT = (
    ("XDG_RUNTIME_DIR", "where the state is kept for everybody but root, in a directory orlop"),
    ("USER", "root: in a user namespace, too, the state is kept as for root"),
    ("PATH", "where criu, newuidmap, newgidmap and ps are looked for"),
    (
        "NOTIFY_SOCKET",
        "socket of a service manager that is told when the container is ready: set for create, start and run",
    ),
    ("LISTEN_FDS, LISTEN_PID", "sockets from descriptor 3 on, which create and run pass to the container"),
    (
        "DBUS_SESSION_BUS_ADDRESS, DBUS_SYSTEM_BUS_ADDRESS",
        "the bus of the user's systemd, and of the system's, for cgroups that it makes",
    ),
)
"""What is read of the environment."""

_GAP = 3
_HELP_ROW = ("--help, -h", "print help")


def overview(extra: Sequence[tuple[str, str]] = ()) -> str:
    """Return the help of the whole program; *extra* are names and summaries of the plugins' commands."""
    lines = [
        f"{PROGRAM} - run OCI containers through plugins",
        "",
        "Usage:",
        f"   {PROGRAM} [global flags] COMMAND [flags] [arguments]",
    ]
    groups: tuple[tuple[str, Iterable[tuple[str, str]]], ...] = (
        ("Commands", [(names(c), c.summary) for c in COMMANDS if c.group == COMMON]),
        ("Commands that look inside", [(names(c), c.summary) for c in COMMANDS if c.group == OWN]),
        ("Commands of plugins", extra),
    )
    for title, rows in groups:
        if rows:
            lines += ["", f"{title}:", *_columns(rows)]
    lines += ["", "Global flags:", *_columns([*_rows(OPTIONS), _HELP_ROW])]
    return "\n".join(lines) + "\n"


def of_command(command: Command) -> str:
    """Return the help of one command."""
    lines = [f"{PROGRAM} {command.name} - {command.summary}", "", "Usage:", f"   {usage(command)}"]
    if command.aliases:
        lines += ["", f"Also called: {', '.join(command.aliases)}"]
    if command.text:
        lines += ["", command.text]
    lines += ["", "Flags:", *_columns([*_rows(command.flags), _HELP_ROW])]
    return "\n".join(lines) + "\n"


def names(command: Command) -> str:
    """Return all names of *command*, the first one first."""
    return ", ".join((command.name, *command.aliases))


def usage(command: Command) -> str:
    """Return how *command* is called."""
    return " ".join(part for part in (PROGRAM, command.name, "[flags]", command.usage) if part)


def spelling(flag: Flag) -> str:
    """Return all spellings of *flag*, with what stands for its value."""
    text = ", ".join(f"-{name}" if len(name) == 1 else f"--{name}" for name in flag.names)
    return text if flag.kind in {SWITCH, CHOICE} else f"{text} {flag.metavar}"


def meaning(flag: Flag) -> str:
    """Return what *flag* does, its choices and its default."""
    text = flag.text
    if flag.choices and "|" not in flag.metavar:
        text += f": {', '.join(flag.choices)}"
    if flag.kind != SWITCH and flag.default not in (None, "") and flag.kind != COUNT:
        text += f" (default: {flag.default})"
    return text


def _rows(flags: Iterable[Flag]) -> list[tuple[str, str]]:
    return [(spelling(flag), meaning(flag)) for flag in flags if not flag.hidden]


def _columns(rows: Iterable[tuple[str, str]]) -> list[str]:
    rows = list(rows)
    width = max(len(left) for left, _ in rows) + _GAP
    return [f"   {left:<{width}}{right}" for left, right in rows]
