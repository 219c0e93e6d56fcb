"""Trying an operation with every possible fault; independent of any test framework."""

from __future__ import annotations

import errno as numbers
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from orlop_fake.faults import RESOURCES, STEP, Point, takes
from orlop_fake.kernel import FakeKernel
from orlop_fake.refusals import RuntimeCrash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from orlop_fake.faults import Faults


class _Container(Protocol):
    @property
    def id(self) -> str: ...

    def delete(self, force: bool = ...) -> Any: ...  # noqa: ANN401, FBT001 - as the library's own


class _Runtime(Protocol):
    def list(self) -> Iterable[Any]: ...

    def get(self, id: str) -> _Container: ...  # noqa: A002 - as the library's own


class FaultReport(NamedTuple):
    """What one fault did."""

    point: Point
    act: str
    """``fail with ERRNO``, ``crash before``, ``crash after``, ``out of RESOURCE``, or what a hook does:
    ``hook fails``, ``hook hangs``, ``hook is slow``."""
    error: BaseException | None
    """What the operation raised; ``None`` when it succeeded nevertheless."""


def every_fault(  # noqa: PLR0913 - what can be tried; all but the first two are keywords
    operation: Callable[[Any], Any],
    runtime: Callable[[FakeKernel], Any],
    *,
    prepare: Callable[[Any], Any] | None = None,
    kernel: Callable[[], FakeKernel] = FakeKernel,
    errnos: Sequence[int] = (numbers.EIO,),
    hooks: bool = True,
    resources: Sequence[str] = tuple(RESOURCES),
) -> list[FaultReport]:
    """Run *operation* once for every possible fault, each time on a fresh kernel, and assert the promise.

    The promise: an operation that fails leaves the machine as it was or removes the container altogether;
    after the death of the runtime ``delete(force=True)`` removes everything; either way the whole can be
    repeated.

    Args:
        operation: Called with a runtime.
        runtime: Makes a runtime on a kernel, e.g. ``lambda k:
            orlop.Runtime.compose(platform=FakePlatform(k))``.
        prepare: Called with the runtime before, without faults; what it makes belongs to the operation.
        kernel: Makes a fresh kernel.
        errnos: The errors with which each step fails.
        hooks: Let each hook fail, hang and be slow as well.
        resources: What there is no more of, each time that somebody takes of it; see
            :data:`orlop_fake.faults.RESOURCES`.

    Returns:
        What happened at each point, in order.

    Raises:
        AssertionError: The promise was broken; the message names the fault and lists what was left.
    """
    trial = _Trial(operation, runtime, prepare, kernel)
    machine, made = trial.begin()
    points = machine.faults.record()
    operation(made)
    machine.faults.clear()
    seen: dict[str, int] = {}
    taken: dict[str, int] = {}
    reports: list[FaultReport] = []
    for point in list(points):
        nth = seen[point.name] = seen.get(point.name, 0) + 1
        acts = [("crash before", 0), ("crash after", 0)]
        if point.kind == STEP:
            acts += [(f"fail with {numbers.errorcode.get(number, str(number))}", number) for number in errnos]
        if hooks and point.name == "RunHook":
            acts += [("hook fails", 0), ("hook hangs", 0), ("hook is slow", 0)]
        for resource in resources:
            if takes(point, resource):
                taken[resource] = taken.get(resource, 0) + 1
                acts.append((f"{_OUT_OF}{resource}", taken[resource]))
        reports += [trial.run(point, nth, act, number) for act, number in acts]
    return reports


_OUT_OF = "out of "
_SLOW = 3600.0
"""Seconds of virtual time that a slow hook takes."""


class _Trial:
    """An operation that is tried again and again, each time with another fault."""

    def __init__(
        self,
        operation: Callable[[Any], Any],
        runtime: Callable[[FakeKernel], Any],
        prepare: Callable[[Any], Any] | None,
        kernel: Callable[[], FakeKernel],
    ) -> None:
        self._operation = operation
        self._runtime = runtime
        self._prepare = prepare or (lambda _: None)
        self._kernel = kernel

    def begin(self) -> tuple[FakeKernel, Any]:
        """Return a fresh machine and a runtime on it, prepared."""
        machine = self._kernel()
        made = self._runtime(machine)
        self._prepare(made)
        return machine, made

    def run(self, point: Point, nth: int, act: str, number: int) -> FaultReport:
        """Try the operation with one fault."""
        where = f"{act} at {point} (number {nth} of its name)"
        machine, made = self.begin()
        before = machine.leaks()
        _arm(machine.faults, point, nth, act, number)
        error: BaseException | None = None
        try:
            self._operation(made)
        except (RuntimeCrash, Exception) as raised:  # noqa: BLE001 - whatever it is, it is part of the report
            error = raised
        machine.faults.clear()
        if isinstance(error, RuntimeCrash):
            made = self._runtime(machine)
        elif error is not None:
            _check_failed(machine, made, before, where, error)
        sweep(made, machine)
        _check_empty(machine, f"after {where} and delete --force", error)
        try:
            self._prepare(made)
            self._operation(made)
        except Exception as failure:
            raise AssertionError(f"after {where} the operation cannot be repeated: {failure}") from failure
        sweep(made, machine)
        _check_empty(machine, f"after {where} and a repetition", error)
        return FaultReport(point, act, error)


def _arm(faults: Faults, point: Point, nth: int, act: str, number: int) -> None:
    """Let *act* happen at the *nth* point of this name; *number* is an errno, or counts a resource."""
    if act.startswith(_OUT_OF):
        faults.exhaust(act.removeprefix(_OUT_OF), number)
        return
    acts: dict[str, Callable[[], object]] = {
        "crash before": lambda: faults.crash_before(point.name, nth),
        "crash after": lambda: faults.crash_after(point.name, nth),
        "hook fails": lambda: faults.fail_hook(3, nth=nth),
        "hook hangs": lambda: faults.hang_hook(nth=nth),
        "hook is slow": lambda: faults.slow_hook(_SLOW, nth=nth),
    }
    acts.get(act, lambda: faults.fail(point.name, number, nth))()


def _check_failed(
    machine: FakeKernel, made: _Runtime, before: list[str], where: str, error: BaseException
) -> None:
    """Assert that an operation that failed undid itself, or left a container that is still known."""
    left = machine.leaks()
    listed = [identifier(one) for one in made.list()]
    if left not in ([], before) and not all(any(name in line for name in listed) for line in left):
        raise AssertionError(f"after {where} something is left:\n" + "\n".join(left)) from error


def _check_empty(machine: FakeKernel, when: str, error: BaseException | None) -> None:
    left = machine.leaks()
    if left:
        raise AssertionError(f"{when} something is left:\n" + "\n".join(left)) from error


def identifier(container: Any) -> str:  # noqa: ANN401 - a container, an identifier or a state document
    """Return the identifier of what a runtime's ``list`` yields."""
    if isinstance(container, str):
        return container
    if isinstance(container, dict):
        return str(container["id"])
    return str(container.id)


def sweep(runtime: _Runtime, machine: FakeKernel) -> None:
    """Delete, by force, every container of *runtime*, and free identifiers that were taken but never used.

    Such an identifier belongs to no container yet; ``orlop delete --force`` frees it, and so does this.
    """
    for name in [identifier(one) for one in runtime.list()]:
        runtime.get(name).delete(force=True)
    machine.memory.free_unused()
