"""Whole lives of several containers, in any order, compared with what the specification says of each step.

For hypothesis (https://hypothesis.readthedocs.io), which looks for the shortest sequence that breaks a rule::

    class TestMyRuntime(lifecycle_machine(make_runtime).TestCase):
        pass

Between any two steps the runtime may be another one, a step of the next operation may fail, and the runtime
may die in it. After each, what the kernel has is what the containers account for, and nothing else.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

try:
    from hypothesis import strategies as st
    from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
except ImportError as error:
    raise ImportError(f"orlop_fake.stateful needs hypothesis: pip install hypothesis ({error})") from error

from orlop_fake.kernel import FakeKernel
from orlop_fake.refusals import RuntimeCrash
from orlop_fake.testing import identifier, sweep
from orlop_hookspecs.errors import OrlopError

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ("a", "b", "c")
"""The containers."""

CREATED, RUNNING, PAUSED, STOPPED = "created", "running", "paused", "stopped"

ALLOWED: dict[str, dict[str, str]] = {
    "start": {CREATED: RUNNING},
    "kill": {CREATED: STOPPED, RUNNING: STOPPED},
    "pause": {CREATED: PAUSED, RUNNING: PAUSED},
    "resume": {},
    "delete": {STOPPED: ""},
}
"""Operation to the states in which it is allowed, and the state after it (runtime.md, Operations)."""

POINTS = (
    "*",
    "CreateCgroup",
    "JoinCgroup",
    "PrepareRoot",
    "NewNamespace",
    "Execute",
    "clone",
    "commit",
    "slot.*",
)
"""Where something goes wrong."""


def machine() -> FakeKernel:
    """Return a machine with an image at ``/image``."""
    kernel = FakeKernel()
    kernel.add_rootfs("/image")
    return kernel


def plain_config() -> dict[str, Any]:
    """Return a config whose program sleeps for ever."""
    return {
        "ociVersion": "1.3.0",
        "root": {"path": "/image"},
        "process": {"args": ["/bin/sleep", "infinity"], "cwd": "/", "user": {"uid": 0, "gid": 0}},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "uts"}], "resources": {"pids": {"limit": 9}}},
    }


class Lives(RuleBasedStateMachine):
    """Containers, and what is to be known of them; :func:`lifecycle_machine` says of which runtime."""

    make_runtime: Callable[[FakeKernel], Any]
    make_kernel: Callable[[], FakeKernel] = staticmethod(machine)
    make_config: Callable[[], dict[str, Any]] = staticmethod(plain_config)

    @initialize()
    def boot(self) -> None:
        """Boot a machine with nothing on it."""
        self.kernel = type(self).make_kernel()
        self.runtime = type(self).make_runtime(self.kernel)
        self.known: dict[str, str] = {}

    def _config(self, name: str) -> dict[str, Any]:
        made = type(self).make_config()
        made.setdefault("linux", {})["cgroupsPath"] = f"/{name}"
        return made

    # -- operations

    @rule(name=st.sampled_from(NAMES))
    def create(self, name: str) -> None:
        """Create a container, unless its name is taken."""
        if name in self.known:
            self._refused(lambda: self.runtime.create(name, self._config(name)), "exists")
        else:
            self.runtime.create(name, self._config(name))
            self.known[name] = CREATED

    @rule(name=st.sampled_from(NAMES), operation=st.sampled_from(sorted(ALLOWED)))
    def operate(self, name: str, operation: str) -> None:
        """Do to a container what its state allows; what it does not allow changes nothing."""
        before = self.known.get(name)
        if before is None:
            self._refused(lambda: self.runtime.get(name), "not-found")
            return
        container = self.runtime.get(name)
        arguments = ("KILL",) if operation == "kill" else ()

        def act() -> None:
            getattr(container, operation)(*arguments)

        after = ALLOWED[operation].get(before)
        if operation == "resume" and before == PAUSED:
            act()
            self.known[name] = container.status
        elif operation == "kill" and before == PAUSED:
            container.delete(force=True)
            del self.known[name]
        elif after is None:
            self._refused(act, "state")
        else:
            act()
            if after:
                self.known[name] = after
            else:
                del self.known[name]

    @rule(name=st.sampled_from(NAMES))
    def remove(self, name: str) -> None:
        """Delete a container by force, whatever it does."""
        if self.known.pop(name, None) is not None:
            self.runtime.get(name).delete(force=True)

    @rule(name=st.sampled_from(NAMES), limit=st.integers(1, 50))
    def update(self, name: str, limit: int) -> None:
        """Change a limit of a container that has not stopped."""
        if self.known.get(name) in {CREATED, RUNNING, PAUSED}:
            self.runtime.get(name).update({"pids": {"limit": limit}})
            found = self.kernel.cgroup(name, "pids").read("pids.max").strip()
            _require(found == str(limit), f"the limit of {name} is {found}, not {limit}")

    # -- what goes wrong

    @rule()
    def another_runtime(self) -> None:
        """Go on with a runtime that has seen nothing of all this."""
        self.runtime = type(self).make_runtime(self.kernel)

    @rule(
        name=st.sampled_from(NAMES),
        where=st.sampled_from(POINTS),
        nth=st.integers(1, 12),
        number=st.sampled_from((errno.EIO, errno.ENOMEM, errno.ENOSPC)),
    )
    def create_with_a_fault(self, name: str, where: str, nth: int, number: int) -> None:
        """Let a step of a creation fail: then it has not been."""
        if name in self.known:
            return
        self.kernel.faults.fail(where, number, nth)
        try:
            self.runtime.create(name, self._config(name))
            self.known[name] = CREATED
        except OrlopError as error:
            _require(error.errno == number, str(error))
        finally:
            self.kernel.faults.clear()

    @rule(
        name=st.sampled_from(NAMES),
        where=st.sampled_from(POINTS),
        nth=st.integers(1, 40),
        before=st.booleans(),
    )
    def create_and_die(self, name: str, where: str, nth: int, before: bool) -> None:  # noqa: FBT001 - drawn
        """Let the runtime die in a creation: the next one removes what is left of it."""
        if name in self.known:
            return
        faults = self.kernel.faults
        (faults.crash_before if before else faults.crash_after)(where, nth)
        died = True
        try:
            self.runtime.create(name, self._config(name))
            died = False
        except RuntimeCrash:
            pass  # what runs while it unwinds is code of the dead runtime
        faults.clear()
        if not died:
            self.known[name] = CREATED
            return
        self.runtime = type(self).make_runtime(self.kernel)
        if name in [identifier(one) for one in self.runtime.list()]:
            self.runtime.get(name).delete(force=True)
        self.kernel.memory.free_unused()

    # -- what holds at any time

    @invariant()
    def states_are_known(self) -> None:
        """Every container is listed, in the state that it is to be in, and no other is."""
        found = {identifier(one): self.runtime.get(identifier(one)).status for one in self.runtime.list()}
        _require(found == self.known, f"found {found}, expected {self.known}")

    @invariant()
    def nothing_belongs_to_nobody(self) -> None:
        """Whatever is left on the machine belongs to a container that is known."""
        for line in self.kernel.leaks():
            owned = any(f"container {name}" in line or line.endswith(f" {name}") for name in self.known)
            _require(owned, f"it belongs to no container: {line}")

    def teardown(self) -> None:
        """Remove all containers; then the machine is as it was."""
        if hasattr(self, "kernel"):
            sweep(self.runtime, self.kernel)
            _require(not self.kernel.leaks(), "; ".join(self.kernel.leaks()))

    @staticmethod
    def _refused(act: Callable[[], object], code: str) -> None:
        try:
            act()
        except OrlopError as error:
            _require(error.code == code, str(error))
        else:
            raise AssertionError(f"expected an error of kind {code}")


def lifecycle_machine(
    runtime: Callable[[FakeKernel], Any],
    *,
    kernel: Callable[[], FakeKernel] = machine,
    config: Callable[[], dict[str, Any]] = plain_config,
) -> type[Lives]:
    """Return the class of a hypothesis state machine.

    Args:
        runtime: Makes a runtime on a kernel.
        kernel: Makes a machine.
        config: Makes the config of a container; its program ends by SIGKILL only.
    """
    made: dict[str, Any] = {
        "make_runtime": staticmethod(runtime),
        "make_kernel": staticmethod(kernel),
        "make_config": staticmethod(config),
    }
    return type("Lives", (Lives,), made)


def _require(holds: object, message: str) -> None:
    if not holds:
        raise AssertionError(message)
