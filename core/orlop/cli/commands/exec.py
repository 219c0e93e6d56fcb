"""``orlop exec``: run one more program in a container."""

from __future__ import annotations

from orlop.cli.composition import prewarm
from orlop.cli.interrupts import Interruptible
from orlop_hookspecs.errors import PlatformError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.context import Context
    from orlop.cli.foreground import Forwarder
    from orlop.cli.joining import Joining
    from orlop.cli.terminal import ConsoleSocket, Proxy


def run(context: Context) -> int:
    """Run the program; the exit status is its own unless ``--detach`` is given."""
    prewarm(context)
    if not context.line.on("detach"):
        return _foreground(context)
    from orlop.cli.joining import Joining

    with Interruptible() as interruptible, Joining(context) as joining:
        joining.start()
        interruptible.finish()
        joining.keep()
    return 0


def _foreground(context: Context) -> int:
    from orlop.cli.foreground import Forwarder
    from orlop.cli.joining import Joining

    console: ConsoleSocket | None = None
    proxy: Proxy | None = None
    with Forwarder() as forwarder, Joining(context) as joining:
        try:
            with Interruptible():
                console = _console(context, joining)
                joining.start(console_socket=console.path if console else "", foreground=console is None)
                proxy = _proxy(console)
            joining.keep()
            status = _stay(joining, forwarder, proxy)
        finally:
            if proxy is not None:
                proxy.close()
            if console is not None:
                console.close()
    if status is None:
        raise PlatformError("how the program ended is unknown", container=context.id)
    return status


def _console(context: Context, joining: Joining) -> ConsoleSocket | None:
    """Return a console socket of our own when the process has a terminal and nobody else is to have it."""
    # In the foreground, --console-socket is refused; that is left to who refuses all the rest.
    if context.line.text("console-socket") or not joining.wants_terminal():
        return None
    from orlop.cli.terminal import ConsoleSocket

    return ConsoleSocket()


def _proxy(console: ConsoleSocket | None) -> Proxy | None:
    if console is None:
        return None
    from orlop.cli.terminal import Proxy

    return Proxy(console.receive())


def _stay(joining: Joining, forwarder: Forwarder, proxy: Proxy | None) -> int | None:
    import gc

    from orlop.cli.foreground import follow

    gc.enable()
    # A platform without pidfds runs its containers in this process: nothing comes from outside meanwhile.
    process = joining.pidfd()
    if process is not None:
        follow(process, forwarder, proxy, joining.kill)
    status = joining.wait()
    if proxy is not None:
        proxy.drain()
    return status
