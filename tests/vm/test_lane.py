"""Each test of the lane, with what came of it in the virtual machine."""

from __future__ import annotations

import pytest
from tests.vm.lane import Case, Run


def test_vm(test_in_machine: Case, lane_run: Run) -> None:
    came = lane_run.wait(test_in_machine)
    if came.outcome == "skipped":
        pytest.skip(f"in the virtual machine: {came.text}")
    assert came.outcome == "passed", came.text
