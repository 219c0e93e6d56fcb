"""The tutorial of the fake platform does what it says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orlop_fake import FakeKernel

PAGE = Path(__file__).resolve().parents[2] / "docs/tutorial/fake-platform.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def run_page(without: str = "\0") -> dict[str, Any]:
    names: dict[str, Any] = {}
    for block in BLOCKS:
        if without in block:
            continue
        # The block stands where it stands in the page, so that a failure shows its line.
        line = PAGE.read_text().partition(block)[0].count("\n")
        exec(compile("\n" * line + block, str(PAGE), "exec"), names)  # noqa: S102 - our own page
    return names


def test_every_block_runs() -> None:
    assert len(BLOCKS) >= 10
    names = run_page()
    assert names["kernel"].leaks() == []
    assert names["kernel"].program_errors == []


def test_the_pytest_example_runs(fake_kernel: FakeKernel, fake_container: Callable[..., Any]) -> None:
    names: dict[str, Any] = {}
    (block,) = (one for one in BLOCKS if "def test_the_service" in one)
    exec(compile(block, str(PAGE), "exec"), names)  # noqa: S102 - our own page
    names["test_the_service_says_goodbye"](fake_kernel, fake_container)


def test_two_runs_are_the_same() -> None:
    first, second = run_page(without="every_fault"), run_page(without="every_fault")
    assert str(first["kernel"].snapshot()) == str(second["kernel"].snapshot())
    assert first["kernel"].clock.nanoseconds == second["kernel"].clock.nanoseconds
