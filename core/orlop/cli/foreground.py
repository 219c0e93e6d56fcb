"""Staying with a container until its program ends: signals go in, its exit status comes out."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has only signal
import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from orlop.cli.notify import Notify
    from orlop.cli.terminal import Proxy

# Faults of our own (they would come back at once), what cannot be caught, what the interpreter needs ignored,
# news about children, and what stops a job that uses the terminal in the background; a change of the window's
# size goes to the terminal instead.
_KEPT = frozenset(
    getattr(_signal, name, 0)
    for name in (
        "SIGKILL", "SIGSTOP", "SIGCHLD", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS",
        "SIGPIPE", "SIGWINCH", "SIGTTIN", "SIGTTOU",
    )
)  # fmt: skip
_CHUNK = 4096
_STDIN = 0


class Forwarder:
    """Signals of this process as bytes on a pipe, so that one poll(2) waits for them and everything else."""

    def __init__(self) -> None:
        """Change nothing yet."""
        self._before: dict[int, Any] = {}
        self._wakeup = -1
        self._pipe = (-1, -1)

    @property
    def descriptor(self) -> int:
        """Readable when signals have come; -1 outside the main thread, where Python delivers none."""
        return self._pipe[0]

    def __enter__(self) -> Self:
        """Take over all signals that can be passed on; those that were ignored stay ignored."""
        pipe = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self._wakeup = _signal.set_wakeup_fd(pipe[1], warn_on_full_buffer=False)
        except ValueError:
            os.close(pipe[0])
            os.close(pipe[1])
            return self
        self._pipe = pipe
        for number in range(1, _signal.NSIG):
            if number in _KEPT and number != getattr(_signal, "SIGWINCH", 0):
                continue
            try:
                before = _signal.getsignal(number)
                if before == _signal.SIG_IGN:
                    continue
                _signal.signal(number, _receive)
            except (ValueError, OSError):  # the C library keeps some real-time signals for itself
                continue
            self._before[number] = before
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            _signal.signal(number, handler if handler is not None else _signal.SIG_DFL)
        self._before.clear()
        if self._pipe[0] >= 0:
            _signal.set_wakeup_fd(self._wakeup)
            os.close(self._pipe[0])
            os.close(self._pipe[1])
            self._pipe = (-1, -1)

    def received(self) -> bytes:
        """Return the numbers of the signals that have come since the last call, in order."""
        try:
            return os.read(self._pipe[0], _CHUNK) if self._pipe[0] >= 0 else b""
        except BlockingIOError:
            return b""


def _receive(number: int, frame: object) -> None:
    """Do nothing: the wakeup descriptor has been told already."""


def follow(
    process: int,
    forwarder: Forwarder,
    proxy: Proxy | None,
    send: Any,  # noqa: ANN401 - a function of one int
    notify: Notify | None = None,
) -> None:
    """Return when the process behind the pidfd *process* has ended; the descriptor is closed.

    Args:
        process: The container process.
        forwarder: Where signals come from.
        proxy: The container's terminal, if it has one.
        send: Called with the number of each signal that has come.
        notify: What a service manager waits for, if there is one.
    """
    try:
        while True:
            told = notify.descriptor if notify else -1
            ended = False
            others = []
            for descriptor, events in _ready((process, forwarder.descriptor, told), proxy):
                if descriptor == process:
                    ended = True
                elif descriptor == forwarder.descriptor:
                    _pass_on(forwarder.received(), proxy, send)
                elif notify and descriptor == told:
                    notify.receive(stay=True)
                else:
                    others.append((descriptor, events))
            if proxy:
                if any(descriptor == _STDIN for descriptor, _ in others):
                    # What came before somebody typed, such as a new size, may be seen only after poll(2).
                    _pass_on(forwarder.received(), proxy, send)
                proxy.serve(others)
            if ended:
                return
    finally:
        os.close(process)


def _ready(descriptors: tuple[int, ...], proxy: Proxy | None) -> list[tuple[int, int]]:
    """Wait until something can be read, or the terminal wants attention; return what it is."""
    poll = select.poll()
    for descriptor in descriptors:
        if descriptor >= 0:
            poll.register(descriptor, select.POLLIN)
    for descriptor, events in proxy.interest() if proxy else ():
        poll.register(descriptor, events)
    return poll.poll()


def _pass_on(numbers: bytes, proxy: Proxy | None, send: Any) -> None:  # noqa: ANN401 - a function of one int
    for number in numbers:
        if number == getattr(_signal, "SIGWINCH", 0):
            if proxy:
                proxy.resize()
        elif number not in _KEPT:
            if proxy and number == getattr(_signal, "SIGCONT", 0):
                proxy.resume()
            send(number)
