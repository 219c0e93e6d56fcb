"""Whether each row of the table has a proof that was given: a test that passed on some lane."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tests.properties.table import RULES, must_rows, property_rows

Lanes = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Outcomes by lane and test, as :func:`tests.lanes.read` returns them."""


def unproven(lanes: Lanes) -> dict[str, list[str]]:
    """Return the tests of the table that passed on no lane, by what they should prove.

    A test without its parameters stands for all of its cases, of which one has to have passed. A rule is one
    test, on the fake platform and on Linux.
    """
    passed = [
        test for outcomes in lanes.values() for test, one in outcomes.items() if one["outcome"] == "passed"
    ]
    known = {_subject(test) for test in passed} | {test.partition("[")[0] for test in passed}
    found: dict[str, list[str]] = {}
    for row in (*property_rows(), *must_rows()):
        missing = _missing(row.tests, known)
        if missing:
            found[row.subject] = missing
    return found


def _missing(tests: Iterable[str], known: set[str]) -> list[str]:
    return [test for test in tests if _subject(test) not in known]


def _subject(test: str) -> str:
    name, bracket, parameter = test.partition("[")
    return f"rule {parameter}" if bracket and name in RULES else test
