"""Short stretches of code that a signal must not divide.

A command that is told to end leaves by an exception, which Python raises wherever the program happens to be:
also after a directory or a process was made and before anybody has written down that it was. Whoever turns
signals into exceptions asks here first; then the exception waits for the end of the stretch.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Critical:
    """A context manager that may be nested; there is one, :data:`critical`.

    It is for the main thread, the only one in which Python runs handlers of signals. Nothing inside waits for
    long.
    """

    __slots__ = ("_act", "_depth")

    def __init__(self) -> None:
        """Begin outside."""
        self._depth = 0
        self._act: Callable[[], None] | None = None

    def defers(self, act: Callable[[], None]) -> bool:
        """Tell whether *act*, which raises, has to wait; then it is called at the end of the stretch."""
        if not self._depth:
            return False
        self._act = act
        return True

    def __enter__(self) -> None:
        """Begin a stretch."""
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        """End the stretch, and do what had to wait for that."""
        self._depth -= 1
        if not self._depth and self._act is not None:
            act, self._act = self._act, None
            act()


critical = Critical()
"""The one of this process."""
