"""The contract is versioned: what a released version promised is kept, and the page says what holds today."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orlop.plugins import stability
from orlop.plugins.stability import broken, level, page, since, surface
from orlop_hookspecs import CONTRACT_VERSION
from orlop_hookspecs.stability import DEPRECATED_PARTS, ENTRY_POINTS, EXPERIMENTAL_PARTS, SINCE

ROOT = Path(__file__).resolve().parents[3]
RELEASED = sorted((Path(__file__).parent / "contracts").glob("*.json"))


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


@pytest.mark.parametrize("file", RELEASED, ids=lambda file: file.stem)
def test_what_was_promised_is_kept(file: Path) -> None:
    old = json.loads(file.read_text())
    assert len(old) > 100
    assert list(broken(old, surface())) == []
    assert numbers(file.stem)[0] == numbers(CONTRACT_VERSION)[0]
    assert numbers(file.stem) < numbers(CONTRACT_VERSION)


def test_there_is_something_to_be_kept() -> None:
    assert next(file.stem for file in RELEASED) == "1.0"


def test_the_page_is_current() -> None:
    text = (ROOT / "docs/reference/contract.md").read_text()
    assert text == page(), "run `make pages`"


def test_every_name_in_the_tables_is_a_part_of_the_contract() -> None:
    known = surface()
    names = {
        name for name in (*EXPERIMENTAL_PARTS, *DEPRECATED_PARTS, *SINCE, *ENTRY_POINTS) if name not in known
    }
    assert names == set()


def test_what_came_later_says_since_when() -> None:
    old = json.loads(RELEASED[0].read_text())
    for name in surface():
        if name not in old:
            assert numbers(since(name)) > (1, 0), f"{name}: add it to SINCE of orlop_hookspecs.stability"
        elif level(name)[0] != "experimental":
            assert since(name) == "1.0", name


def _without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda data: data.pop(name)


def _parameters(name: str, *parameters: str) -> Callable[[dict[str, Any]], None]:
    return lambda data: data[name].update(parameters=list(parameters))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_without("orlop_plan"), "orlop_plan is gone"),
        (_without("MaskPath"), "MaskPath is gone"),
        (_without("LiveKernel.wait"), "LiveKernel.wait is gone"),
        (_parameters("orlop_plan", "config"), "orlop_plan: parameter context is gone"),
        (
            _parameters("Handle", "path", "values=", "feature=", "exact"),
            "exact is gone, or must be given now",
        ),
        (
            _parameters("Problem", "pointer", "message", "value=", "hint=", "code"),
            "code was added and must be given",
        ),
        (_parameters("LiveKernel.wait", "record"), "LiveKernel.wait: timeout is gone"),
        (lambda data: data["MaskPath"].update(phase="exec"), "MaskPath: phase was 'confined' and is 'exec'"),
        (lambda data: data["orlop_ps"].update(first=False), "orlop_ps: first was True"),
    ],
)
def test_a_broken_promise_is_found(change: Callable[[dict[str, Any]], None], words: str) -> None:
    new = copy.deepcopy(surface())
    change(new)
    assert any(words in line for line in broken(surface(), new))


@pytest.mark.parametrize(
    "change",
    [
        _parameters("orlop_plan", "config", "context", "more"),
        _parameters("Problem", "pointer", "message", "value=", "hint=", "code="),
        _without("orlop_checkpoint"),
        lambda data: data.update(orlop_more={"kind": "hook", "parameters": [], "first": False}),
    ],
)
def test_what_is_optional_may_be_added_and_what_is_experimental_may_go(
    change: Callable[[dict[str, Any]], None],
) -> None:
    new = copy.deepcopy(surface())
    change(new)
    assert list(broken(surface(), new)) == []


def test_the_surface_is_data(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["stability", "--data"])
    assert stability.main() == 0
    assert json.loads(capsys.readouterr().out) == surface()
    monkeypatch.setattr("sys.argv", ["stability"])
    assert stability.main() == 0
    assert capsys.readouterr().out == page()
