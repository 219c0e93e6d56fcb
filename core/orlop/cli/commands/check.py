"""``orlop check``: would a config be accepted, here or by another runtime?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.cli.composition import runtime
from orlop.cli.launch import bundle_and_config
from orlop.cli.output import to_json, write

if TYPE_CHECKING:
    from orlop.cli.context import Context
    from orlop.engine.verdict import Verdict

_INDENT = "    "
_REFUSED = 1


def run(context: Context) -> int:
    """Print what becomes of each property; the status says whether all of them would be accepted."""
    if context.line.text("features"):
        return _elsewhere(context)
    composed = runtime(context)
    bundle, source = bundle_and_config(context.line)
    verdict = composed.check(bundle if source is None else source)
    _show(context, verdict)
    return 0 if verdict.accepted else _REFUSED


def _elsewhere(context: Context) -> int:
    """Ask what another runtime would do; none of our plugins is loaded for that."""
    if context.parts is None:
        from orlop.cli.paths import complete

        complete()
    from orlop.advertised.check import check_features
    from orlop.advertised.source import read_features
    from orlop.lifecycle.bundle import locate, read_config

    bundle, source = bundle_and_config(context.line)
    features = read_features(context.line.text("features"))
    verdict = check_features(read_config(locate(bundle)) if source is None else source, features)
    _show(context, verdict)
    return 0 if verdict.honoured else _REFUSED


def _show(context: Context, verdict: Verdict) -> None:
    as_json = context.line.text("format") == "json"
    write((to_json(verdict.as_data(), _INDENT) if as_json else verdict.as_text()) + "\n")
