"""``orlop schema``: the JSON schema of a document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.cli.output import to_json, write
from orlop_hookspecs.errors import UsageError

if TYPE_CHECKING:
    from orlop.cli.context import Context

_DOCUMENTS = ("config", "state", "features")
_INDENT = "    "


def run(context: Context) -> int:
    """Print the schema of the named document."""
    name = context.line.arguments[0]
    if name not in _DOCUMENTS:
        raise UsageError(
            "there is no schema of this name", value=name, hint=f"one of {', '.join(_DOCUMENTS)}"
        )
    from orlop.documents.schema import schema

    write(to_json(schema(name), _INDENT) + "\n")
    return 0
