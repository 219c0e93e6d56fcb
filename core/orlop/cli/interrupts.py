"""Signals while a container is being made: what was begun is undone; the status is 128 plus the signal."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has only signal

from orlop.cli.main import Interrupted
from orlop_hookspecs.critical import critical

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")


class Interruptible:
    """A region that the first of the usual signals to end a program leaves with :class:`Interrupted`.

    Later signals do nothing: the undoing must not be interrupted in its turn. A signal that was ignored
    before, as nohup(1) does, stays ignored. Outside the main thread nothing changes, because Python delivers
    no signals there.
    """

    def __init__(self) -> None:
        """Change nothing yet."""
        self._before: dict[int, Any] = {}
        self._raised = False

    def __enter__(self) -> Self:
        """Take over the signals."""
        for name in _NAMES:
            number = getattr(_signal, name, None)
            if number is None or _signal.getsignal(number) == _signal.SIG_IGN:
                continue
            try:
                self._before[number] = _signal.signal(number, self._stop)
            except ValueError:
                break
        return self

    def finish(self) -> None:
        """From now on all is done: a signal comes too late, and the command says that it has succeeded."""
        self._raised = True

    def __exit__(self, *_: object) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            _signal.signal(number, handler if handler is not None else _signal.SIG_DFL)
        self._before.clear()

    def _stop(self, number: int, _: object) -> None:
        if not self._raised:
            self._raised = True

            def leave() -> None:
                raise Interrupted(number)

            if not critical.defers(leave):
                leave()
