"""The places at which a runtime is killed: every act that changes something, wrapped in a process of its own.

The process is a fork of the tests' own, so that nothing needs to be imported again; it runs ``main`` of the
command line. Production code knows nothing of all this.
"""

from __future__ import annotations

import os
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.linux.faults.rig import Outcome, Rig

import orlop.cli.main
from orlop.lifecycle import create as _create
from orlop.lifecycle import delete as _delete
from orlop.store.directory import DirectorySlot, DirectoryStore
from orlop.store.journal import Journal
from orlop_linux.init import protocol
from orlop_linux.kernel.cgroups.create import Cgroups
from orlop_linux.kernel.sandbox import Sandbox
from orlop_linux.kernel.spawn import Launch
from orlop_linux.kernel.zygote import Zygote
from orlop_linux.live import process
from orlop_linux.live.kernel import LinuxLive

_WRAPPED: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (DirectoryStore, ("create", "open")),
    (DirectorySlot, ("write", "append", "remove", "close")),
    (Journal, ("intend", "process")),
    (Sandbox, ("host", "clone", "host_with_pid", "build", "commit", "abort", "close")),
    (Cgroups, ("create",)),
    (Launch, ("clone", "build", "commit", "abort")),
    (Zygote, ("request", "close")),
    (LinuxLive, ("start", "terminate", "undo", "run_hook")),
    (protocol, ("send", "receive")),
    (process, ("send",)),
    (os, ("mkdir", "rmdir", "rename", "unlink", "write", "posix_spawn")),
    (_create, ("prepare", "save")),
    (_delete, ("run_poststop",)),
)

MOMENTS = ("before", "after")


class Point(NamedTuple):
    """The *number*-th call of one function in a command, and whether before or after it."""

    number: int
    moment: str
    name: str

    def __str__(self) -> str:
        return f"{self.moment} call {self.number} of {self.name}"


class _Wrapper:
    """Counts the calls; acts at one of them, or writes down all."""

    def __init__(self, act: Callable[[], None], at: Point | None, trace: Path | None) -> None:
        self.act = act
        self.at = at
        self.trace = trace
        self.lines: list[str] = []
        self.counts: dict[str, int] = {}

    def save(self) -> None:
        """Write down what has been passed."""
        if self.trace is not None:
            self.trace.write_text("".join(self.lines))

    def install(self) -> None:
        """Wrap, in this process."""
        for owner, names in _WRAPPED:
            for name in names:
                label = f"{getattr(owner, '__name__', owner)}.{name}"
                setattr(owner, name, self._wrap(getattr(owner, name), label))

    def installed(self, arm: Callable[[], None] | None) -> Callable[[], None]:
        """Return what calls *arm* and installs this."""

        def both() -> None:
            if arm is not None:
                arm()
            self.install()

        return both

    def _wrap(self, real: Any, label: str) -> Any:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            number = self.counts.get(label, 0)
            self.counts[label] = number + 1
            self._pass(number, "before", label)
            result = real(*arguments, **options)
            self._pass(number, "after", label)
            return result

        return wrapped

    def _pass(self, number: int, moment: str, label: str) -> None:
        if self.trace is not None:
            self.lines.append(f"{number} {moment} {label}\n")
        if self.at is not None and (number, moment, label) == self.at:
            self.act()


def run(
    rig: Rig,
    *command: str,
    root: Path | None = None,
    arm: Callable[[], None] | None = None,
    end: Callable[[], None] | None = None,
) -> Outcome:
    """Run ``orlop`` with *command* in a fork of this process, which calls *arm* first and *end* last."""
    out, err = rig.output()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 99
        try:
            for number, path in ((0, "/dev/null"), (1, out), (2, err)):
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
                os.dup2(fd, number)
                os.close(fd)
            if arm is not None:
                arm()
            status = orlop.cli.main.main(["--root", str(root or rig.root), *command])
            if end is not None:
                end()
        except BaseException:  # noqa: BLE001 - the fork must not go on as if it were the tests' process
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Outcome(status, out, err)


def trace(rig: Rig, *command: str, arm: Callable[[], None] | None = None) -> list[Point]:
    """Run *command* undisturbed and return its points, of those between the same two acts only one."""
    lines = rig.place / "trace"
    wrapper = _Wrapper(lambda: None, None, lines)
    outcome = run(rig, *command, arm=wrapper.installed(arm), end=wrapper.save)
    assert outcome.status == 0, outcome
    found: list[Point] = []
    for line in lines.read_text().splitlines():
        number, moment, name = line.split()
        if moment == "after" or not found or found[-1].moment == "before":
            found.append(Point(int(number), moment, name))
    return found


def run_to(
    rig: Rig, point: Point, act: Callable[[], None], *command: str, arm: Callable[[], None] | None = None
) -> Outcome:
    """Run *command*, which does *act* at *point*; *arm* is called first."""
    return run(rig, *command, arm=_Wrapper(act, point, None).installed(arm))


def die() -> None:
    """End like a process that is killed."""
    os.kill(os.getpid(), 9)


@contextmanager
def named(point: object) -> Iterator[None]:
    """Name *point* beside whatever fails inside."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"at {point}")
        raise
