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
