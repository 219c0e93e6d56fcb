"""What came of each test on each lane: the host, and the virtual machine.

With ``ORLOP_LANE`` set, a run adds its outcomes to ``build/lanes/$ORLOP_LANE.json``. In the virtual machine
they also go, line by line, to the descriptor that the agent has opened, so that they are known even when the
machine dies.

    python -m tests.lanes      the tests that no lane ran, and why; status 1 when one of them should have
                               run, or a test that the property table names did not pass
    python -m tests.lanes --partial      the same after a run of some tests, or without the machine: only told

Tests that no lane can run are in ``tests/nowhere.toml``, with the reason.
"""

from __future__ import annotations

import json
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

DIRECTORY = Path(__file__).resolve().parent.parent / "build" / "lanes"
NOWHERE = Path(__file__).resolve().parent / "nowhere.toml"
# Each is worse than those before it: a test that passed and then failed to clean up has failed.
_ORDER = ("passed", "skipped", "failed")


class Recorder:
    """A plugin that gathers the outcomes of a run."""

    def __init__(self, lane: str, results: int | None = None) -> None:
        """Write to the lane's file at the end, and to the descriptor *results* at once."""
        self.lane = lane
        self.results = results
        self.outcomes: dict[str, dict[str, Any]] = {}
        if results is not None:
            os.set_inheritable(results, False)  # noqa: FBT003 - that is all that the function has

    def _tell(self, **event: Any) -> None:
        if self.results is not None:
            os.write(self.results, (json.dumps(event) + "\n").encode())

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Say which test is running, should it be the last one."""
        self._tell(id=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add what is known of one phase of a test."""
        new = {"outcome": report.outcome, "seconds": 0.0, "text": ""}
        one = self.outcomes.setdefault(report.nodeid, new)
        one["seconds"] = round(one["seconds"] + report.duration, 3)
        if report.skipped:
            where = report.longrepr
            one["text"] = (
                where[2].removeprefix("Skipped: ") if isinstance(where, tuple) else "expected failure"
            )
        elif report.failed:
            one["text"] += report.longreprtext
        one["outcome"] = max(one["outcome"], report.outcome, key=_ORDER.index)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Say what came of a test."""
        self._tell(id=nodeid, **self.outcomes[nodeid])

    def pytest_sessionfinish(self) -> None:
        """Write the file."""
        write(self.lane, self.outcomes)


def recorder(config: pytest.Config) -> Recorder | None:
    """Return the plugin for this run, if its outcomes are wanted; workers leave that to others."""
    lane = os.environ.get("ORLOP_LANE")
    if not lane or hasattr(config, "workerinput"):
        return None
    results = os.environ.get("ORLOP_RESULTS_FD")
    return Recorder(lane, int(results) if results else None)


def write(lane: str, outcomes: Mapping[str, Mapping[str, Any]]) -> None:
    """Add outcomes to those that a lane's file has already."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    whole = {**read(lane), **outcomes}
    temporary = DIRECTORY / f"{lane}.json.part"
    temporary.write_text(json.dumps(whole, indent=1, sort_keys=True) + "\n")
    temporary.replace(DIRECTORY / f"{lane}.json")


def read(lane: str) -> dict[str, dict[str, Any]]:
    """Return the outcomes of a lane by test id: ``outcome``, ``text`` and ``seconds`` each."""
    file = DIRECTORY / f"{lane}.json"
    found: dict[str, dict[str, Any]] = json.loads(file.read_text()) if file.exists() else {}
    return found


class Nowhere(NamedTuple):
    """Why some tests run on no lane."""

    reason: str
    """What all lanes lack."""
    tests: tuple[str, ...] = ()
    """Identifiers of the tests."""
    sometimes: bool = False
    """Some machine may have it, and then runs the tests; none that we start has."""
    skipped: str = ""
    """Words in the reason for which a test was skipped; they excuse it like its identifier."""


def excused() -> list[Nowhere]:
    """Return the tests that no lane has to run."""
    groups = tomllib.loads(NOWHERE.read_text(encoding="utf-8")).values()
    return [Nowhere(**{**group, "tests": tuple(group.get("tests", ()))}) for group in groups]


def all_lanes() -> dict[str, dict[str, dict[str, Any]]]:
    """Return the outcomes of every lane that has run."""
    return {file.stem: read(file.stem) for file in sorted(DIRECTORY.glob("*.json"))}


def run_nowhere() -> dict[str, dict[str, str]]:
    """Return the tests that were skipped on each lane that has them, with the reasons by lane."""
    lanes = all_lanes()
    found: dict[str, dict[str, str]] = {}
    for test in sorted({test for outcomes in lanes.values() for test in outcomes}):
        seen = {lane: outcomes[test] for lane, outcomes in lanes.items() if test in outcomes}
        if all(one["outcome"] == "skipped" for one in seen.values()):
            found[test] = {lane: one["text"] for lane, one in seen.items()}
    return found


def absent(nowhere: Mapping[str, Mapping[str, str]]) -> set[str]:
    """Return, of tests that ran nowhere, those that the reason for which they were skipped excuses."""
    words = [group.skipped for group in excused() if group.skipped]
    return {
        test
        for test, reasons in nowhere.items()
        if any(one in text for one in words for text in reasons.values())
    }


def faults() -> Iterator[str]:
    """Yield what is wrong: tests that ran nowhere without an excuse, excuses of tests that there are not."""
    nowhere = run_nowhere()
    excuses = excused()
    allowed = {test for group in excuses for test in group.tests}
    allowed |= absent(nowhere)
    for test, reasons in nowhere.items():
        if test not in allowed:
            why = "; ".join(f"{lane}: {text}" for lane, text in reasons.items())
            yield f"no lane ran {test} ({why}), and {NOWHERE.name} does not say why"
    known = {test for outcomes in all_lanes().values() for test in outcomes}
    # Where what is lacking is there, a test may have other parameters.
    functions = {test.partition("[")[0] for test in known}
    for group in excuses:
        for test in group.tests:
            if test not in known and not (group.sometimes and test.partition("[")[0] in functions):
                yield f"{NOWHERE.name} names {test}, and no lane has such a test"
            elif test not in nowhere and not group.sometimes:
                yield f"{NOWHERE.name} names {test}, which has run"


def main(arguments: list[str]) -> int:
    """Print what ran nowhere and what the property table lacks; judge it, unless only a part has run."""
    from tests.properties.proofs import unproven

    nowhere = run_nowhere()
    for test, reasons in nowhere.items():
        _say(f"{test}: {'; '.join(f'{lane}: {text}' for lane, text in reasons.items())}")
    _say(f"{len(nowhere)} tests that no lane ran")
    lanes = all_lanes()
    found = list(faults())
    listed = {test for group in excused() for test in group.tests}
    for subject, tests in unproven(lanes, listed, absent(nowhere)).items():
        found.append(
            f"{subject} is not proven: {', '.join(tests)} did not pass on {' or '.join(lanes) or 'any lane'}"
        )
    for line in found:
        _say(line)
    if "--partial" in arguments:
        return 0
    if "vm" not in lanes and not os.environ.get("CI"):
        _say("the virtual machine has not run: what only it can show is not judged")
        return 0
    return 1 if found else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
