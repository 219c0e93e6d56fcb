"""The lane's run: outcomes while it goes on, and what is said when the machine dies."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests import lanes
from tests.vm import lane, session
from tests.vm.machine import NOWHERE, Ended, MachineError, Sinks

TESTS = ["t.py::one", "t.py::two[a b]", "t.py::three"]
PLAN = [lane.Case("v2", test) for test in TESTS]
Tell = Callable[..., None]
Behaviour = Callable[[list[str], Tell], Ended]


class Machine:
    """What stands for a machine: a behaviour is called with the tests that were asked for."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.listed: list[str] = []
        self.stopped = threading.Event()

    def stop(self) -> None:
        self.stopped.set()

    def run(self, argv: Sequence[str], *, data: bytes = b"", sinks: Sinks = NOWHERE, **_: Any) -> Ended:
        if argv[0] == "tee":
            self.listed = data.decode().splitlines()
            return Ended(0)

        def tell(test: str, **event: Any) -> None:
            line = (json.dumps({"id": test, **event}) + "\n").encode()
            # As it may come: in two pieces.
            sinks.results(line[:5])
            sinks.results(line[5:])

        sinks.output(b"what pytest said")
        return self.behaviour(self.listed, tell)


@pytest.fixture
def mishaps() -> list[str]:
    """Return a list for what the run says of machines that died."""
    return []


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mishaps: list[str]
) -> Callable[..., dict[str, lane.Outcome]]:
    """Return a function that runs the three tests in machines that behave as told, one after the other."""
    monkeypatch.setattr(lanes, "DIRECTORY", tmp_path)

    def run_all(*behaviours: Behaviour) -> dict[str, lane.Outcome]:
        left = list(behaviours)

        @contextlib.contextmanager
        def machine(kind: str) -> Iterator[Machine]:
            assert kind == "v2"
            yield Machine(left.pop(0))

        monkeypatch.setattr(session, "machine", machine)
        made = lane.Run(PLAN)
        made.start()
        outcomes = {test.id: made.wait(test) for test in PLAN}
        made.finish()
        mishaps.extend(made.mishaps)
        assert left == []
        assert lanes.read("vm") == {test: one._asdict() for test, one in outcomes.items()}
        return outcomes

    return run_all


def all_well(listed: list[str], tell: Tell) -> Ended:
    for test in listed:
        tell(test)
        tell(test, outcome="passed", text="", seconds=1.0)
    return Ended(0)


def dies_in_the_second(listed: list[str], tell: Tell) -> Ended:
    tell(listed[0], outcome="skipped", text="why", seconds=0.0)
    tell(listed[1])
    raise MachineError("it has died")


def dies_in_the_first(listed: list[str], tell: Tell) -> Ended:
    tell(listed[0])
    raise MachineError("it has died again")


def test_outcomes_are_those_of_the_machine(run: Callable[..., dict[str, lane.Outcome]]) -> None:
    assert run(all_well) == dict.fromkeys(TESTS, lane.Outcome("passed", "", 1.0))


def test_a_death_is_blamed_on_what_was_running_and_the_rest_goes_on(
    run: Callable[..., dict[str, lane.Outcome]],
) -> None:
    one, two, three = run(dies_in_the_second, dies_in_the_first, all_well).values()
    assert one == lane.Outcome("skipped", "why")
    assert two == lane.Outcome("failed", "it has died again")
    assert three.outcome == "passed"


def test_a_machine_that_dies_once_is_replaced_and_told_of(
    run: Callable[..., dict[str, lane.Outcome]], mishaps: list[str]
) -> None:
    outcomes = run(dies_in_the_second, all_well)
    assert [one.outcome for one in outcomes.values()] == ["skipped", "passed", "passed"]
    assert mishaps == ["during t.py::two[a b]: it has died"]


def test_a_run_that_ends_early_is_blamed_on_what_was_running(
    run: Callable[..., dict[str, lane.Outcome]],
) -> None:
    def hangs(listed: list[str], tell: Tell) -> Ended:
        tell(listed[0], outcome="passed", text="", seconds=0.0)
        tell(listed[1])
        return Ended(1)

    def hangs_again(listed: list[str], tell: Tell) -> Ended:
        tell(listed[0])
        return Ended(1)

    one, two, three = run(hangs, hangs_again, all_well).values()
    assert (one.outcome, two.outcome, three.outcome) == ("passed", "failed", "passed")
    assert "what pytest said" in two.text


def test_the_deadline_is_told(run: Callable[..., dict[str, lane.Outcome]]) -> None:
    def slow(listed: list[str], tell: Tell) -> Ended:
        tell(listed[0])
        return Ended(-9, timed_out=True)

    one, two, _ = run(slow).values()
    assert "seconds are over" in one.text
    assert two.outcome == "failed"


def test_machines_that_die_at_once_end_the_run(run: Callable[..., dict[str, lane.Outcome]]) -> None:
    def dies(listed: list[str], tell: Tell) -> Ended:
        raise MachineError("dead\nand what else it said")

    texts = [one.text for one in run(dies, dies, dies, dies).values()]
    assert texts == ["dead\nand what else it said"] * 3


def test_a_run_that_is_stopped_begins_no_other_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(lanes, "DIRECTORY", tmp_path)
    running = threading.Event()
    begun: list[Machine] = []

    def waits(listed: list[str], tell: Tell) -> Ended:
        tell(listed[0])
        running.set()
        begun[0].stopped.wait(60)
        raise MachineError("it has died")

    @contextlib.contextmanager
    def machine(kind: str) -> Iterator[Machine]:
        begun.append(Machine(waits))
        yield begun[-1]

    monkeypatch.setattr(session, "machine", machine)
    made = lane.Run(PLAN)
    made.start()
    assert running.wait(60)
    made.stop()
    made.finish()
    assert len(begun) == 1
    assert [made.wait(test).outcome for test in PLAN] == ["failed"] * 3
