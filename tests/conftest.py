"""What all tests share: which of them need a kernel, and how hypothesis looks for examples."""

from __future__ import annotations

import functools
import gc
import os
import signal
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest
from hypothesis.configuration import set_hypothesis_home_dir
from tests import lanes
from tests.needs import lacks

ROOT = Path(__file__).resolve().parent.parent
_NEED_KERNEL = tuple(ROOT / "tests" / name for name in ("attacks", "engines", "linux"))

# The same examples on every run; HYPOTHESIS_PROFILE=explore looks for new ones.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=1000)
set_hypothesis_home_dir(ROOT / "build" / "hypothesis")
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@functools.cache
def _why_no_kernel() -> str:
    """Return why no real container can run here; empty when one can."""
    if sys.platform != "linux":
        return "needs Linux"
    if os.geteuid() != 0:
        return "needs root"
    # Root inside somebody else's container is often root in name only.
    script = "mount -t tmpfs none /mnt"
    command = ["unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "sh", "-c", script]
    try:
        probe = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except OSError as error:
        return f"needs unshare(1): {error}"
    if probe.returncode != 0:
        return f"needs a root that may make namespaces and mounts: {probe.stderr.strip()}"
    return ""


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers that say where a test runs; keep what comes of the tests, where it is wanted."""
    gc.disable()  # until the tests are collected: see pytest_collection_finish
    config.addinivalue_line("markers", "needs(*what): words of tests/needs.py; skips where one is lacking")
    config.addinivalue_line(
        "markers", "every_lane: proves something else on another kernel; runs in the VM too"
    )
    # A shell that starts us in the background has both ignored, for us and for all that tests start.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    recorder = lanes.recorder(config)
    if recorder is not None:
        config.pluginmanager.register(recorder, "orlop-lanes")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, what needs a real kernel, or a part of one, where there is none for us."""
    for item in items:
        if any(item.path.is_relative_to(place) for place in _NEED_KERNEL):
            reason = _why_no_kernel()
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))
        for marker in item.iter_markers("needs"):
            for need in marker.args:
                if reason := lacks(need):
                    item.add_marker(pytest.mark.skip(reason=f"needs {need}: {reason}"))


def pytest_collection_finish() -> None:
    """Take all that lasts as long as the run, the tests first of all, out of the garbage collector's sight.

    It would otherwise go through thousands of test items again and again: a tenth of the unit tests' time.
    """
    gc.collect()
    gc.freeze()
    gc.enable()
