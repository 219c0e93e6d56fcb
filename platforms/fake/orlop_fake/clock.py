"""The virtual clock, the only time there is: it moves when somebody waits, and then it jumps."""

from __future__ import annotations

import heapq
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SECOND = 1_000_000_000
_EPOCH = 946_684_800  # 2000-01-01T00:00:00Z: a date that nobody takes for today's
_TICK = SECOND // 100  # USER_HZ, the unit of proc(5), stat field 22


class Timer:
    """A call that is due at a time; :meth:`cancel` makes it do nothing."""

    __slots__ = ("callback", "due")

    def __init__(self, due: int, callback: Callable[[], None]) -> None:
        """Remember *callback* for *due*, in nanoseconds after boot."""
        self.due = due
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Forget the call. Idempotent."""
        self.callback = None


class Clock:
    """Nanoseconds since the boot of the fake machine, and what is due later."""

    __slots__ = ("_heap", "_said", "_sequence", "nanoseconds")

    def __init__(self) -> None:
        """Start one second after boot."""
        self.nanoseconds = SECOND
        self._heap: list[tuple[int, int, Timer]] = []
        self._sequence = 0
        self._said = (-1, "")

    @property
    def seconds(self) -> float:
        """Seconds since boot."""
        return self.nanoseconds / SECOND

    @property
    def ticks(self) -> int:
        """Clock ticks since boot, as proc(5) gives start times."""
        return self.nanoseconds // _TICK

    def call_after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call *callback* when *seconds* of virtual time have passed."""
        timer = Timer(self.nanoseconds + max(0, round(seconds * SECOND)), callback)
        self._sequence += 1
        heapq.heappush(self._heap, (timer.due, self._sequence, timer))
        return timer

    def next_due(self) -> int | None:
        """Return when the next timer is due, in nanoseconds; ``None`` when nothing is pending."""
        while self._heap and self._heap[0][2].callback is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def jump(self, due: int) -> None:
        """Move to *due* and make the calls of one timer that is due by then, if there is one."""
        if self.next_due() is not None and self._heap[0][0] <= due:
            when, _, timer = heapq.heappop(self._heap)
            self.nanoseconds = max(self.nanoseconds, when)
            callback, timer.callback = timer.callback, None
            if callback is not None:
                callback()
        else:
            self.nanoseconds = max(self.nanoseconds, due)

    def rfc3339(self) -> str:
        """Return the time of day: UTC, RFC 3339, with nanoseconds."""
        now = self.nanoseconds
        if self._said[0] != now:
            seconds, rest = divmod(now, SECOND)
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(_EPOCH + seconds))
            self._said = (now, f"{text}.{rest:09d}Z")
        return self._said[1]
