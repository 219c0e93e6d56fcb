"""What the conformance runner reads out of a program's output."""

from __future__ import annotations

import json

import pytest
from tests.conformance.run import Result, Tap, parse_tap


def block(**members: object) -> str:
    lines = json.dumps(members, indent=2).splitlines()
    return "\n".join(("  ---", *(f"  {line}" for line in lines), "  ..."))


def result(text: str, status: int | None = 0) -> Result:
    return Result("program", "orlop", status, 0.1, parse_tap(text), 0, "")


def test_counts() -> None:
    text = "TAP version 13\nok 1 - a\nnot ok 2 - b\nok 3 # SKIP no\nnot ok 4 - c # TODO later\n1..4\n"
    tap = parse_tap(text)
    assert (tap.ok, tap.not_ok, tap.skipped, tap.todo, tap.planned) == (2, 1, 1, 1, 4)
    assert tap.failures == ["not ok 2 - b"]
    assert tap.complete


def test_a_name_may_contain_what_is_counted() -> None:
    tap = parse_tap("ok 1 - this is not ok # or is it\n# not ok either\nokay\n    ok 2 - somebody else's\n")
    assert (tap.ok, tap.not_ok, tap.skipped) == (1, 0, 0)


def test_an_expected_error_below_its_test_is_none() -> None:
    text = (
        f"ok 1 - refuses\n{block(error='exit status 1', stderr='no')}\nok 2 - refuses\nand more of a name\n"
    )
    tap = parse_tap(text + block(error="exit status 1"))
    assert (tap.ok, tap.errors) == (2, 0)


def test_an_error_in_place_of_a_test_counts() -> None:
    tap = parse_tap(f"TAP version 13\n{block(error='hooks are out of order')}\n1..0\n")
    assert (tap.ok, tap.errors, tap.failures) == (0, 1, ["hooks are out of order"])


def test_only_the_first_block_belongs_to_a_test() -> None:
    tap = parse_tap(f"ok 1\n{block(reference='x')}\n{block(error='late')}\n")
    assert tap.errors == 1


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_error_is_none(empty: object) -> None:
    assert parse_tap(f"{block(error=empty)}\n1..0").errors == 0


def test_a_block_of_plain_yaml() -> None:
    assert parse_tap("  ---\n  error: 'exit status 1'\n  ...\n").failures == ["exit status 1"]


def test_what_a_container_said_is_not_counted() -> None:
    inner = "TAP version 13\nnot ok 1 - inside\n1..1\n"
    assert parse_tap(f"{block(stdout=inner, stderr='')}\nok 1 - outside\n1..1\n") == Tap(ok=1, planned=1)


def test_bailing_out_is_an_error() -> None:
    assert parse_tap("ok 1\nBail out! no space\n").failures == ["Bail out! no space"]


@pytest.mark.parametrize(
    ("text", "status", "clean"),
    [
        ("ok 1\n1..1\n", 0, True),
        ("1..0\n", 0, True),
        ("ok 1\n1..1\n", 1, False),
        ("ok 1\n1..1\n", None, False),
        ("ok 1\n1..2\n", 0, False),
        ("ok 1\nnot ok 2\n1..2\n", 0, False),
        (f"{block(error='x')}\n1..0\n", 0, False),
    ],
)
def test_when_a_program_is_clean(text: str, status: int | None, clean: bool) -> None:
    made = result(text, status)
    assert made.clean == clean
    assert made.cell().startswith("clean") == clean
    assert ("timeout" in made.cell()) == (status is None)
