"""A row of the table is proven when each of its tests has passed on some lane."""

from __future__ import annotations

from typing import Any

from tests.lanes import excused
from tests.properties.proofs import unproven
from tests.properties.table import contract_rows, must_rows, property_rows
from tests.rules.world import NEEDS

ROWS = (*property_rows(), *must_rows(), *contract_rows())
ALL = [test for row in ROWS for test in row.tests]


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


def unproven_tests(outcome: dict[str, dict[str, Any]], *excused: str) -> list[str]:
    return [one for tests in unproven({"host": outcome}, set(excused)).values() for one in tests]


def test_all_cases_of_a_test_have_to_pass() -> None:
    plain = next(test for test in ALL if "[" not in test)
    passed = outcomes(f"{plain}[one]")
    assert plain not in unproven_tests(passed)
    other = f"{plain}[other]"
    assert other in unproven_tests(passed | outcomes(other, outcome="skipped"))


def test_an_absent_case_is_made_up_for_by_another_that_passed() -> None:
    subject, plain = next((row.subject, row.tests[0]) for row in contract_rows() if len(row.tests) == 1)
    rest = outcomes(*(test for test in ALL if test != plain))
    one, other = f"{plain}[one]", f"{plain}[other]"
    lane = {**rest, **outcomes(one), **outcomes(other, outcome="skipped")}
    assert unproven({"host": lane}, absent={other}) == {}
    assert unproven({"host": lane})[subject] == [other]
    nothing = {**rest, **outcomes(one, other, outcome="skipped")}
    assert unproven({"host": nothing}, absent={one, other})[subject] == [one, other]


RULE = "tests/linux/test_rules.py::test_rule[the_default_class_has_a_name]"
ON_FAKE = RULE.replace("linux/", "unit/fake/")


def test_a_rule_has_to_pass_on_both_platforms() -> None:
    assert RULE in ALL
    assert RULE in unproven_tests(outcomes(ON_FAKE))
    assert ON_FAKE in unproven_tests(outcomes(RULE))


def test_the_fake_stands_in_for_a_rule_that_no_machine_can_run() -> None:
    assert RULE not in unproven_tests(outcomes(ON_FAKE), RULE, ON_FAKE)
    assert ON_FAKE in unproven_tests({}, RULE, ON_FAKE)


def test_nothing_stands_in_for_any_other_test() -> None:
    (test,) = (test for row in property_rows() if row.subject == "hostname" for test in row.tests)
    assert test in unproven_tests({}, test)


def test_without_lanes_nothing_is_proven() -> None:
    assert len(unproven({})) == len({row.subject for row in ROWS})


def test_no_proof_is_excused_but_rules_of_resctrl() -> None:
    listed = {test for group in excused() for test in group.tests}
    functions = {test.partition("[")[0] for test in listed}
    for test in ALL:
        if test in listed:
            name, _, parameter = test.partition("[")
            assert name == "tests/linux/test_rules.py::test_rule", test
            assert NEEDS[parameter.removesuffix("]")] == ("resctrl",), test
        elif "[" not in test:
            assert test not in functions
