"""Rules of platforms: what a kernel must do with plans, whatever it is made of."""

from __future__ import annotations

import inspect
import json
import re
from typing import TYPE_CHECKING

from orlop.kit.rules import rule
from orlop.plugins.facade import Hooks
from orlop.runtime import Runtime
from orlop_hookspecs.errors import ContainerExistsError, ContainerNotFoundError, StateError
from orlop_hookspecs.kernel import Kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from orlop.container import Container
    from orlop.kit.subject import Subject

_PATIENCE = 60.0
_KILLED = 128 + 9
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")


class _Place:
    """A machine of the platform, with a runtime."""

    def __init__(self, subject: Subject) -> None:
        subject.need("orlop_platform")
        self.bench = subject.bench()
        self.subject = subject
        self.runtime = self.again()

    def again(self) -> Runtime:
        """Return another runtime on the same machine."""
        return Runtime(self.subject.composition, self.bench.platform, root=self.bench.root)

    def create(self, name: str = "kit") -> Container:
        return self.runtime.create(name, self.bench.config(), **self.bench.launch())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for container in self.runtime.list():
                container.delete(force=True)
            self.runtime.close()
        finally:
            self.bench.close()


@rule("platform")
def supplies_its_platform(subject: Subject) -> Iterator[str]:
    """`orlop_platform` answers with a platform that has a name and makes kernels of that name."""
    subject.need("orlop_platform")
    for _, platform in Hooks([subject.verified]).platforms():
        kernel = platform.kernel()
        try:
            if kernel.name != platform.name:
                yield f"the platform is called {platform.name}, its kernel {kernel.name}"
        finally:
            kernel.close()


@rule("platform")
def kernels_have_every_method(subject: Subject) -> Iterator[str]:
    """A kernel has every method of the contract, with parameters of the same names."""
    with _Place(subject) as place:
        kernel = place.runtime.kernel
        for name, wanted in inspect.getmembers(Kernel, inspect.isfunction):
            if name.startswith("_"):
                continue
            method = getattr(kernel, name, None)
            if not callable(method):
                yield f"the kernel has no method {name}"
                continue
            yield from _parameters(name, wanted, method)


def _parameters(name: str, wanted: Callable[..., object], method: Callable[..., object]) -> Iterator[str]:
    own = inspect.signature(method).parameters
    if any(one.kind is one.VAR_KEYWORD for one in own.values()):
        return
    for parameter in list(inspect.signature(wanted).parameters.values())[1:]:
        if parameter.name not in own:
            yield f"{name} has no parameter {parameter.name}"
    for parameter in own.values():
        known = parameter.name in inspect.signature(wanted).parameters
        if (
            not known
            and parameter.default is parameter.empty
            and parameter.kind is not parameter.VAR_POSITIONAL
        ):
            yield f"{name} has a parameter {parameter.name} that nobody gives it"


@rule("platform")
def kernels_know_themselves_and_the_time(subject: Subject) -> Iterator[str]:
    """`identity` names the calling runtime, and `now` is RFC 3339 in UTC with nanoseconds."""
    with _Place(subject) as place:
        kernel = place.runtime.kernel
        pid, start = kernel.identity()
        if type(pid) is not int or type(start) is not int or pid <= 0:
            yield f"identity returned {(pid, start)!r}"
        if not _TIME.fullmatch(kernel.now()):
            yield f"now returned {kernel.now()!r}"


@rule("platform")
def states_follow_the_lifecycle(subject: Subject) -> Iterator[str]:
    """Created, running, stopped: as runtime.md has it, with a process id while there is a process."""
    with _Place(subject) as place:
        container = place.create()
        yield from _expect(container, "created", has_pid=True)
        container.start()
        yield from _expect(container, "running", has_pid=True)
        container.kill("SIGKILL")
        container.wait(_PATIENCE)
        yield from _expect(container, "stopped", has_pid=False)
        container.delete()
        yield from (f"left behind: {line}" for line in place.bench.left())


def _expect(container: Container, status: str, *, has_pid: bool) -> Iterator[str]:
    state = container.state()
    if state["status"] != status or ("pid" in state) is not has_pid:
        yield f"expected status {status}, found {state['status']}, pid {state.get('pid')}"


@rule("platform")
def operations_out_of_turn_are_refused(subject: Subject) -> Iterator[str]:
    """Starting twice, deleting what runs and signalling what has ended are errors that change nothing."""
    with _Place(subject) as place:
        container = place.create()
        container.start()
        for what, act in (("start", container.start), ("delete", container.delete)):
            try:
                act()
            except StateError:
                continue
            yield f"{what} of a running container was not refused"
        if container.status != "running":
            yield f"after refused operations the status is {container.status}"
        container.kill("SIGKILL")
        container.wait(_PATIENCE)
        try:
            container.kill("SIGTERM")
        except StateError:
            return
        yield "kill of a stopped container was not refused"


@rule("platform")
def ends_have_a_status(subject: Subject) -> Iterator[str]:
    """The caller that created a container learns that it was killed: 128 plus the signal."""
    with _Place(subject) as place:
        container = place.create()
        container.start()
        container.kill("SIGKILL")
        status = container.wait(_PATIENCE)
        if status not in {_KILLED, None}:
            yield f"wait returned {status} after SIGKILL"


@rule("platform")
def names_are_taken_and_given_back(subject: Subject) -> Iterator[str]:
    """An identifier belongs to one container until it is deleted, and can be used again after that."""
    with _Place(subject) as place:
        first = place.create()
        try:
            place.create()
            yield "an identifier was given to two containers"
        except ContainerExistsError:
            pass
        if first.status != "created":
            yield f"the refused create has changed the first container: {first.status}"
        first.delete(force=True)
        try:
            first.state()
            yield "a deleted container still has a state"
        except ContainerNotFoundError:
            pass
        place.create().delete(force=True)
        yield from (f"left behind: {line}" for line in place.bench.left())


@rule("platform")
def containers_outlive_the_runtime(subject: Subject) -> Iterator[str]:
    """Another runtime on the machine lists a container and finishes its life."""
    with _Place(subject) as place:
        place.create()
        place.runtime.close()
        other = place.again()
        names = [container.id for container in other.list()]
        if names != ["kit"]:
            yield f"another runtime lists {names}"
        container = other.get("kit")
        container.start()
        container.delete(force=True)
        yield from (f"left behind: {line}" for line in place.bench.left())


@rule("platform")
def undo_is_idempotent(subject: Subject) -> Iterator[str]:
    """`terminate` of a container that has ended does nothing, and deleting by force works in every state."""
    with _Place(subject) as place:
        container = place.create()
        container.start()
        record = container.record()
        place.runtime.kernel.terminate(record)
        place.runtime.kernel.terminate(record)
        if container.status != "stopped":
            yield f"after terminate the status is {container.status}"
        container.delete(force=True)
        yield from (f"left behind: {line}" for line in place.bench.left())


@rule("platform")
def live_containers_can_be_looked_at(subject: Subject) -> Iterator[str]:
    """Processes are listed with the container's own among them, and statistics are JSON data."""
    with _Place(subject) as place:
        container = place.create()
        container.start()
        if container.pid not in container.processes():
            yield f"process {container.pid} is not among {container.processes()}"
        json.dumps(container.stats(), allow_nan=False)
