"""``orlop doctor``: what can be used on this host, by this user, with these plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.cli.composition import runtime
from orlop.cli.output import table, to_json, write
from orlop.store.root import absolute

if TYPE_CHECKING:
    from orlop.cli.context import Context

_INDENT = "    "
_MISSING = 1
_TITLES = ("CAPABILITY", "IMPLEMENTED", "AVAILABLE", "ALLOWED", "REASON")


def run(context: Context) -> int:
    """Print what can be used; the status says whether everything that is needed can be."""
    line = context.line
    bundle = line.text("bundle")
    with runtime(context) as composed:
        found = composed.examine(line.arguments, config=absolute(bundle) or None)
    if line.on("missing"):
        found = found.evolve(diagnoses=tuple(one for one in found.diagnoses if not one.usable))
    if line.text("format") == "json":
        write(to_json(found.as_data(), _INDENT) + "\n")
    else:
        write(table(_TITLES, found.rows()))
    return _MISSING if found.missing else 0
