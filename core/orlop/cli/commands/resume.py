"""``orlop resume``: let the processes of a paused container go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.lifecycle.resume import resume

if TYPE_CHECKING:
    from orlop.cli.context import Context


def run(context: Context) -> int:
    """Resume the container."""
    resume(context.site(), context.id)
    return 0
