"""An engine's daemon for the tests: its own files, mounts, network and cgroups, and what is left in them."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.leftovers import remove_cgroup

# Much longer than anything takes, also on a machine with many times its load; only a hang gets that far.
PATIENCE = 240.0
_ISOLATE = Path(__file__).with_name("isolate.sh")
_CGROUPS = Path("/sys/fs/cgroup")


def require(*programs: str, packages: str) -> None:
    """Skip the test, and say what to install, where a program is missing."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} (Debian packages {packages})")


def until(done: Callable[[], object], otherwise: Callable[[], object], *watched: int) -> None:
    """Look again and again until *done* holds; what *otherwise* returns explains why it did not.

    Args:
        done: The condition.
        otherwise: Called when it does not come true in time, or when a watched process has ended.
        watched: Pidfds; without these processes there is nothing to wait for.
    """
    deadline = time.monotonic() + PATIENCE
    while not done():
        ended, _, _ = select.select(watched, [], [], 0.01)
        assert not ended, f"the daemon has ended: {otherwise()}"
        assert time.monotonic() < deadline, otherwise()


def hierarchies() -> list[Path]:
    """Return the roots of the host's cgroup hierarchies."""
    if (_CGROUPS / "cgroup.procs").exists():
        return [_CGROUPS]
    return [place for place in _CGROUPS.iterdir() if (place / "cgroup.procs").exists()]


def members(group: Path) -> set[int]:
    """Return the processes of a cgroup and of all below it."""
    found: set[int] = set()
    for directory, _, _ in os.walk(group):
        try:
            found.update(map(int, Path(directory, "cgroup.procs").read_text().split()))
        except OSError:  # it has just gone
            continue
    return found


class Daemon:
    """A program that serves its clients until it is told to stop; everything it makes is known by place.

    Its containers' cgroups are to be made below ``/NAME``, or by systemd below the slice of that name;
    it runs in ``/NAME/daemon`` itself.

    Args:
        kind: A word for names.
    """

    def __init__(self, kind: str) -> None:
        """Make a directory with a short path, for sockets, and the cgroups."""
        self.scratch = Path(tempfile.mkdtemp(prefix=f"oe-{kind}-"))
        self.parent = f"orlop-{self.scratch.name}"
        # Directly below the root, as there is no hyphen in its name, see systemd.slice(5).
        self.slice = f"{self.parent.replace('-', '_')}.slice"
        self.log = self.scratch / "log"
        # Users of user namespaces are to find their root file systems below it.
        self.scratch.chmod(0o711)
        (self.scratch / "run").mkdir()
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._inherited: set[str] = set()

    def start(
        self, command: Sequence[str], ready: Callable[[], bool], runtime: str, first: Path | None = None
    ) -> None:
        """Start it and wait until it is *ready*.

        Args:
            command: The program and its arguments.
            ready: Whether it serves.
            runtime: What its PATH has as ``runc``.
            first: A directory of other versions of its programs.
        """
        programs = self.scratch / "bin"
        programs.mkdir()
        # Some clients forget which runtime was asked for and fall back to this name.
        (programs / "runc").symlink_to(runtime)
        # A cpuset without CPUs cannot have members; a runtime gives it some on the way to its own.
        path = [str(programs), *([str(first)] if first else []), os.environ["PATH"]]
        own = [root / self.parent / "daemon" for root in hierarchies() if root.name != "cpuset"]
        for group in own:
            group.mkdir(parents=True)
        join = "; ".join(f"echo $$ >{group}/cgroup.procs" for group in own)
        wrapped = ["unshare", "--mount", "--net", "sh", str(_ISOLATE), str(self.scratch), *command]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", f'{join}; exec "$@"', "sh", *wrapped],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PATH": ":".join(path)},
                start_new_session=True,
            )
        self._pidfd = os.pidfd_open(self._process.pid)
        until(ready, lambda: self.log.read_text(errors="replace")[-3000:], self._pidfd)
        self._inherited = set(self._mountinfo())

    @property
    def pid(self) -> int:
        """The daemon's process."""
        assert self._process is not None
        return self._process.pid

    def inside(self, path: str | Path) -> Path:
        """Return how a path of the daemon's mount namespace is reached from here."""
        return Path(f"/proc/{self.pid}/root") / str(path).lstrip("/")

    def _tops(self) -> list[Path]:
        return [root / name for root in hierarchies() for name in (self.parent, self.slice)]

    def groups(self) -> set[str]:
        """Return the cgroups of containers: those below parent or slice that are not the daemon's."""
        found: set[str] = set()
        for top in self._tops():
            for directory, _, _ in os.walk(top):
                if directory != str(top) and not directory.startswith(f"{top}/daemon"):
                    found.add(directory)
        return found

    def units(self, prefix: str) -> set[str]:
        """Return the scopes that systemd knows under names that begin so, whatever has become of them."""
        command = ["systemctl", "list-units", "--all", "--full", "--plain", "--no-legend", f"{prefix}*.scope"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
        return {line.split()[0] for line in done.stdout.splitlines()}

    def processes(self) -> set[str]:
        """Return the processes of the daemon and of its containers, each with its name."""
        found: set[str] = set()
        for top in self._tops():
            for pid in members(top):
                try:
                    found.add(f"{pid} {Path(f'/proc/{pid}/comm').read_text().strip()}")
                except OSError:  # it has just ended
                    continue
        return found

    def _mountinfo(self) -> dict[str, str]:
        """Return the mount points in the daemon's mount namespace by the numbers of the mounts."""
        lines = [line.split() for line in Path(f"/proc/{self.pid}/mountinfo").read_text().splitlines()]
        return {words[0]: words[4] for words in lines}

    def mounts(self) -> set[str]:
        """Return the mount points that are newer than the start; directories of older ones may be renamed."""
        return {place for number, place in self._mountinfo().items() if number not in self._inherited}

    @contextmanager
    def mounted(self, place: Path) -> Iterator[None]:
        """Have another file system at *place*, for the daemon and its containers only."""
        place.mkdir(parents=True, exist_ok=True)
        enter = ("nsenter", f"--target={self.pid}", "--mount", "--")
        subprocess.run([*enter, "mount", "-t", "tmpfs", "none", str(place)], check=True, timeout=PATIENCE)
        try:
            yield
        finally:
            subprocess.run([*enter, "umount", "--lazy", str(place)], check=True, timeout=PATIENCE)

    def stop(self) -> None:
        """End the daemon, whatever it has left running, its mounts with its namespaces, and its files."""
        if self._process is not None:
            self._process.terminate()
            ended, _, _ = select.select([self._pidfd], [], [], PATIENCE / 4)
            if not ended:
                self._process.kill()
            self._process.wait(PATIENCE)
            os.close(self._pidfd)
        tops = self._tops()
        for pid in set().union(*map(members, tops)):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if any(top.name == self.slice and top.is_dir() for top in tops):
            subprocess.run(["systemctl", "stop", self.slice], check=True, timeout=PATIENCE)
        for top in tops:
            remove_cgroup(top)
        # The last process of the mount namespace has gone from its cgroup a moment before its mounts go.
        until(self._remove, lambda: f"{self.scratch} cannot be removed")

    def _remove(self) -> bool:
        shutil.rmtree(self.scratch, ignore_errors=True)
        return not self.scratch.exists()


Left = dict[str, set[str]]


def left_by(daemon: Daemon, *states: str) -> Left:
    """Return all that a container could leave: processes, mounts, cgroups, entries of state directories."""
    return {
        "processes": daemon.processes(),
        "mounts": daemon.mounts(),
        "cgroups": daemon.groups(),
        "state": {str(entry) for state in states for entry in _entries(daemon.inside(state))},
    }


def _entries(directory: Path) -> Iterator[Path]:
    if directory.is_dir():
        yield from directory.iterdir()


def nothing_left(before: Left, now: Callable[[], Left]) -> None:
    """Wait until nothing is there that was not there *before*; shims end a moment after their containers."""

    def more() -> Left:
        found = now()
        return {kind: found[kind] - before[kind] for kind in found if found[kind] - before[kind]}

    until(lambda: not more(), lambda: f"left behind: {more()}")


def fifty_in_a_row_and_twenty_at_once(one: Callable[[int], tuple[int, str]]) -> None:
    """Call *one* with numbers; it runs a container that prints its number and ends with status 3."""
    for number in range(50):
        assert one(number) == (3, f"{number}\n")
    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(one, range(20))) == [(3, f"{number}\n") for number in range(20)]
