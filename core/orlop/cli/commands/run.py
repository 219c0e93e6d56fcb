"""``orlop run``: create, start, wait and delete in one."""

from __future__ import annotations

from orlop.cli.composition import prewarm
from orlop.cli.interrupts import Interruptible
from orlop_hookspecs.errors import ContainerNotFoundError, PlatformError, StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.context import Context
    from orlop.cli.foreground import Forwarder
    from orlop.cli.launch import Launch
    from orlop.cli.notify import Notify
    from orlop.cli.terminal import ConsoleSocket, Proxy
    from orlop.container import Container


def run(context: Context) -> int:
    """Run the container; the exit status is its program's unless ``--detach`` is given."""
    prewarm(context)
    if not context.line.on("detach"):
        return _foreground(context)
    from orlop.cli.launch import Launch

    with Interruptible() as interruptible, Launch(context) as launch:
        container = launch.create()
        launch.start(container)
        launch.await_readiness(container)
        interruptible.finish()
    return 0


def _foreground(context: Context) -> int:
    from orlop.cli.foreground import Forwarder
    from orlop.cli.launch import Launch

    proxy = None
    with Forwarder() as forwarder, Launch(context) as launch:
        console = console_for(context, launch)
        try:
            with Interruptible():
                container = launch.create(
                    foreground=not console, console_socket=console.path if console else ""
                )
                proxy = proxy_for(console)
            # From here on the program may run at any moment: signals wait, and are then for it.
            notify = launch.start(container)
            status = stay(launch, container, forwarder, proxy, notify)
        finally:
            if proxy is not None:
                proxy.close()
            if console is not None:
                console.close()
        launch.keep()
        if not context.line.on("keep"):
            launch.delete()
    if status is None:
        raise PlatformError("how the program ended is unknown", container=context.id)
    return status


def console_for(context: Context, launch: Launch) -> ConsoleSocket | None:
    """Return a console socket of our own when the config wants a terminal and nobody else is to have it."""
    # In the foreground, --console-socket is refused; that is left to who refuses all the rest.
    if context.line.text("console-socket") or not launch.terminal():
        return None
    from orlop.cli.terminal import ConsoleSocket

    return ConsoleSocket()


def proxy_for(console: ConsoleSocket | None) -> Proxy | None:
    """Return the terminal that came, joined to the caller's; ``None`` where there is no socket."""
    if console is None:
        return None
    from orlop.cli.terminal import Proxy

    return Proxy(console.receive())


def stay(
    launch: Launch,
    container: Container,
    forwarder: Forwarder,
    proxy: Proxy | None,
    notify: Notify | None = None,
) -> int | None:
    """Stay with the container until its program ends, and return how it ended."""
    import gc

    from orlop.cli.foreground import follow

    def send(number: int) -> None:
        try:
            container.kill(number)
        except (StateError, ContainerNotFoundError):
            pass  # it has just ended, or been deleted; so will the wait

    # What was made so far stays; looking through it for garbage would take milliseconds.
    gc.freeze()
    gc.enable()
    # A platform without pidfds runs its containers in this process: nothing comes from outside meanwhile.
    process = launch.process()
    if process is not None:
        follow(process, forwarder, proxy, send, notify)
    status = launch.wait()
    if proxy is not None:
        proxy.finish(forwarder, launch.warn)
    return status
