"""``orlop exec``: run one more program in a container."""

from __future__ import annotations

from orlop.cli.composition import prewarm
from orlop.cli.interrupts import Interruptible
from orlop_hookspecs.errors import PlatformError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

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
        joining.enter()
        joining.run()
        interruptible.finish()
        joining.keep()
    return 0


def _foreground(context: Context) -> int:
    from orlop.cli.foreground import Forwarder
    from orlop.cli.joining import Joining

    with Forwarder() as forwarder, Joining(context) as joining:
        terminal = Terminal(context, joining)
        try:
            with Interruptible():
                joining.enter(console_socket=terminal.socket, foreground=not terminal.socket)
                # The size of the caller's terminal is the program's before it can ask.
                terminal.take()
            # From here on the program may run at any moment: signals wait, and are then for it.
            joining.run()
            joining.keep()
            status = _stay(joining, forwarder, terminal.proxy, context.report.warning)
        finally:
            terminal.close()
    if status is None:
        raise PlatformError("how the program ended is unknown", container=context.id)
    return status


class Terminal:
    """The terminal of a process in the foreground, if it has one and nobody else is to have it."""

    def __init__(self, context: Context, joining: Joining) -> None:
        """Make a console socket of our own."""
        self.proxy: Proxy | None = None
        self._console: ConsoleSocket | None = None
        # In the foreground, --console-socket is refused; that is left to who refuses all the rest.
        if joining.wants_terminal() and not context.line.text("console-socket"):
            from orlop.cli.terminal import ConsoleSocket

            self._console = ConsoleSocket()

    @property
    def socket(self) -> str:
        """The path of the socket; empty: there is none."""
        return self._console.path if self._console is not None else ""

    def take(self) -> None:
        """Take the master over."""
        from orlop.cli.terminal import Proxy

        if self._console is not None:
            self.proxy = Proxy(self._console.receive())

    def close(self) -> None:
        """Give the caller's terminal back as it was."""
        if self.proxy is not None:
            self.proxy.close()
        if self._console is not None:
            self._console.close()


def _stay(
    joining: Joining, forwarder: Forwarder, proxy: Proxy | None, warn: Callable[[str], None]
) -> int | None:
    import gc

    from orlop.cli.foreground import follow

    # What was made so far stays; looking through it for garbage would take milliseconds.
    gc.freeze()
    gc.enable()
    # A platform without pidfds runs its containers in this process: nothing comes from outside meanwhile.
    process = joining.pidfd()
    if process is not None:
        follow(process, forwarder, proxy, joining.kill)
    status = joining.wait()
    if proxy is not None:
        proxy.finish(forwarder, warn)
    return status
