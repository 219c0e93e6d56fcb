"""Faults on demand: a step that fails with an errno, a hook that is slow or hangs, a runtime that dies.

A *point* is a moment at which something can go wrong: a call of the runtime into the kernel or its store
(``commit``, ``slot.write``, ...) or the execution of one step (its class name). Points are counted in the
order in which they are passed.
"""

from __future__ import annotations

import errno
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from orlop_fake.refusals import RuntimeCrash, refusal, text_of
from orlop_hookspecs.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CALL, STEP = "call", "step"

_STORED = ("store.create", "slot.write:*", "slot.append:*")

RESOURCES: Mapping[str, tuple[int, tuple[str, ...]]] = {
    # fork(2): the limits of a user and of a cgroup.
    "processes": (errno.EAGAIN, ("clone", "enter")),
    "memory": (errno.ENOMEM, ("clone", "enter", "Mount*", "*Namespace", "CreateCgroup", "LoadSeccomp")),
    # A full disk or quota; a class of service more than the hardware has.
    "space": (errno.ENOSPC, (*_STORED, "CreateCgroup", "CreateResctrlGroup", "MountBind", "CreateDevice")),
    # Descriptors of this process (EMFILE); a kernel that has none left says ENFILE.
    "descriptors": (errno.EMFILE, (*_STORED, "clone", "enter", "PrepareRoot", "*Cgroup", "LoadSeccomp")),
}
"""What can be used up: the error of whoever wants more, and the calls and steps that do."""


class Point(NamedTuple):
    """A moment at which something can go wrong."""

    kind: str
    """``call`` or ``step``."""
    name: str
    """The call's name or the step's class."""
    detail: str = ""
    """The step in words."""

    def __str__(self) -> str:
        """Return the point as a test would name it."""
        return f"{self.kind} {self.detail or self.name}"


class Fault:
    """One thing that shall go wrong, at the *nth* matching point; :attr:`hit` tells whether it has."""

    __slots__ = ("_left", "act", "hit", "number", "pattern", "seconds")

    def __init__(
        self, act: str, pattern: str, nth: int, *, number: int = 0, seconds: float | None = 0.0
    ) -> None:
        """Make a fault; *act* is ``fail``, ``before``, ``after``, ``delay``, ``status`` or a resource."""
        self.act = act
        self.pattern = pattern
        self.number = number
        self.seconds = seconds
        """How long a hook is delayed; ``None``: for ever."""
        self.hit: Point | None = None
        self._left = nth

    def meets(self, point: Point) -> bool:
        """Count *point* and tell whether this is the one."""
        if self.hit is not None or not (
            fnmatchcase(point.name, self.pattern) or fnmatchcase(point.detail, self.pattern)
        ):
            return False
        self._left -= 1
        if self._left:
            return False
        self.hit = point
        return True


class Faults:
    """The faults of one kernel."""

    __slots__ = ("_crash", "_faults", "armed", "points")

    def __init__(self, crash: Callable[[Point], RuntimeCrash]) -> None:
        """Have none; *crash* is how the kernel lets a runtime die."""
        self._crash = crash
        self._faults: list[Fault] = []
        self.armed = False
        self.points: list[Point] | None = None
        """The points that have been passed since :meth:`record`."""

    def fail(self, pattern: str, errno: int, nth: int = 1) -> Fault:
        """Let the *nth* step whose class or description matches *pattern* fail, without any effect."""
        return self._add(Fault("fail", pattern, nth, number=errno))

    def crash_before(self, pattern: str, nth: int = 1) -> Fault:
        """Let the runtime die before the *nth* call or step that matches *pattern*."""
        return self._add(Fault("before", pattern, nth))

    def crash_after(self, pattern: str, nth: int = 1) -> Fault:
        """Let the runtime die after the *nth* call or step that matches *pattern*."""
        return self._add(Fault("after", pattern, nth))

    def slow_hook(self, seconds: float, pattern: str = "RunHook", nth: int = 1) -> Fault:
        """Let the *nth* matching hook take *seconds* of virtual time more."""
        return self._add(Fault("delay", pattern, nth, seconds=seconds))

    def hang_hook(self, pattern: str = "RunHook", nth: int = 1) -> Fault:
        """Let the *nth* matching hook hang until its timeout."""
        return self._add(Fault("delay", pattern, nth, seconds=None))

    def fail_hook(self, status: int = 1, pattern: str = "RunHook", nth: int = 1) -> Fault:
        """Let the *nth* matching hook end with *status*, whatever it does."""
        return self._add(Fault("status", pattern, nth, number=status))

    def exhaust(self, resource: str, nth: int = 1) -> Fault:
        """Let there be no more of *resource* when somebody takes of it for the *nth* time.

        See :data:`RESOURCES`; what is there comes back after that one time.

        Raises:
            ValueError: There is no such resource.
        """
        if resource not in RESOURCES:
            raise ValueError(f"expected one of {', '.join(RESOURCES)}, not {resource!r}")
        return self._add(Fault(resource, "*", nth, number=RESOURCES[resource][0]))

    def record(self) -> list[Point]:
        """Return the list to which every point is added from now on."""
        self.points = []
        self.armed = True
        return self.points

    def clear(self) -> None:
        """Have no faults any more, and record no points."""
        self._faults.clear()
        self.points = None
        self.armed = False

    def _add(self, fault: Fault) -> Fault:
        self._faults.append(fault)
        self.armed = True
        return fault

    def before(self, kind: str, name: str, describe: Callable[[], str] | None = None) -> None:
        """Pass the beginning of a point: record it, or raise what shall go wrong there."""
        point = Point(kind, name, describe() if describe is not None else "")
        if self.points is not None:
            self.points.append(point)
        for fault in self._faults:
            if fault.act == "before" and fault.meets(point):
                raise self._crash(point)
            if fault.act == "fail" and kind == STEP and fault.meets(point):
                raise refusal(fault.number)
            if fault.act in RESOURCES and takes(point, fault.act) and fault.meets(point):
                raise _used_up(point, fault.number)

    def after(self, kind: str, name: str, describe: Callable[[], str] | None = None) -> None:
        """Pass the end of a point."""
        point = Point(kind, name, describe() if describe is not None else "")
        for fault in self._faults:
            if fault.act == "after" and fault.meets(point):
                raise self._crash(point)

    def delay(self, detail: str) -> float | None:
        """Return how long the hook *detail* is delayed; ``None``: for ever."""
        total = 0.0
        for fault in self._faults:
            if fault.act == "delay" and fault.meets(Point(STEP, "RunHook", detail)):
                if fault.seconds is None:
                    return None
                total += fault.seconds
        return total

    def status(self, detail: str) -> int | None:
        """Return the status with which the hook *detail* ends; ``None``: its own."""
        for fault in self._faults:
            if fault.act == "status" and fault.meets(Point(STEP, "RunHook", detail)):
                return fault.number
        return None


def takes(point: Point, resource: str) -> bool:
    """Tell whether whoever passes *point* takes of *resource*."""
    return any(fnmatchcase(point.name, pattern) for pattern in RESOURCES[resource][1])


def _used_up(point: Point, number: int) -> OSError:
    """Return the error of *point* when there is no more: a store says more than a kernel."""
    if point.name.startswith(("store.", "slot.")):
        return StoreError(f"cannot write the state: {text_of(number)}", errno=number)
    return refusal(number)
