"""Real cgroups below a test's own one, processes in them, and a journal in memory."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orlop_hookspecs.launch import LaunchOptions
from orlop_hookspecs.plan import Plan, PlannedStep
from orlop_hookspecs.record import Record
from orlop_hookspecs.steps import CreateCgroup, JoinCgroup
from orlop_linux.kernel.kernel import LinuxKernel
from orlop_linux.live.killing import kill_all
from orlop_linux.live.process import start_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orlop_hookspecs.steps import Step

_numbers = itertools.count()


class Entries(list[tuple[str, dict[str, Any]]]):
    """A journal in memory."""

    def intend(self, undo: str, **data: Any) -> None:
        self.append((undo, data))


def planned(*steps: Step) -> tuple[PlannedStep, ...]:
    return tuple(PlannedStep(one, one.phase, one.slot, "test") for one in steps)


class Box:
    """A container as far as the host's side knows: cgroups and a record; its processes are started here."""

    def __init__(self, directory: Path) -> None:
        self.name = f"orlop-test-{os.getpid()}-{next(_numbers)}"
        self.kernel = LinuxKernel()
        self.journal = Entries()
        self.record = Record(
            id=self.name, phase="creating", creator=list(self.kernel.identity()), directory=str(directory)
        )
        self.children: list[subprocess.Popen[bytes]] = []

    def create(self, *steps: Step, path: str = "") -> None:
        """Execute phase ``host`` with a cgroup at *path* and *steps* after it, and let nobody join."""
        first = CreateCgroup(because="/linux/cgroupsPath", path=path or f"/{self.name}/box")
        whole = planned(first, *steps)
        sandbox = self.kernel.sandbox(Plan({"host": whole}), self.record, self.journal, LaunchOptions())
        try:
            for one in whole:
                sandbox.host(one)
            sandbox.host_with_pid(planned(JoinCgroup(because=""))[0], b"{}")
        finally:
            sandbox.close()
        self.record.phase = "created"

    def directories(self) -> list[str]:
        return [one["mount"] + one["path"] for one in self.record.kernel["cgroups"]]

    def directory(self, controller: str) -> str:
        """Return the cgroup with *controller*; empty: the unified one."""
        for one in self.record.kernel["cgroups"]:
            directory = str(one["mount"] + one["path"])
            if one["version"] == 1:
                if controller and controller in one["controllers"]:
                    return directory
            elif not controller or controller in Path(directory, "cgroup.controllers").read_text().split():
                return directory
        pytest.skip(f"this host has no {controller or 'unified'} hierarchy")

    def start(self, script: str, *, main: bool = True) -> subprocess.Popen[bytes]:
        """Run Python code in the cgroups; return when it has printed its first line."""
        joins = [f"open({one!r} + '/cgroup.procs', 'w').write('0')" for one in self.directories()]
        code = "\n".join(["import os, signal, sys, time", *joins, script])
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        self.children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline(), "the process has ended early"
        if main:
            self.record.pid, self.record.start_time = child.pid, start_time(child.pid)
        return child

    def undo(self) -> None:
        for kind, data in reversed(self.journal):
            self.kernel.undo(self.record, kind, data)

    def clean(self) -> None:
        """Leave nothing, whatever the test did."""
        from orlop_linux.live.cgroups import groups_of

        groups = groups_of(self.record)
        kill_all(groups, 1e18)
        for child in self.children:
            child.send_signal(signal.SIGKILL)
            if child.stdout is not None:
                child.stdout.close()
            # The kernel under test may have reaped it already.
            child.wait()
        self.undo()
        self.kernel.close()


SLEEP = "print(flush=True); signal.pause()"
"""A script that waits to be killed."""


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.clean()
