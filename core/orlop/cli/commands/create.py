"""``orlop create``: make a container and hold it before its program starts."""

from __future__ import annotations

from orlop.cli.composition import prewarm
from orlop.cli.interrupts import Interruptible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.context import Context


def run(context: Context) -> int:
    """Create the container; whatever fails or interrupts, nothing of it stays."""
    prewarm(context)
    from orlop.cli.launch import Launch

    with Interruptible() as interruptible, Launch(context) as launch:
        launch.create()
        interruptible.finish()
    return 0
