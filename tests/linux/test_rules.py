"""The shared rules on the real kernel; the same run on the fake in tests/unit/fake/test_rules.py."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.rules.linux_world import LinuxWorld
from tests.rules.load import RULES
from tests.rules.world import NEEDS

pytestmark = pytest.mark.skipif(not os.path.exists("/bin/busybox"), reason="needs a static busybox")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LinuxWorld]:
    # An image must be reachable by whoever the program runs as; pytest's own directories are private.
    for place in (tmp_path, *tmp_path.parents[:3]):
        if place.stat().st_uid == os.geteuid():
            place.chmod(stat.S_IMODE(place.stat().st_mode) | 0o711)
    made = LinuxWorld(tmp_path)
    yield made
    made.close()


# The modules whose rules are about control groups, of which each machine has its own kind.
_OF_GROUPS = ("tests.rules.lifecycle", "tests.rules.resources", "tests.rules.scopes")
_OF_GROUPS_TOO = frozenset(
    (
        "a_process_joins_the_namespaces_of_its_container",
        "joined_processes_are_processes_of_the_container",
        "cpus_that_the_kernel_would_leave_out_are_refused",
    )
)


def _marks(name: str) -> list[pytest.MarkDecorator]:
    about = RULES[name].__module__ in _OF_GROUPS or name in _OF_GROUPS_TOO
    of_groups = [pytest.mark.every_lane] if about else []
    return [pytest.mark.needs(*NEEDS.get(name, ())), *of_groups]


@pytest.mark.parametrize("name", [pytest.param(name, marks=_marks(name)) for name in RULES])
def test_rule(name: str, world: LinuxWorld) -> None:
    RULES[name](world)
