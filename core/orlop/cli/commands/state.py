"""``orlop state``: print the state of a container."""

from __future__ import annotations

from orlop.cli.output import to_json, write
from orlop.lifecycle.state import extended_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.context import Context


def run(context: Context) -> int:
    """Print the state document with what engines expect beside it."""
    state = extended_state(context.site(), context.id)
    # Engines decode it as text; only list fills it in.
    state["owner"] = ""
    write(to_json(state, "  ") + "\n")
    return 0
