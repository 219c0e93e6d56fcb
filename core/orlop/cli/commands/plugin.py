"""``orlop plugin``: check the plugins of a distribution, or begin one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.cli.output import to_json, write
from orlop.cli.parse import WrongUsageError, initial
from orlop.cli.paths import complete
from orlop_hookspecs.errors import DocumentError, UsageError, shorten

if TYPE_CHECKING:
    from typing import Any

    from orlop.cli.context import Context
    from orlop.cli.flags import Parsed

_INDENT = "    "
_BROKEN = 1
_PLATFORM = "linux"


def run(context: Context) -> int:
    """Do what the first argument says."""
    verb, name = context.line.arguments
    _refuse_flags_of_others(context.line, verb)
    if verb == "check":
        return _check(context, name)
    if verb == "new":
        return _new(context, name)
    raise WrongUsageError(
        f"plugin {shorten(verb)} is unknown: check or new is expected", context.line.command
    )


def _refuse_flags_of_others(line: Parsed, verb: str) -> None:
    """Refuse a flag that the other verb has: it would have no effect."""
    assert line.command is not None  # noqa: S101 - the table has it
    for flag in line.command.flags:
        owner, colon, _ = flag.text.partition(":")
        if colon and owner != verb and line.flags[flag.names[0]] != initial(flag):
            raise UsageError(
                f"--{flag.names[0]} is a flag of 'plugin {owner}'", hint=f"leave it out of {verb}"
            )


def _check(context: Context, name: str) -> int:
    from orlop.kit import check_distribution

    complete()
    line = context.line
    reports = check_distribution(
        name,
        samples=_samples(line.text("samples")),
        platform=_PLATFORM if line.on("linux") else "",
        deadline=line.count("deadline"),
        rules=[word for word in line.text("rules").split(",") if word],
    )
    if line.text("format") == "json":
        write(to_json([report.as_data() for report in reports], _INDENT) + "\n")
    else:
        for report in reports:
            write(report.as_text(verbose=line.on("verbose")) + "\n")
    return 0 if all(report.kept for report in reports) else _BROKEN


def _samples(path: str) -> list[Any]:
    if not path:
        return []
    import json

    from orlop.documents.reader import read_file

    try:
        found = json.loads(read_file(path))
    except DocumentError as error:
        raise UsageError(f"cannot read the samples: {error.message}", path=path) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"cannot read the samples: {reason}", path=path, errno=error.errno) from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"malformed samples: {error}", path=path) from None
    if not isinstance(found, list):
        raise UsageError("expected an array of samples", path=path)
    return found


def _new(context: Context, name: str) -> int:
    from orlop.scaffold import scaffold

    written = scaffold(name, context.line.text("directory"))
    if context.line.text("format") == "json":
        write(to_json({"name": name, "files": list(written)}, _INDENT) + "\n")
    else:
        write("".join(f"{path}\n" for path in written))
    return 0
