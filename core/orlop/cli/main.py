"""One command line from its arguments to its exit status."""

from __future__ import annotations

import os
import sys

from orlop import entrypoints
from orlop.cli import table
from orlop.cli.flags import Parsed
from orlop.cli.output import STDERR, write
from orlop.cli.parse import FAILED, HelpAskedError, WrongUsageError, parse_command, parse_options
from orlop.cli.report import Reporter, describe
from orlop_hookspecs.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

    from orlop.cli.context import Context, Parts
    from orlop.cli.flags import Command
    from orlop.cli.pack import Kit

_SIGNAL_STATUS = 128
_OF_MANY = ("small", "large")
"""Packs that many commands share: nothing in them is loaded at once."""
_SOCKET_DIGITS = 4


def load_rest() -> None:
    """Load what the command will need, in one go; the launcher replaces this where it knows."""


class Interrupted(KeyboardInterrupt):
    """A signal asks the command to stop; what was begun is undone on the way out.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        """Keep the signal."""
        super().__init__()
        self.number = number


def entry(kit: Kit | None = None) -> NoReturn:
    """Run the command line of this process and end it.

    Args:
        kit: Where the launcher found modules; it is brought up to date if bytecode may be written at all.
    """
    # A descriptor that is missing from 0 to 2 would be taken by the next file that is opened, and messages
    # would go into that file.
    try:
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
            os.set_inheritable(descriptor, True)  # noqa: FBT003 - the function's only form
        os.close(descriptor)
    except OSError as error:  # a host without its devices, or too few descriptors
        Reporter().error(*describe(error))
        os._exit(FAILED)
    status = main()
    if kit is not None and not status and not sys.dont_write_bytecode:
        _keep_modules(kit)
    # Finalizers have nothing to do here that is not done already, and cost a millisecond.
    os._exit(status)


def _keep_modules(kit: Kit) -> None:
    """Write the pack anew when modules or entry points had to be searched for."""
    kind, _, _, packed, order, points, settled, before = kit
    if "orlop.timeline.record" in sys.modules:
        return  # a command that is watched loads more than others
    searched = (
        entrypoints.known != points
        or entrypoints.settled is not settled
        or not (any(order) or kind in _OF_MANY)
    )
    for name, module in () if searched else sys.modules.items():
        if name not in before:
            loader = type(getattr(getattr(module, "__spec__", None), "loader", None)).__name__
            if loader == "SourceFileLoader" or (loader == "ExtensionFileLoader" and name not in packed):
                searched = True
                break
    if searched:
        from orlop.cli.pack import keep

        keep(kit)


def main(arguments: Sequence[str] | None = None, parts: Parts | None = None) -> int:
    """Run one command line and return its exit status.

    Args:
        arguments: The command line without the program's name; the process's own when it is ``None``.
        parts: What commands work with, instead of this host's: for tests and for programs that embed them.
    """
    report = Reporter()
    try:
        try:
            status = _run(sys.argv[1:] if arguments is None else list(arguments), report, parts)
        except HelpAskedError as asked:
            status = _help(asked.command, report, parts)
        report.finish()
    except WrongUsageError as error:
        if error.show:
            _show_help(error.command)
        report.error(str(error), error.as_dict())
        return error.status
    except BrokenPipeError:
        # The reader has what it wanted; every other program ends silently here, too.
        return FAILED
    except Interrupted as signal:
        report.error(f"stopped by signal {signal.number}")
        return _SIGNAL_STATUS + signal.number
    except KeyboardInterrupt:
        report.error("stopped by signal 2")
        return _SIGNAL_STATUS + 2
    except Exception as error:  # noqa: BLE001 - the one place where every error becomes a line and a status
        report.error(*describe(error))
        if report.debugging:
            _show_traceback(error)
        return report.failure
    else:
        return status
    finally:
        report.close()


def _run(arguments: list[str], report: Reporter, parts: Parts | None) -> int:
    for argument in arguments:
        # No program can be given one by execve(2); whoever calls main() can, and no file has such a name.
        if "\0" in argument:
            raise UsageError("an argument cannot hold a NUL byte", value=argument)
    options, rest = parse_options(arguments, table.OPTIONS)
    line = Parsed(options, None, {}, rest[1:])
    report.configure(
        path=line.option("log"),
        layout=line.option("log-format"),
        level="debug" if options["debug"] else line.option("log-level"),
    )
    if options["version"]:
        from orlop.cli.version import version

        write(version())
        return 0
    if not rest:
        return _help(None, report, parts)
    from orlop.cli.context import Context

    command = table.find(rest[0])
    if command is not None:
        line = parse_command(options, command, rest[1:])
        if command.name == "help":
            return _help(_topic(line.arguments), report, parts)
    context = Context(line, report, parts)
    if not line.option("trace"):
        return _call(rest[0], command, context)
    from orlop.timeline.record import Recorder

    recorder = context.recorder = Recorder(line.option("trace"))
    try:
        return _call(rest[0], command, context)
    finally:
        recorder.close(rest[0], report.warning)


def _call(name: str, command: Command | None, context: Context) -> int:
    """Run the command *name*, which is a plugin's when *command* is ``None``."""
    if command is None:
        from orlop.cli.extension import run

        return run(name, context)
    line, report = context.line, context.report
    report.failure = command.failure
    if "preserve-fds" in line.flags:
        # Sockets are passed to a container, not to a process that joins one.
        sockets = passed_sockets() if "bundle" in line.flags else 0
        _verify_descriptors(sockets, line.count("preserve-fds"))
    report.debug("command", command=command.name, root=context.root)
    return _command(command.name)(context)


def _topic(arguments: list[str]) -> Command | None:
    """Return the command that help is wanted for; ``None``: for all."""
    if not arguments:
        return None
    command = table.find(arguments[0])
    if command is None:
        from orlop.cli.extension import unknown

        raise unknown(arguments[0])
    return command


def _help(command: Command | None, report: Reporter, parts: Parts | None) -> int:
    """Print the help that somebody asked for, with the commands of plugins."""
    from orlop.cli import help as texts

    if command is None:
        from orlop.cli.extension import topics

        write(texts.overview(topics(report, parts)))
    else:
        write(texts.of_command(command))
    return 0


def _command(name: str) -> Callable[[Context], int]:
    """Import the module of a command and return its ``run``."""
    module = __import__(f"orlop.cli.commands.{name}", fromlist=("run",))
    run: Callable[[Context], int] = module.run
    return run


def passed_sockets() -> int:
    """Return how many sockets were passed to this very process, from descriptor 3 on (sd_listen_fds(3)).

    Raises:
        UsageError: ``LISTEN_FDS`` is no number.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return 0
    text = os.environ.get("LISTEN_FDS", "")
    if not (text.isascii() and text.isdigit() and len(text) <= _SOCKET_DIGITS):
        raise UsageError("LISTEN_FDS is not a number", value=text)
    return int(text)


def _verify_descriptors(sockets: int, further: int) -> None:
    """Refuse to pass on descriptors that nobody has opened: files of our own may have their numbers."""
    for index in range(sockets + further):
        descriptor = STDERR + 1 + index
        try:
            os.fstat(descriptor)
        except OSError as error:
            who = f"LISTEN_FDS={sockets}" if index < sockets else f"--preserve-fds={further}"
            raise UsageError(f"{who} asks for descriptor {descriptor}, which is not open") from error


def _show_help(command: Command | None) -> None:
    """Print the help that belongs to an error; where nobody reads it, it is not missed."""
    from orlop.cli import help as texts

    try:
        write(texts.of_command(command) if command else texts.overview())
    except OSError:
        pass


def _show_traceback(error: BaseException) -> None:
    import traceback

    try:
        write("".join(traceback.format_exception(error)), STDERR)
    except OSError:
        pass
