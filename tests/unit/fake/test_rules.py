"""The shared rules on the fake platform; the same run on Linux in tests/linux/test_rules.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.rules.fake_world import FakeWorld
from tests.rules.load import RULES
from tests.rules.world import NEEDS


@pytest.fixture
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[FakeWorld]:
    made = FakeWorld(tmp_path, cgroups=getattr(request, "param", "hybrid"))
    yield made
    made.close()


@pytest.mark.parametrize("name", RULES)
def test_rule(name: str, world: FakeWorld) -> None:
    RULES[name](world)


@pytest.mark.parametrize("world", ["v2", "v1"], indirect=True)
@pytest.mark.parametrize(
    "name",
    [name for name, function in RULES.items() if function.__module__.endswith(("resources", "lifecycle"))],
)
def test_rule_on_other_cgroup_versions(name: str, world: FakeWorld) -> None:
    RULES[name](world)


def test_there_are_many_rules() -> None:
    # All of them run here; on Linux, wherever the host is nothing special, those that need nothing of it.
    assert len(RULES) >= 250
    assert len([name for name in RULES if not NEEDS.get(name)]) >= 200
