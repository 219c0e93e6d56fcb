"""``orlop start``: run the program of a created container."""

from __future__ import annotations

from orlop.lifecycle.start import start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.context import Context


def run(context: Context) -> int:
    """Start the container."""
    start(context.site(), context.id)
    return 0
