"""``orlop seccomp``: explain a profile, or what it does to one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.cli.composition import runtime
from orlop.cli.launch import bundle_and_config
from orlop.cli.output import to_json, write
from orlop.engine.filters import Outcome, explain_call, names_of
from orlop.engine.overview import overview
from orlop_hookspecs.documents.vocabulary import SECCOMP_ARCHITECTURES
from orlop_hookspecs.errors import ConfigError, PlatformError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orlop.cli.context import Context
    from orlop_hookspecs.calls import CallTable
    from orlop_hookspecs.documents import Seccomp

_INDENT = "    "
_LACKING = 1
_EXPLAIN = "explain"
_UNKNOWN = "?"
_LEAST, _MOST = -(1 << 63), (1 << 64) - 1


def run(context: Context) -> int:
    """Print what a profile does."""
    line = context.line
    action, *call = line.arguments
    if action != _EXPLAIN:
        raise UsageError(
            "there is no such action on profiles", value=action, hint=f"the only one is {_EXPLAIN}"
        )
    wanted = line.text("arch")
    if wanted and wanted not in SECCOMP_ARCHITECTURES:
        known = ", ".join(SECCOMP_ARCHITECTURES)
        raise UsageError("there is no architecture of this name", value=wanted, hint=f"one of {known}")
    arguments = [_argument(text) for text in call[1:]]
    with runtime(context) as composed:
        profile = _profile(context)
        kernel: Any = composed.kernel
        resolve = getattr(kernel, "call_table", None)
        if resolve is None:
            raise PlatformError(
                f"platform {composed.platform} knows no system calls",
                value=composed.platform,
                hint="its kernel has no method call_table (orlop_hookspecs.calls.Resolver)",
            )
        if call:
            return _explain_call(context, profile, resolve, (call[0], arguments, wanted))
        found = overview(profile, resolve, getattr(kernel, "examine", None))
    if line.text("format") == "json":
        write(to_json(found.as_data(), _INDENT) + "\n")
    else:
        write(found.as_text() + "\n")
    return _LACKING if found.lacking else 0


def _profile(context: Context) -> Seccomp:
    """Return the profile in the file of ``--profile``, or else in the bundle's config."""
    from orlop.documents.codec import decode, decode_config
    from orlop.documents.reader import read_file
    from orlop.lifecycle.bundle import locate, read_config
    from orlop_hookspecs.documents.seccomp import Seccomp as SeccompClass

    file = context.line.text("profile")
    if file:
        try:
            return decode(read_file(file), SeccompClass, path=file)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise UsageError(f"cannot read the profile: {why}", path=file, errno=error.errno) from None
    bundle, source = bundle_and_config(context.line)
    config = decode_config(read_config(locate(bundle)) if source is None else source)
    if config.linux is None or config.linux.seccomp is None:
        raise ConfigError("the config has no seccomp profile", pointer="/linux/seccomp", path=bundle)
    return config.linux.seccomp


def _argument(text: str) -> int | None:
    """Return the value of an argument of a call; ``None`` for a question mark."""
    if text == _UNKNOWN:
        return None
    try:
        value = int(text, 0)
    except ValueError:
        raise UsageError("expected a number such as 5 or 0x5, or ? for any", value=text) from None
    if not _LEAST <= value <= _MOST:
        raise UsageError("an argument of a system call has 64 bits", value=text)
    return value


def _explain_call(
    context: Context,
    profile: Seccomp,
    resolve: Callable[[str, Sequence[str]], CallTable | None],
    asked: tuple[str, list[int | None], str],
) -> int:
    name, arguments, wanted = asked
    table = resolve(wanted, (*names_of(profile), name))
    if table is None:
        raise UsageError("this host knows no system calls of the architecture", value=wanted)
    own = resolve("", ())
    machine = own.architecture if own else ""
    call: str | int = int(name) if name.isascii() and name.isdigit() else name
    if table.architecture not in {machine, *(profile.architectures or ())}:
        because = "the profile does not list the architecture, and it is not the machine's own"
        outcomes: tuple[Outcome, ...] = (
            Outcome("SCMP_ACT_KILL_THREAD", None, "/linux/seccomp/architectures", because),
        )
    else:
        outcomes = explain_call(profile, table, call, arguments)
    if context.line.text("format") == "json":
        data = {
            "call": name,
            "number": call if isinstance(call, int) else table.numbers.get(call),
            "architecture": table.architecture,
            "arguments": arguments,
            "outcomes": [one.as_data() for one in outcomes],
        }
        write(to_json(data, _INDENT) + "\n")
    else:
        shown = ", ".join(_UNKNOWN if one is None else str(one) for one in arguments)
        lines = [f"{name}({shown}) on {table.architecture}:", *(f"  {one.as_text()}" for one in outcomes)]
        write("\n".join(lines) + "\n")
    return 0
