"""Each property: refused by a composition without its plugin, and refused when its value is of no use.

The configs are those of the sweep on the real kernel, so that a new property is in all three.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.properties.case import Case, load, merge, placed
from tests.properties.catalogue import Property, properties

import orlop

PROPERTIES = properties()
CASES: dict[str, Case] = {}
for _case in load().values():
    for _path in _case.covers:
        CASES.setdefault(_path, _case)
BASE: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "root": {"path": "/bundle/rootfs"},
    "process": {"user": {"uid": 0, "gid": 0}, "args": ["/bin/sh"], "cwd": "/"},
    "linux": {
        "cgroupsPath": "/box",
        "namespaces": [{"type": one} for one in ("mount", "pid", "uts", "ipc", "network")],
    },
}
WRONG: dict[str, tuple[object, ...]] = {
    "string": (7, True, ["text"], {}, 1.5),
    "integer": ("7", True, 1.5, [7], {}),
    "boolean": ("true", 1, [True], {}),
}
"""Values of the wrong type, by the right one."""


@functools.cache
def runtime(*without: str) -> orlop.Runtime:
    """Return a runtime with all plugins but those named and those that need them."""
    whole = orlop.Runtime.compose(platform="fake")
    if not without:
        return whole
    left = [one for one in whole.plugins if one.info.name not in without]
    gone = set(without)
    while more := {one.info.name for one in left if not gone.isdisjoint(one.info.requires)}:
        gone |= more
        left = [one for one in left if one.info.name not in gone]
    return orlop.Runtime.compose(platform="fake", plugins=[one.info.name for one in left])


def config_of(path: str) -> dict[str, Any]:
    """Return a config that sets a property."""
    made = merge(copy.deepcopy(BASE), placed(CASES[path].config, Path("/bundle")))
    places = tuple(places_of(made, path.split(".")))
    assert places, f"the case does not set {path}"
    return made


def places_of(data: Any, parts: list[str], at: str = "") -> Iterator[tuple[Any, Any, str]]:
    """Yield the container, the key and the JSON pointer of each value at a property path."""
    part, rest = parts[0], parts[1:]
    name, depth = re.subn(r"\[\]", "", part)
    keys = list(data) if name == "*" and isinstance(data, dict) else [name]
    for key in keys:
        if not isinstance(data, dict) or key not in data:
            continue
        yield from _inside(data, key, depth, rest, f"{at}/{key.replace('~', '~0').replace('/', '~1')}")


def _inside(data: Any, key: Any, depth: int, rest: list[str], at: str) -> Iterator[tuple[Any, Any, str]]:
    if depth:
        for index in range(len(data[key])):
            yield from _inside(data[key], index, depth - 1, rest, f"{at}/{index}")
    elif rest:
        yield from places_of(data[key], rest, at)
    else:
        yield data, key, at


# The version is the core's own to judge.
@pytest.mark.parametrize("path", sorted(CASES.keys() - {"ociVersion"}))
def test_a_composition_without_its_plugin_refuses_it(path: str) -> None:
    config = config_of(path)
    handlers = runtime().composition.coverage.handlers(PROPERTIES[path].handle)
    assert handlers, f"no plugin handles {path}"
    assert runtime().check(config).accepted, runtime().check(config).as_text()
    verdict = runtime(*handlers).check(config)
    pointers = {at for _, _, at in places_of(config, path.split("."))}
    refused = [one.pointer for one in verdict.refused]
    # What stands above a property is refused with it.
    assert any(at == one or at.startswith(f"{one}/") for at in pointers for one in refused), refused
    for one in verdict.refused:
        assert one.message


UNHANDLED: tuple[tuple[str, object, str], ...] = (
    ("process.commandLine", "sh -c true", "/process/commandLine"),
    ("process.user.username", "someone", "/process/user/username"),
)
"""Properties of config.json that are other platforms', a value, and what the refusal points at."""


def _unhandled() -> set[str]:
    coverage = runtime().composition.coverage
    return {path for path, one in PROPERTIES.items() if not coverage.handlers(one.handle)} - {"ociVersion"}


def test_all_that_nobody_handles_is_known() -> None:
    assert _unhandled() == {path for path, _, _ in UNHANDLED}


@pytest.mark.parametrize(("path", "value", "pointer"), UNHANDLED)
def test_what_nobody_handles_is_refused(path: str, value: object, pointer: str) -> None:
    config = copy.deepcopy(BASE)
    place = config
    *parents, last = path.split(".")
    for name in parents:
        place = place.setdefault(name, {})
    place[last] = value
    assert pointer in {one.pointer for one in runtime().check(config).refused}


def _wrong() -> Iterator[Any]:
    for path in sorted(CASES):
        for value in WRONG[PROPERTIES[path].kind]:
            yield pytest.param(path, value, id=f"{path} {value!r}")


@pytest.mark.parametrize(("path", "value"), list(_wrong()))
def test_a_value_of_the_wrong_type_is_refused(path: str, value: object) -> None:
    _refused(path, value)


def _out_of_range(one: Property) -> Iterator[object]:
    if one.kind == "integer":
        lowest, highest = re.fullmatch(r"(-?\d+)\.\.(\d+)", one.limits).groups()  # type: ignore[union-attr]
        yield from (int(lowest) - 1, int(highest) + 1)
    elif one.limits.startswith("/"):
        pattern = re.compile(one.limits[1:-1])
        yield from (text for text in ("", "NO_SUCH_WORD", "\N{SNOWMAN}") if not pattern.search(text))
    elif "|" in one.limits:
        yield from ("", "NO_SUCH_WORD", "\N{SNOWMAN}")
    else:
        yield "with \0 in it"


def _useless() -> Iterator[Any]:
    for path in sorted(CASES):
        if PROPERTIES[path].kind != "boolean":
            for value in _out_of_range(PROPERTIES[path]):
                yield pytest.param(path, value, id=f"{path} {value!r}")


@pytest.mark.parametrize(("path", "value"), list(_useless()))
def test_a_value_out_of_range_is_refused(path: str, value: object) -> None:
    _refused(path, value)


def _refused(path: str, value: object) -> None:
    config = config_of(path)
    data, key, pointer = next(places_of(config, path.split(".")))
    data[key] = value
    refused = runtime().check(config).refused
    assert pointer in {one.pointer for one in refused}, [one.as_data() for one in refused]
