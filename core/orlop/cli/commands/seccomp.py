"""``orlop seccomp``: explain a profile, or what it does to one call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.cli.composition import runtime
from orlop.cli.launch import ConfigNamed, bundle_and_config
from orlop.cli.output import to_json, write
from orlop.engine.calls import UNKNOWN, CallExplanation, profile_of
from orlop_hookspecs.errors import UsageError

if TYPE_CHECKING:
    from orlop.cli.context import Context
    from orlop.engine.overview import Overview
    from orlop_hookspecs.documents import Seccomp

_INDENT = "    "
_LACKING = 1
_EXPLAIN = "explain"


def run(context: Context) -> int:
    """Print what a profile does."""
    line = context.line
    action, *call = line.arguments
    if action != _EXPLAIN:
        raise UsageError(
            "there is no such action on profiles", value=action, hint=f"the only one is {_EXPLAIN}"
        )
    arguments = [_argument(text) for text in call[1:]]
    with runtime(context) as composed:
        profile = _profile(context)
        if call:
            _show(
                context, composed.explain_call(profile, call[0], *arguments, architecture=line.text("arch"))
            )
            return 0
        found = composed.explain_profile(profile)
        _show(context, found)
        return _LACKING if found.lacking else 0


def _show(context: Context, found: Overview | CallExplanation) -> None:
    as_json = context.line.text("format") == "json"
    write((to_json(found.as_data(), _INDENT) if as_json else found.as_text()) + "\n")


def _profile(context: Context) -> Seccomp:
    """Return the profile in the file of ``--profile``, or else in the bundle's config."""
    from orlop.documents.codec import decode
    from orlop.documents.reader import read_file
    from orlop.lifecycle.bundle import CONFIG, locate, read_config
    from orlop_hookspecs.documents.seccomp import Seccomp as SeccompClass

    file = context.line.text("profile")
    if file:
        try:
            return decode(read_file(file), SeccompClass, path=file)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise UsageError(f"cannot read the profile: {why}", path=file, errno=error.errno) from None
    bundle, source = bundle_and_config(context.line)
    with ConfigNamed(context.line, bundle):
        if source is not None:
            return profile_of(source)
        place = locate(bundle)
        return profile_of(read_config(place), f"{place}/{CONFIG}")


def _argument(text: str) -> int | None:
    """Return the value of an argument of a call; ``None`` for a question mark."""
    if text == UNKNOWN:
        return None
    try:
        return int(text, 0)
    except ValueError:
        raise UsageError("expected a number such as 5 or 0x5, or ? for any", value=text) from None
