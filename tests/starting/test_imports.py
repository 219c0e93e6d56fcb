"""Every module can be the first one that a program imports."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tests.unit.test_repo import modules

# One interpreter forks for each module: none of ours is loaded in it, what ours are built on is.
IMPORT_EACH_ALONE = """
import asyncio, ctypes, gc, json, os, resource, sys, traceback
import attrs, cattrs, pluggy
gc.disable()
failed = 0
for name in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        try:
            __import__(name)
        except BaseException:
            print(f"import {name} alone:", file=sys.stderr)
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    failed |= os.waitpid(child, 0)[1]
sys.exit(bool(failed))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork(2)")
def test_every_module_can_be_the_first_one_imported() -> None:
    names = [n for n in modules() if n.rpartition(".")[2] != "__main__"]
    command = [sys.executable, "-W", "error", "-c", IMPORT_EACH_ALONE]
    halves = [
        subprocess.Popen([*command, *names[i::2]], stderr=subprocess.PIPE, text=True, cwd="/") for i in (0, 1)
    ]
    reports = [half.communicate()[1] for half in halves]
    assert [half.returncode for half in halves] == [0, 0], "\n".join(reports)


WHAT_IS_LOADED = """
import sys
before = set(sys.modules)
import orlop_fake
print(*sorted(set(sys.modules) - before))
orlop_fake.FakeKernel(), orlop_fake.FakePlatform
print(*sorted(set(sys.modules) - before))
"""


def test_importing_the_fake_platform_loads_little() -> None:
    # `benchmarks/fake.py` measures the time; what is loaded is the same on every machine, however busy.
    command = [sys.executable, "-I", "-W", "error", "-c", WHAT_IS_LOADED]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert (done.returncode, done.stderr) == (0, "")
    package, kernel = (set(line.split()) for line in done.stdout.splitlines())
    assert {name for name in package if name.startswith("orlop")} == {"orlop_fake"}
    assert len(kernel) < 160
    tops = {name.partition(".")[0] for name in kernel}
    dear = {
        "orlop",
        "orlop_linux",
        "asyncio",
        "attr",
        "attrs",
        "cattrs",
        "dataclasses",
        "hypothesis",
        "inspect",
    }
    assert tops.isdisjoint(dear | {"logging", "pluggy", "pytest", "socket", "subprocess", "tempfile"})
