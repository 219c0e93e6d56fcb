"""``orlop kill``: send a signal to a container."""

from __future__ import annotations

from orlop.lifecycle.kill import kill
from orlop.lifecycle.signals import parse_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.context import Context


def run(context: Context) -> int:
    """Send the signal, SIGTERM unless another one is given."""
    arguments = context.line.arguments
    signal = parse_signal(arguments[1] if len(arguments) > 1 else "TERM")
    site, everything = context.site(), context.line.on("all")
    if context.line.on("regex"):
        from orlop.cli.matching import each

        each(context, site, lambda container: kill(site, container, signal, everything=everything))
    else:
        kill(site, context.id, signal, everything=everything)
    return 0
