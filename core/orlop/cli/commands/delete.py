"""``orlop delete``: remove a container."""

from __future__ import annotations

from orlop.lifecycle.delete import delete

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.context import Context


def run(context: Context) -> int:
    """Delete the container, with ``--force`` whatever it does at the moment."""
    delete(context.site(), context.id, force=context.line.on("force"))
    return 0
