"""Whether each row of the table has its proofs: tests that passed on some lane."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from tests.properties.table import RULES, Row, contract_rows, must_rows, property_rows

Lanes = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Outcomes by lane and test, as :func:`tests.lanes.read` returns them."""

FAKE, LINUX = RULES


def unproven(
    lanes: Lanes, excused: AbstractSet[str] = frozenset(), absent: AbstractSet[str] = frozenset()
) -> dict[str, list[str]]:
    """Return the tests of the table that did not pass where they belong, by what they should prove.

    Each test that a row names has to have passed on some lane: a test of Linux on the host or in the virtual
    machine, whatever came of its like on the fake platform. A test without its parameters stands for all of
    its cases, and each of them has to have passed.

    Args:
        lanes: What came of the tests.
        excused: Tests that no lane can run. Only a rule can be among them, and what it proves, the same rule
            on the fake platform has to prove in the same row.
        absent: Tests for want of which a row is proven all the same, if another of its tests has passed.
    """
    outcomes: dict[str, set[str]] = {}
    for tests in lanes.values():
        for test, one in tests.items():
            outcomes.setdefault(test, set()).add(one["outcome"])
    cases: dict[str, list[str]] = {}
    for test in outcomes:
        cases.setdefault(test.partition("[")[0], []).append(test)
    passed = {test for test, seen in outcomes.items() if "passed" in seen}
    found: dict[str, list[str]] = {}
    for row in (*property_rows(), *must_rows(), *contract_rows()):
        wanted = [
            one
            for test in row.tests
            if not _is_excused(test, row, excused)
            for one in cases.get(test, [test])
        ]
        missing = [one for one in wanted if one not in passed]
        if len(missing) < len(wanted):
            missing = [one for one in missing if one not in absent]
        if missing:
            found[row.subject] = missing
    return found


def _is_excused(test: str, row: Row, excused: AbstractSet[str]) -> bool:
    name, _, parameter = test.partition("[")
    return name == LINUX and test in excused and f"{FAKE}[{parameter}" in row.tests
