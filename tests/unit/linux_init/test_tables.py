"""The child may import nothing of the planners, nor they anything of the child: two tables, one truth."""

from __future__ import annotations

from orlop_linux.init import identity
from orlop_linux.plugins import capabilities, rlimits


def test_the_child_numbers_exactly_the_capabilities_that_the_planner_takes() -> None:
    assert identity.CAPABILITIES == capabilities.NAMES


def test_the_child_numbers_exactly_the_limits_that_the_planner_takes() -> None:
    assert set(identity.RLIMITS) == rlimits.NAMES
