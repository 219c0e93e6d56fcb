"""``orlop check``: would a config be accepted?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.cli.composition import runtime
from orlop.cli.launch import bundle_and_config
from orlop.cli.output import to_json, write

if TYPE_CHECKING:
    from orlop.cli.context import Context

_INDENT = "    "
_REFUSED = 1


def run(context: Context) -> int:
    """Print what becomes of each property; the status says whether create would accept all of them."""
    composed = runtime(context)
    bundle, source = bundle_and_config(context.line)
    verdict = composed.check(bundle if source is None else source)
    if context.line.text("format") == "json":
        write(to_json(verdict.as_data(), _INDENT) + "\n")
    else:
        write(verdict.as_text() + "\n")
    return 0 if verdict.accepted else _REFUSED
