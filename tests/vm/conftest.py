"""Starts the machine when its tests are among those that run, and lets it go on while others do."""

from __future__ import annotations

import faulthandler
from collections.abc import Iterable, Iterator
from typing import TypeGuard

import pytest
from tests.vm import image, lane
from tests.vm.machine import MachineError
from tests.vm.rootfs import BuildError, UnreachableError

_RUN = pytest.StashKey[lane.Run]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test here of each test of the lane."""
    if "test_in_machine" not in metafunc.fixturenames:
        return
    reason = image.why_not()
    if reason:
        skip = pytest.mark.skip(reason=f"the virtual machine needs {reason}")
        metafunc.parametrize("test_in_machine", [pytest.param("", id="all", marks=skip)])
    else:
        found = lane.collect()
        # A name by hand: long ones would get a number.
        metafunc.parametrize("test_in_machine", [pytest.param(one, id=one.name) for one in found])


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Iterator[None]:
    """Make the machine before the first test: that may take longer than any single test should."""
    wanted = list(_wanted(session.items))
    if not wanted or session.testsfailed or session.config.option.collectonly:
        return (yield)
    try:
        for kind in sorted({one.machine for one in wanted}):
            image.get(kind)
    except UnreachableError as error:
        for item in session.items:
            if _is_ours(item):
                item.add_marker(pytest.mark.skip(reason=f"the virtual machine cannot be made now: {error}"))
        return (yield)
    except (BuildError, MachineError):
        pass  # the run tries it again; if it cannot be made then either, its tests say so
    run = lane.Run(wanted)
    session.config.stash[_RUN] = run
    run.start()
    try:
        return (yield)
    except BaseException:
        run.stop()
        raise
    finally:
        run.finish()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Tell of machines that died, also where another one made up for it."""
    run = config.stash.get(_RUN, None)
    if run is not None and run.mishaps:
        terminalreporter.section("virtual machines that died")
        for mishap in run.mishaps:
            terminalreporter.line(mishap)


def _is_ours(item: pytest.Item) -> TypeGuard[pytest.Function]:
    """Tell whether an item is a test of the machine that is to run."""
    if not isinstance(item, pytest.Function) or item.get_closest_marker("skip") is not None:
        return False
    return "test_in_machine" in item.fixturenames


def _wanted(items: Iterable[pytest.Item]) -> Iterator[lane.Case]:
    for item in items:
        if _is_ours(item):
            one = item.callspec.params["test_in_machine"]
            assert isinstance(one, lane.Case)
            yield one


@pytest.fixture
def lane_run(request: pytest.FixtureRequest) -> lane.Run:
    """Return the run that has been started for this session; it has deadlines of its own."""
    faulthandler.cancel_dump_traceback_later()
    return request.config.stash[_RUN]
