"""What a whole life costs on the fake platform, counted in calls: they are the same however busy it is.

`benchmarks/fake.py` measures the time. Where both were first written down, 1,721 calls meant 3,600 lives in a
second of one core, for the smallest config, and 6,799 calls 860 lives, for that of Docker.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

MOST = {"minimal": 1900, "docker": 7500}
"""Calls of functions, of Python's and of those in C, for create, start, kill, wait and delete."""


@pytest.mark.parametrize("name", MOST)
def test_the_calls_of_a_life(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "benchmarks"))
    benchmark: Any = importlib.import_module("fake")
    config = benchmark.CONFIG if name == "minimal" else benchmark.docker_config()
    live = benchmark.lives(config)
    live("warm")
    calls = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        del frame, argument
        calls += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        live("counted")
    finally:
        sys.setprofile(before)
    assert MOST[name] / 2 < calls < MOST[name]
