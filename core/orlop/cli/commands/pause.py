"""``orlop pause``: suspend all processes of a container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.lifecycle.pause import pause

if TYPE_CHECKING:
    from orlop.cli.context import Context


def run(context: Context) -> int:
    """Pause the container."""
    pause(context.site(), context.id)
    return 0
