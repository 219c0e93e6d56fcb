"""The lane: what the host skips for want of something, and what every lane runs, in the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from tests import lanes
from tests.vm import session
from tests.vm.machine import KINDS, Machine, MachineError, Sinks
from tests.vm.recipe import ROOT
from tests.vm.rootfs import BuildError

NAME = "vm"
PLACES = ("tests/attacks", "tests/engines", "tests/linux")
# For all of the lane's tests together, many times what they take; so many machines may die on the way.
SECONDS = 4800.0
_DEATHS = 4
# A test that hangs ends pytest, after many times what the slowest one takes. Files in /tmp are memory.
_OPTIONS = ("-o", "faulthandler_timeout=900", "-o", "tmp_path_retention_policy=none")
_COLLECTED = "ORLOP_COLLECTED"


class Outcome(NamedTuple):
    """What came of one test in the machine."""

    outcome: str
    text: str = ""
    seconds: float = 0.0


class Case(NamedTuple):
    """A test of the lane."""

    machine: str
    id: str

    @property
    def name(self) -> str:
        """Its name on the host."""
        return self.id if self.machine == "v2" else f"{self.machine}:{self.id}"


def collect() -> list[Case]:
    """Return the lane's tests, as the host sees them, in the order in which they run: by machine."""
    with tempfile.NamedTemporaryFile(prefix="orlop-lane-", suffix=".json") as file:
        command = [
            sys.executable,
            "-m",
            "pytest",
            *PLACES,
            "--collect-only",
            "-q",
            "-p",
            "tests.vm.collector",
        ]
        environment = {**os.environ, _COLLECTED: file.name}
        environment.pop("ORLOP_LANE", None)
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise RuntimeError(f"the lane's tests cannot be collected:\n{done.stdout}{done.stderr}")
        return by_machine(Case(*one) for one in json.load(file))


def by_machine(tests: Iterable[Case]) -> list[Case]:
    """Return the tests of one machine before those of the next."""
    return sorted(tests, key=lambda one: list(KINDS).index(one.machine))


class Run:
    """The lane's tests on their way, in a thread; outcomes can be waited for while others still run."""

    def __init__(self, tests: Sequence[Case]) -> None:
        """Take tests, in the order in which they run; one machine is done before the next begins."""
        self.tests = by_machine(tests)
        self.said = bytearray()
        self.mishaps: list[str] = []
        """What each machine that died said, and during which test."""
        self._outcomes: dict[str, Outcome] = {}
        self._current = ""
        self._partial = b""
        self._changed = threading.Condition()
        self._machine: Machine | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="virtual machine")

    def start(self) -> None:
        """Start the machine and the tests."""
        self._thread.start()

    def stop(self) -> None:
        """End the machine and begin no other; tests without an outcome have failed."""
        self._stopped = True
        if self._machine is not None:
            self._machine.stop()

    def finish(self) -> None:
        """Wait for the end, and add the outcomes to the lane's file."""
        self._thread.join()
        lanes.write(NAME, {test: one._asdict() for test, one in self._outcomes.items()})

    def wait(self, test: Case) -> Outcome:
        """Return what came of a test, once it is known."""
        with self._changed:
            self._changed.wait_for(lambda: test.id in self._outcomes)
            return self._outcomes[test.id]

    def _settle(self, test: str, outcome: Outcome) -> None:
        with self._changed:
            self._outcomes.setdefault(test, outcome)
            self._changed.notify_all()

    def _left(self) -> list[Case]:
        return [test for test in self.tests if test.id not in self._outcomes]

    def _run(self) -> None:
        """Run all; where the machine dies twice blame the test that was running, and go on without it."""
        deadline = time.monotonic() + SECONDS
        reason = ""
        try:
            suspects: set[str] = set()
            while not self._stopped and len(self.mishaps) < _DEATHS and (left := self._left()):
                tests = [one.id for one in left if one.machine == left[0].machine]
                try:
                    self._in_one_machine(left[0].machine, tests, deadline - time.monotonic())
                except MachineError as error:
                    reason = str(error)
                    test = self._current or tests[0]
                    self.mishaps.append(f"during {test}: {reason}")
                    # An emulator may die of something else than the test; not twice in the same one.
                    if test in suspects:
                        self._settle(test, Outcome("failed", reason))
                    suspects.add(test)
        except (BuildError, OSError, MachineError) as error:
            reason = str(error)
        finally:
            for one in self._left():
                self._settle(one.id, Outcome("failed", reason))
                # All of it once; pytest tells each failure.
                reason = reason.partition("\n")[0]

    def _in_one_machine(self, kind: str, tests: list[str], seconds: float) -> None:
        command = ["python", "-m", "pytest", "-q", "--no-header", *_OPTIONS, "@/run/lane"]
        listed = "".join(f"{test}\n" for test in tests).encode()
        self._current, self._partial = "", b""
        self.said.clear()
        with session.machine(kind) as machine:
            self._machine = machine
            if self._stopped:
                return
            machine.run(["tee", "/run/lane"], timeout=seconds, data=listed)
            sinks = Sinks(self.said.extend, self.said.extend, self._result)
            ended = machine.run(command, timeout=seconds, env={"ORLOP_LANE": NAME}, sinks=sinks)
        said = self.said.decode(errors="replace")
        if ended.timed_out:
            raise TimeoutError(f"the lane's {SECONDS:.0f} seconds are over; pytest said:\n{said}")
        if any(test not in self._outcomes for test in tests):
            raise MachineError(f"pytest ended early there, with status {ended.status}, and said:\n{said}")

    def _result(self, data: bytes) -> None:
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            event: dict[str, Any] = json.loads(line)
            self._current = event.pop("id")
            if event:
                self._settle(self._current, Outcome(**event))
