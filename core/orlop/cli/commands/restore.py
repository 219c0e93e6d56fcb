"""``orlop restore``: bring a container back from images."""

from __future__ import annotations

from orlop.cli.interrupts import Interruptible
from orlop_hookspecs.errors import PlatformError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.context import Context


def run(context: Context) -> int:
    """Restore the container; the exit status is its program's unless ``--detach`` is given."""
    if not context.line.on("detach"):
        return _foreground(context)
    from orlop.cli.restoring import Restoring

    with Interruptible() as interruptible, Restoring(context) as restoring:
        restoring.create()
        interruptible.finish()
    return 0


def _foreground(context: Context) -> int:
    from orlop.cli.commands.run import console_for, proxy_for, stay
    from orlop.cli.foreground import Forwarder
    from orlop.cli.restoring import Restoring

    proxy = None
    with Forwarder() as forwarder, Restoring(context) as restoring:
        console = console_for(context, restoring)
        try:
            with Interruptible():
                container = restoring.create(
                    foreground=not console, console_socket=console.path if console else ""
                )
                proxy = proxy_for(console)
            status = stay(restoring, container, forwarder, proxy)
        finally:
            if proxy is not None:
                proxy.close()
            if console is not None:
                console.close()
        restoring.keep()
        restoring.delete()
    if status is None:
        raise PlatformError("how the program ended is unknown", container=context.id)
    return status
