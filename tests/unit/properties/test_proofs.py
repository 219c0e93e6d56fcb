"""A row of the table is proven when each of its tests has passed on some lane."""

from __future__ import annotations

from typing import Any

from tests.properties.proofs import unproven
from tests.properties.table import must_rows, property_rows

ALL = [test for row in (*property_rows(), *must_rows()) for test in row.tests]


def outcomes(*tests: str, outcome: str = "passed") -> dict[str, dict[str, Any]]:
    return {test: {"outcome": outcome} for test in tests}


def test_all_passed_somewhere() -> None:
    half = len(ALL) // 2
    assert unproven({"host": outcomes(*ALL[:half]), "vm": outcomes(*ALL[half:])}) == {}


def test_what_was_skipped_or_failed_everywhere_is_not_proven() -> None:
    test = next(test for row in property_rows() if row.subject == "hostname" for test in row.tests)
    rest = outcomes(*(one for one in ALL if one != test))
    for outcome in ("skipped", "failed"):
        lanes = {"host": rest | outcomes(test, outcome=outcome), "vm": outcomes(test, outcome=outcome)}
        assert test in unproven(lanes)["hostname"]
    assert unproven({"host": rest | outcomes(test, outcome="skipped"), "vm": outcomes(test)}) == {}


def test_one_case_stands_for_a_test_with_parameters() -> None:
    plain = next(test for test in ALL if "[" not in test)
    assert plain not in [
        one for tests in unproven({"host": outcomes(f"{plain}[some]")}).values() for one in tests
    ]


def test_a_rule_may_be_proven_on_either_platform() -> None:
    rule = "tests/linux/test_rules.py::test_rule[start_runs_the_program]"
    fake = outcomes(rule.replace("linux/", "unit/fake/"))
    assert rule not in [one for tests in unproven({"host": fake}).values() for one in tests]


def test_without_lanes_nothing_is_proven() -> None:
    assert len(unproven({})) == len({row.subject for row in (*property_rows(), *must_rows())})
