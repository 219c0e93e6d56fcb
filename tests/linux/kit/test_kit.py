"""The conformance kit on the real kernel: the rules that hold in memory hold here."""

from __future__ import annotations

import glob
import os
import subprocess
import sys
import tempfile

from examples import plugin as example

from orlop.kit import BROKEN, PASSED, Sample, check_life, check_planning, check_platform
from orlop_linux import platform as linux_platform

SAMPLES = [
    Sample("a disk", {"annotations": {example.ANNOTATION: "64m"}}),
    Sample(
        "no size", {"annotations": {example.ANNOTATION: "plenty"}}, refused="/annotations/com.example.scratch"
    ),
]


def benches() -> set[str]:
    return set(glob.glob(os.path.join(tempfile.gettempdir(), "orlop-kit-*")))


def test_the_example_keeps_the_rules_on_the_real_kernel() -> None:
    before = benches()
    planning = check_planning(example, samples=SAMPLES)
    planning.require()
    report = check_life(example, samples=SAMPLES, platform="linux")
    report.require()
    passed = {one.rule for one in report.results if one.outcome == PASSED}
    assert passed >= {"leaves-nothing", "keeps-nothing-in-memory", "warns-of-nothing"}
    assert benches() - before == set()


def test_the_linux_platform_keeps_the_rules_of_platforms() -> None:
    before = benches()
    report = check_platform(linux_platform)
    report.require()
    skipped = [one for one in report.results if one.outcome not in {PASSED, BROKEN}]
    # It is part of orlop, and may import the rest of its package.
    assert [one.rule for one in skipped] == ["imports-only-the-contract"]
    assert benches() - before == set()


def test_the_command_line_runs_the_rules_on_the_real_kernel() -> None:
    command = [
        sys.executable,
        "-c",
        "from orlop.cli.main import entry; entry()",
        "plugin",
        "check",
        "--linux",
    ]
    done = subprocess.run(
        [*command, "--rules", "leaves-nothing,plans-updates", "--verbose", "cgroups"],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        stdin=subprocess.DEVNULL,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "on linux\n" in done.stdout
    assert "passed   leaves-nothing\n" in done.stdout
