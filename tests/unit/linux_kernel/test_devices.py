"""Device rules: the v1 form and the BPF program against one reference model."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from orlop_linux.kernel.cgroups.devices import changes, compile_v2, normalize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop_hookspecs.steps import DeviceRule

DENY_ALL: DeviceRule = (False, "a", None, None, "rwm")
ALLOW_ALL: DeviceRule = (True, "a", None, None, "rwm")
BITS = {"m": 1, "r": 2, "w": 4}
TYPES = {"b": 1, "c": 2}

numbers = st.one_of(st.none(), st.integers(0, 2))
accesses = st.sets(st.sampled_from("rwm"), min_size=1).map("".join)
rules = st.lists(st.tuples(st.booleans(), st.sampled_from("abc"), numbers, numbers, accesses), max_size=6)


def reference(rules: Sequence[DeviceRule], kind: str, major: int, minor: int, access: str) -> bool:
    """For each access, the last rule that names device and access decides; without any it is allowed."""
    for letter in access:
        answer = True
        for allow, rule_kind, rule_major, rule_minor, rule_access in rules:
            if (
                rule_kind in {"a", kind}
                and rule_major in {None, major}
                and rule_minor in {None, minor}
                and letter in rule_access
            ):
                answer = allow
        if not answer:
            return False
    return True


def run_program(program: bytes, kind: str, major: int, minor: int, access: str) -> bool:
    """Execute the BPF that compile_v2 emits."""
    context = (sum(BITS[letter] for letter in access) << 16 | TYPES[kind], major, minor)
    registers = [0xDEAD] * 11
    place = 0
    while True:
        code, regs, offset, imm = struct.unpack_from("=BBhi", program, place * 8)
        dst, src = regs & 15, regs >> 4
        place += 1
        if code == 0x61:
            assert src == 1
            registers[dst] = context[offset // 4]
        elif code == 0xBC:
            registers[dst] = registers[src]
        elif code == 0xB4:
            registers[dst] = imm & 0xFFFFFFFF
        elif code == 0x54:
            registers[dst] &= imm & 0xFFFFFFFF
        elif code == 0x74:
            registers[dst] >>= imm
        elif code == 0x56:
            place += offset if registers[dst] != imm & 0xFFFFFFFF else 0
        elif code == 0x16:
            place += offset if registers[dst] == imm & 0xFFFFFFFF else 0
        else:
            assert code == 0x95
            return bool(registers[0])


def run_lines(lines: list[tuple[bool, str]], kind: str, major: int, minor: int, access: str) -> bool:
    """Do what the v1 controller does: a default, exceptions by place, one exception for a whole open."""
    default = True
    exceptions: dict[tuple[str, str, str], set[str]] = {}
    for allow, text in lines:
        if text == "a":
            default, exceptions = allow, {}
            continue
        rule_kind, place, letters = text.split()
        rule_major, rule_minor = place.split(":")
        key = (rule_kind, rule_major, rule_minor)
        if allow != default:
            exceptions.setdefault(key, set()).update(letters)
        else:
            exceptions.get(key, set()).difference_update(letters)
    matching = [
        letters
        for (rule_kind, rule_major, rule_minor), letters in exceptions.items()
        if rule_kind == kind and rule_major in {"*", str(major)} and rule_minor in {"*", str(minor)}
    ]
    if default:
        return not any(letters & set(access) for letters in matching)
    return any(letters >= set(access) for letters in matching)


@given(rules, st.sampled_from("bc"), st.integers(0, 3), st.integers(0, 3), accesses)
def test_the_program_agrees_with_the_model(
    rules: list[DeviceRule], kind: str, major: int, minor: int, access: str
) -> None:
    expected = reference(rules, kind, major, minor, access)
    assert run_program(compile_v2(rules), kind, major, minor, access) == expected


@given(
    rules,
    st.booleans(),
    st.sampled_from("bc"),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from(["r", "w", "rw", "m"]),
)
def test_the_v1_lines_agree_with_the_model_or_are_refused(  # noqa: PLR0913, PLR0917 - one open(2)
    rules: list[DeviceRule], first: bool, kind: str, major: int, minor: int, access: str
) -> None:
    complete = [ALLOW_ALL if first else DENY_ALL, *rules]
    try:
        lines = normalize(complete)
    except ValueError:
        reject()
    expected = reference(complete, kind, major, minor, access)
    assert run_lines(lines, kind, major, minor, access) == expected


def test_what_v1_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="changes a part of the earlier rule 'c 1:\\* rwm'"):
        normalize([DENY_ALL, (True, "c", 1, None, "rwm"), (False, "c", 1, 3, "rwm")])


def test_taking_back_a_whole_exception_is_not() -> None:
    assert normalize([DENY_ALL, (True, "c", 1, 3, "rwm"), (False, "c", 1, None, "w")]) == [
        (False, "a"),
        (True, "c 1:3 rm"),
    ]


def test_a_narrow_exception_has_the_accesses_of_the_wide_one() -> None:
    lines = normalize([DENY_ALL, (True, "c", None, None, "r"), (True, "c", 1, 3, "w")])
    assert (True, "c 1:3 rw") in lines


def test_a_narrow_exception_does_not_repeat_what_is_asked_for_alone() -> None:
    """A device is never opened and made at once, so the list stays the one of the config."""
    lines = normalize([DENY_ALL, (True, "c", 1, 3, "rw"), (True, "c", None, None, "m")])
    assert lines == [(False, "a"), (True, "c 1:3 rw"), (True, "c *:* m")]


def test_a_rule_for_all_forgets_what_was_before() -> None:
    assert normalize([DENY_ALL, (True, "c", 1, 3, "rwm"), ALLOW_ALL]) == [(True, "a")]


def test_rules_without_a_default_are_written_as_they_stand() -> None:
    assert normalize([(True, "a", 1, None, "r"), (False, "b", 8, 0, "w")]) == [
        (True, "b 1:* r"),
        (True, "c 1:* r"),
        (False, "b 8:0 w"),
    ]


def test_numbers_that_no_device_has_match_nothing() -> None:
    program = compile_v2([DENY_ALL, (True, "c", 1 << 32 | 1, 3, "rwm")])
    assert not run_program(program, "c", 1, 3, "r")


def test_the_program_ends_at_a_rule_for_all() -> None:
    assert len(compile_v2([(True, "c", 1, 3, "rwm"), DENY_ALL])) == len(compile_v2([DENY_ALL]))


@pytest.mark.parametrize(
    ("present", "rules", "expected"),
    [
        ("a *:* rwm", [(True, "c", 1, 3, "rw")], [(False, "a"), (True, "c 1:3 rw")]),
        ("c 1:3 rw", [(True, "c", 1, 3, "rw")], []),
        (
            "c 1:3 rwm\nb 8:0 r",
            [(True, "c", 1, 3, "rw"), (True, "c", 10, None, "r")],
            [(False, "c 1:3 m"), (False, "b 8:0 r"), (True, "c 10:* r")],
        ),
        ("c 1:3 r", [(True, "a", None, None, "rwm")], [(True, "a")]),
    ],
)
def test_a_live_container_keeps_the_devices_that_it_may_keep(
    present: str, rules: list[DeviceRule], expected: list[tuple[bool, str]]
) -> None:
    assert changes(present, normalize([DENY_ALL, *rules])) == expected
