"""Calls of plugins under a deadline, for programs that would rather have an error than wait for ever.

Python cannot end a call from outside. It is made in a thread of its own, which is left to itself when it does
not return in time: the caller goes on without its answer, and the thread does not keep the program from
ending.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class DeadlineError(TimeoutError):
    """A hook that has not returned in time; the message says where it stands."""

    def __init__(self, deadline: float, where: str) -> None:
        """Compose the message."""
        super().__init__(f"has not returned within {deadline:g} s{where}")
        self.deadline = deadline


def wait(thread: threading.Thread, seconds: float) -> None:
    """Wait for the end of *thread*, at most *seconds*."""
    thread.join(seconds)


def bounded(call: Callable[..., Any], deadline: float) -> Callable[..., Any]:
    """Return *call* with an end: after *deadline* seconds it raises.

    Raises:
        DeadlineError: When the returned function is called and *call* takes longer.
    """

    def ask(*arguments: object) -> Any:  # noqa: ANN401 - what the plugin answers
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
