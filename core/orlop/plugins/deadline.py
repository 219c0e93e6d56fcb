"""Calls of plugins under a deadline, for programs that would rather have an error than wait for ever.

Python cannot end a call from outside. It is made in a thread of its own, which is left to itself when it does
not return in time: the caller goes on without its answer, and the thread does not keep the program from
ending. As long as it is there, the same hook of the plugin is not called again: there is one such thread for
each, however often it is asked.

What a deadline cannot do: give back what the call holds (a lock, the processor, the interpreter's own lock
while it is in a library that keeps that), and bound the import of a plugin's module.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class DeadlineError(TimeoutError):
    """A hook that has not returned in time; the message says where it stands."""

    def __init__(self, deadline: float, where: str, *, before: bool = False) -> None:
        """Compose the message; *before*: it is an earlier call that still has not returned."""
        what = "an earlier call has not returned" if before else f"has not returned within {deadline:g} s"
        super().__init__(f"{what}{where}")
        self.deadline = deadline


def wait(thread: threading.Thread, seconds: float) -> None:
    """Wait for the end of *thread*, at most *seconds*."""
    thread.join(seconds)


def bounded(call: Callable[..., Any], deadline: float) -> Callable[..., Any]:
    """Return *call* with an end: after *deadline* seconds it raises.

    Raises:
        DeadlineError: When the returned function is called and *call* takes longer, or an earlier call of
            it is still under way after its deadline.
    """
    lost: list[threading.Thread] = []

    def ask(*arguments: object) -> Any:  # noqa: ANN401 - what the plugin answers
        lost[:] = [thread for thread in lost if thread.is_alive()]
        for thread in lost:
            raise DeadlineError(deadline, _place_of(thread), before=True)
        answers: list[tuple[Any, BaseException | None]] = []

        def work() -> None:
            try:
                answers.append((call(*arguments), None))
            except BaseException as error:  # noqa: BLE001 - raised again where the answer is waited for
                answers.append((None, error))

        thread = threading.Thread(target=work, name="a hook under a deadline", daemon=True)
        thread.start()
        wait(thread, deadline)
        if not answers:
            lost.append(thread)
            raise DeadlineError(deadline, _place_of(thread))
        answer, error = answers[0]
        if error is not None:
            raise error
        return answer

    return ask


def _place_of(thread: threading.Thread) -> str:
    """Return where *thread* stands, in words: its innermost frame."""
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - documented; the name is CPython's
    if frame is None:
        return ""
    module = frame.f_globals.get("__name__", "")
    return f"; it stands in {frame.f_code.co_qualname}, line {frame.f_lineno} of {module}"
