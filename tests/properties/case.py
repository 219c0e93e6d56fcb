"""A case: some properties of a config, set to values whose effect can be read back.

The register of all cases is what the sweep on the real kernel runs and what the property table is made from.
A case runs alone, and, unless it says otherwise, together with others in one container.
"""

from __future__ import annotations

import copy
import importlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

Config = dict[str, Any]


class Seen(NamedTuple):
    """A running container, looked at from the host."""

    pid: int
    """Its process."""
    rootfs: Path
    """The image on the disk."""
    state: Mapping[str, Any]
    """Its state document."""

    def proc(self, name: str) -> str:
        """Return a file of the process in /proc."""
        return Path(f"/proc/{self.pid}/{name}").read_text()

    def cgroup(self, controller: str, v1: str, v2: str) -> str:
        """Return the value of a file of the container's cgroup, by the version that has the controller."""
        unified = ""
        for line in self.proc("cgroup").splitlines():
            number, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                return Path(f"{_hierarchy(controller)}{path}", v1).read_text().strip()
            if number == "0":
                unified = path
        top = Path("/sys/fs/cgroup")
        hybrid = top / "unified"
        return ((hybrid if hybrid.is_dir() else top) / unified[1:] / v2).read_text().strip()

    def is_v2(self, controller: str) -> bool:
        """Tell whether the controller is one of the unified hierarchy."""
        lines = self.proc("cgroup").splitlines()
        return not any(controller in line.split(":", 2)[1].split(",") for line in lines)


def _hierarchy(controller: str) -> str:
    """Return where the hierarchy of version 1 with a controller is mounted."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, kind = line.partition(" - ")
        if kind.startswith("cgroup ") and controller in kind.split()[2].split(","):
            return fields.split()[4]
    raise LookupError(controller)


class Case(NamedTuple):
    """Properties, values, and how their effect is read."""

    name: str
    """The test's name; the first property that it covers, with a word if there are several cases of it."""
    covers: tuple[str, ...]
    """Paths of the properties whose effect is read, as ``tests/unit/documents/properties.txt`` has them."""
    config: Config
    """What is merged into the base config; :data:`BUNDLE` in a string stands for the bundle's directory."""
    prepare: Callable[[Path], None] | None
    """Furnishes the bundle's directory."""
    probe: str
    """A shell script that runs inside; empty: nothing is read from inside."""
    shows: str | re.Pattern[str]
    """What the probe prints, without the last newline; a pattern has to match all of it."""
    host: Callable[[Seen], None] | None
    """Looks at the running container from the host, and asserts."""
    after: Callable[[Seen], None] | None
    """The same after the container was deleted."""
    needs: tuple[str, ...]
    """What a host may lack (:mod:`tests.needs`)."""
    hierarchy: str
    """Controllers of version 1 that no host mounts by itself; a hierarchy of theirs is mounted meanwhile."""
    last: Callable[[], None] | None
    """Tidies up, whatever has happened."""
    alone: bool
    """It cannot share a container with other cases."""


BUNDLE = "{bundle}"
"""What stands for the bundle's directory in a case's config."""

MODULES = (
    "process",
    "scheduling",
    "security",
    "mounts",
    "devices",
    "namespaces",
    "network",
    "cgroups",
    "seccomp",
    "hooks",
)
"""Where cases are registered."""

CASES: dict[str, Case] = {}
"""Every case by its name."""


def case(  # noqa: PLR0913 - a case is its parts; all of them are keywords
    *covers: str,
    config: Config,
    prepare: Callable[[Path], None] | None = None,
    probe: str = "",
    shows: str | re.Pattern[str] = "",
    host: Callable[[Seen], None] | None = None,
    after: Callable[[Seen], None] | None = None,
    needs: Sequence[str] = (),
    hierarchy: str = "",
    last: Callable[[], None] | None = None,
    alone: bool = False,
    name: str = "",
) -> None:
    """Register a case."""
    made = name or covers[0]
    assert made not in CASES, made
    assert probe or host or after, f"{made} reads nothing"
    CASES[made] = Case(
        made, covers, config, prepare, probe, shows, host, after, tuple(needs), hierarchy, last, alone
    )


def merge(base: Config, change: Mapping[str, Any]) -> Config:
    """Merge *change* into *base*: objects by member, arrays are appended, everything else replaces."""
    for key, value in change.items():
        there = base.get(key)
        if isinstance(value, Mapping) and isinstance(there, dict):
            merge(there, value)
        elif isinstance(value, list) and isinstance(there, list):
            there += copy.deepcopy(value)
        else:
            base[key] = copy.deepcopy(value)
    return base


def placed(value: Any, bundle: Path) -> Any:
    """Return a part of a config with the bundle's directory in its place."""
    if isinstance(value, str):
        return value.replace(BUNDLE, str(bundle))
    if isinstance(value, Mapping):
        return {key: placed(one, bundle) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(placed(one, bundle) for one in value)
    return value


def pointers(value: Any, at: str = "") -> Iterator[str]:
    """Yield the place of everything in a config that two cases could not both set."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from pointers(one, f"{at}/{key}")
    elif not isinstance(value, list):
        yield at


def load() -> dict[str, Case]:
    """Import all modules with cases, and return the cases."""
    for name in MODULES:
        importlib.import_module(f"tests.properties.{name}")
    return CASES
