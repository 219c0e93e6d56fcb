"""Real containers by the command line, and what must not be left of them.

While a rig is open this process adopts what its descendants leave behind (PR_SET_CHILD_SUBREAPER), so that no
process of a container whose runtime was killed can hide.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from orlop_linux.live.process import open_pid

# Much longer than anything takes, also on a machine with many times its load; only a hang gets that far.
PATIENCE = 120.0
BUSYBOX = Path("/bin/busybox")
NAMESPACES = ("pid", "mount", "ipc", "uts", "network", "cgroup")

# What the directories of engines begin with (tests/engines/store.py and its neighbours).
_ENGINES = f"{tempfile.gettempdir()}/oe-"
_SET_CHILD_SUBREAPER = 36
_numbers = itertools.count(1)

_ENTRY = """
import sys
sys.path[:0] = {path!r}
sys.argv[0] = "orlop"
from orlop.cli.main import entry
entry()
"""


AnyRig = TypeVar("AnyRig", bound="Rig")


class Outcome:
    """How a command ended; a container that it left goes on writing to the same files."""

    def __init__(self, status: int, out: Path, err: Path) -> None:
        self.status = status
        self._files = (out, err)
        self.out = out.read_text(errors="replace")
        self.err = err.read_text(errors="replace")

    def text(self) -> str:
        """Return everything that has been written by now."""
        return "".join(one.read_text(errors="replace") for one in self._files)

    def __repr__(self) -> str:
        return f"status {self.status}\n{self.out}{self.err}"

    @property
    def state(self) -> dict[str, Any]:
        """What ``state`` has printed."""
        found: dict[str, Any] = json.loads(self.out)
        return found


class Running:
    """A command that has not been waited for."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self.process = process
        self._files = (out, err)

    def end(self, timeout: float = PATIENCE) -> Outcome:
        """Wait for the command."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"the command hangs: {Outcome(0, *self._files)!r}")
        return Outcome(status, *self._files)


class Rig:
    """A state root, a bundle and the command line."""

    def __init__(self, place: Path) -> None:
        self.name = f"orlop-rig-{os.getpid()}-{next(_numbers)}"
        self.place = place
        self.root = place / "state"
        self.bundle = place / "bundle"
        self.rootfs = self.bundle / "rootfs"
        self._outputs = itertools.count()
        self._commands: list[subprocess.Popen[bytes]] = []
        self.known = set(children())
        """Processes that are no container's."""
        self._mounts = mounts()
        self.make_image()
        self.write(self.config())
        self.root.mkdir(0o700)
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def make_image(self) -> None:
        """Make the root file system: static busybox and empty directories."""
        for name in ("bin", "dev", "proc", "sys", "tmp", "etc"):
            (self.rootfs / name).mkdir(parents=True)
        shutil.copy2(BUSYBOX, self.rootfs / "bin/busybox")
        for applet in ("sh", "sleep", "true"):
            (self.rootfs / "bin" / applet).symlink_to("busybox")

    def config(self, *args: str, **changes: Any) -> dict[str, Any]:
        """Return a config; *changes* replace its top level, those of ``linux`` and ``process`` are added."""
        made: dict[str, Any] = {
            "ociVersion": "1.2.0",
            "root": {"path": "rootfs"},
            "process": {
                "args": list(args) or ["/bin/sleep", "1000"],
                "cwd": "/",
                "user": {"uid": 0, "gid": 0},
                "env": ["PATH=/bin"],
            },
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {
                "cgroupsPath": f"/{self.name}/box",
                "resources": {"pids": {"limit": 32}},
                "namespaces": [{"type": kind} for kind in NAMESPACES],
            },
        }
        return changed(made, changes)

    def write(self, config: dict[str, Any]) -> None:
        """Write the bundle's config."""
        (self.bundle / "config.json").write_text(json.dumps(config))

    def begin(self, *command: str) -> Running:
        """Run ``orlop --root ROOT`` with *command*, in a process that has nothing of this one."""
        script = _ENTRY.format(path=[one for one in sys.path if one])
        out, err = self.output()
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-I", "-c", script, "--root", str(self.root), *command],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd="/",
            )
        self._commands.append(process)
        return Running(process, out, err)

    def output(self) -> tuple[Path, Path]:
        """Return files for a command's output: not pipes, because a container keeps its creator's open."""
        number = next(self._outputs)
        return self.place / f"command-{number}.out", self.place / f"command-{number}.err"

    def run(self, *command: str) -> Outcome:
        """Run a command and wait for it."""
        return self.begin(*command).end()

    def good(self, *command: str) -> Outcome:
        """Run a command that must succeed."""
        outcome = self.run(*command)
        assert outcome.status == 0, outcome
        return outcome

    def bad(self, *command: str) -> Outcome:
        """Run a command that must fail with one line of explanation."""
        outcome = self.run(*command)
        assert outcome.status > 0, outcome
        lines = [line for line in outcome.err.splitlines() if "level=warning" not in line]
        assert len(lines) == 1, outcome
        assert "Traceback" not in outcome.err, outcome
        return outcome

    def create(self, container: str = "box", *flags: str) -> Outcome:
        """Create a container of the bundle, which must succeed."""
        return self.good("create", "--bundle", str(self.bundle), *flags, container)

    def status(self, container: str = "box") -> str:
        """Return the container's status, or the error of ``state`` in one line."""
        outcome = self.run("state", container)
        if outcome.status == 0:
            return str(outcome.state["status"])
        assert outcome.status > 0, outcome
        assert len(outcome.err.splitlines()) == 1, outcome
        assert "Traceback" not in outcome.err, outcome
        return outcome.err.strip()

    def destroy(self, container: str = "box") -> None:
        """Delete by force, which always succeeds, and leave nothing."""
        outcome = self.good("delete", "--force", container)
        assert "warning" not in outcome.err, outcome
        assert self.left() == []

    def left(self) -> list[str]:
        """Return what is left of containers: processes, cgroups, mounts, entries of the state root."""
        found = [f"process {pid}: {what}" for pid, what in self._processes()]
        found += [f"cgroup {path}" for path in cgroups(self.name)]
        found += [f"mount {line}" for line in lingering(self._mounts)]
        if self.root.is_dir():
            found += [f"state of {name}" for name in os.listdir(self.root)]
        return found

    def _processes(self) -> list[tuple[int, str]]:
        """Reap what has ended; return what does not end by itself, as helpers do without their channel."""
        deadline = time.monotonic() + PATIENCE / 2
        left: list[tuple[int, str]] = []
        commands = {one.pid for one in self._commands if one.poll() is None}
        for pid in sorted(set(children()) - self.known - commands):
            fd = open_pid(pid)
            if fd is None:
                continue
            try:
                poller = select.poll()
                poller.register(fd, select.POLLIN)
                if poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
                    os.waitid(os.P_PIDFD, fd, os.WEXITED)
                else:
                    left.append((pid, describe(pid)))
            except ChildProcessError:
                continue
            finally:
                os.close(fd)
        return left

    def verify(self) -> None:
        """Fail unless nothing is left of any container."""
        left = self.left()
        assert left == [], left  # nobody rewrites the assertions of this module

    def close(self) -> None:
        """End and remove everything, whatever the test did."""
        for command in self._commands:
            if command.poll() is None:
                command.kill()
                command.wait()
        for _ in range(3):
            # The later ones first: what has joined a pid namespace is reaped before its first process can be.
            for pid in sorted(set(children()) - self.known, reverse=True):
                _end(pid)
        deadline = time.monotonic() + PATIENCE
        while (there := cgroups(self.name)) and time.monotonic() < deadline:
            for path in reversed(there):
                _empty(path)
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def changed(config: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return *config*, changed in place: the top level is replaced, ``linux`` and ``process`` grow."""
    for name, value in changes.items():
        if name in {"linux", "process"}:
            config[name].update(value)
        else:
            config[name] = value
    return config


@contextmanager
def opened(kind: type[AnyRig], place: Path) -> Iterator[AnyRig]:
    """Make a rig at *place* for one test, verify at its end what is left, and remove that."""
    if not BUSYBOX.exists():
        pytest.skip("needs a static busybox")
    place.chmod(0o755)
    made = kind(place)
    try:
        yield made
        made.verify()
    finally:
        made.close()


def _end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        return


def _empty(path: Path) -> None:
    """Kill what is in a cgroup and remove it, unless it is busy."""
    try:
        for member in (path / "cgroup.procs").read_text().split():
            os.kill(int(member), signal.SIGKILL)
        path.rmdir()
    except OSError:
        return


def children() -> list[int]:
    """Return the children of this process, of whichever thread."""
    found: list[int] = []
    for task in os.listdir("/proc/self/task"):
        try:
            found += map(int, Path(f"/proc/self/task/{task}/children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue  # a thread that has just ended
    return found


def describe(pid: int) -> str:
    """Return what can be told about a process."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "gone"
    return f"{state} {command}"


def mounts(process: int | str = "self") -> set[str]:
    """Return the mounts of a process's mount namespace, with their propagation, without their numbers.

    Those of the engines' tests are not among them: podman goes on tidying up after its last command.
    """
    lines = Path(f"/proc/{process}/mountinfo").read_text().splitlines()
    found = [line.split()[3:] for line in lines]
    return {" ".join(fields) for fields in found if not fields[1].startswith(_ENGINES)}


def lingering(before: set[str]) -> list[str]:
    """Return the mounts that are not in *before* and do not go by themselves.

    Other programs mount as well, such as an engine that cleans up after an earlier test; what a container
    leaves behind stays.
    """
    deadline = time.monotonic() + PATIENCE / 2
    poller = select.poll()
    while (new := mounts() - before) and time.monotonic() < deadline:
        poller.poll(20)
    return sorted(new)


def cgroups(name: str) -> list[Path]:
    """Return the cgroups of all hierarchies with *name* at the top, the upper ones first."""
    roots = {
        line.split()[4]
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if " - cgroup" in line
    }
    found: list[Path] = []
    for root in roots:
        top = Path(root) / name
        if top.is_dir():
            found += [Path(at) for at, _, _ in os.walk(top)]
    return found
