"""Hooks that never return, under a deadline: the error names them, and whoever asked goes on."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.kit import bad
from tests.kit.reach import (
    ASKED,
    CONFIG,
    IDENTITY,
    LONGEST,
    NOTIFIED,
    PATIENCE,
    compose,
    named,
    provoke,
    unharmed,
)

import orlop
from orlop.plugins.faults import RefusedPluginsError
from orlop_fake import FakeKernel
from orlop_hookspecs.errors import PluginError, UsageError


@pytest.mark.parametrize("hook", ASKED)
@pytest.mark.usefixtures("released")
def test_blocking_for_ever_under_a_deadline(hook: str, kernel: FakeKernel) -> None:
    error = provoke(kernel, hook, bad.blocks, deadline=PATIENCE)
    named(error, hook)
    assert f"has not returned within {PATIENCE:g} s" in str(error)
    unharmed(kernel)


@pytest.mark.usefixtures("released")
def test_blocking_for_ever_when_asked_who_it_is(kernel: FakeKernel) -> None:
    plugin = bad.plugin(info=bad.hook(IDENTITY, bad.blocks))
    with pytest.raises(RefusedPluginsError) as caught:
        compose(kernel, plugin, deadline=PATIENCE)
    (fault,) = caught.value.faults
    assert fault.rule == "identity-raises"
    assert f"has not returned within {PATIENCE:g} s" in fault.message
    assert kernel.leaks() == []


@pytest.mark.usefixtures("released")
def test_a_hook_that_blocks_is_not_called_again_while_it_does(kernel: FakeKernel) -> None:
    runtime = compose(kernel, bad.plugin(bad.hook("orlop_plan", bad.blocks)), deadline=PATIENCE)
    before = set(threading.enumerate())
    for words in ("has not returned within", "an earlier call has not returned", "an earlier call"):
        with pytest.raises(PluginError, match=words) as caught:
            runtime.create("box", CONFIG)
        assert caught.value.plugin == bad.NAME
        assert len(bad.HELD - before) == 1
    (held,) = bad.HELD - before
    assert held.is_alive()
    bad.STUCK.set()
    held.join(LONGEST)
    runtime.create("box", CONFIG).delete(force=True)
    assert kernel.leaks() == []


ENDS = """
import sys, threading, time
from tests.kit import bad
from tests.kit.reach import CONFIG, compose
from orlop.plugins import deadline
from orlop_fake import FakeKernel
from orlop_hookspecs.errors import PluginError

def waits():
    threading.Event().wait()

def sleeps():
    time.sleep(1e6)

def spins():
    while True:
        pass

def act(*_):
    bad.HELD.add(threading.current_thread())
    globals()[sys.argv[1]]()

def wait(thread, _):
    while thread.is_alive() and thread not in bad.HELD:
        thread.join(0.01)

deadline.wait = wait
kernel = FakeKernel()
kernel.add_rootfs("/image")
runtime = compose(kernel, bad.plugin(bad.hook("orlop_plan", act)), deadline=0.05)
try:
    runtime.create("box", CONFIG)
except PluginError as error:
    print(error)
"""


@pytest.mark.parametrize("how", ["waits", "sleeps", "spins"])
def test_a_program_ends_although_a_hook_does_not(how: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDS, how],
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST * 5,
        cwd=Path(__file__).parents[2],
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "orlop_plan has not returned within 0.05 s" in done.stdout


@pytest.mark.parametrize("hook", NOTIFIED)
@pytest.mark.usefixtures("released")
def test_notifications_that_block_are_warnings(hook: str, kernel: FakeKernel) -> None:
    warnings: list[str] = []
    plugin = bad.plugin(bad.hook(hook, bad.blocks))
    box = compose(kernel, plugin, warn=warnings.append, deadline=PATIENCE).create("box", CONFIG)
    box.start()
    box.delete(force=True)
    (warning,) = warnings
    assert hook in warning
    assert "has not returned within" in warning
    assert kernel.leaks() == []


@pytest.mark.parametrize("value", ["5", 0, -1, True, None])
def test_deadlines_that_are_none_are_refused(value: Any) -> None:
    with pytest.raises(UsageError, match="expected seconds for deadline"):
        orlop.Runtime.compose("fake", config={"deadline": value})


@pytest.mark.usefixtures("released")
def test_the_settings_set_a_deadline(kernel: FakeKernel) -> None:
    plugin = bad.plugin(bad.hook("orlop_plan", bad.blocks))
    with pytest.raises(PluginError, match=r"has not returned within 0\.05 s; it stands in"):
        compose(kernel, plugin, config={"deadline": PATIENCE}).create("box", CONFIG)
