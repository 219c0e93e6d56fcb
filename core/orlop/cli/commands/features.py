"""``orlop features``: what this composition can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.cli.composition import runtime
from orlop.cli.output import to_json, write

if TYPE_CHECKING:
    from typing import Any

    from orlop.cli.context import Context

_INDENT = "    "


def run(context: Context) -> int:
    """Print the features document, or who supplied each of its fields."""
    composed = runtime(context)
    if not context.line.on("provenance"):
        from orlop.documents.codec import encode

        write(to_json(encode(composed.features()), _INDENT) + "\n")
        return 0
    provenance = composed.features_provenance()
    if context.line.text("format") == "json":
        write(to_json(provenance, _INDENT) + "\n")
    else:
        write(_text(provenance))
    return 0


def _text(provenance: dict[str, Any]) -> str:
    """Return one line per field, and one per value of a list."""
    lines = []
    for path, owners in provenance.items():
        if isinstance(owners, dict):
            lines.append(f"{path}:")
            lines += [f"    {value}: {', '.join(who)}" for value, who in owners.items()]
        else:
            lines.append(f"{path}: {', '.join(owners)}")
    return "".join(f"{line}\n" for line in lines)
