"""Run prebuilt validation programs of the OCI's runtime-tools against orlop, beside other runtimes.

    python tests/conformance/run.py SUITE [--runtime orlop] [--against runc] [--hide-unified] [--json FILE]

SUITE is the folder with what was built (tests/conformance/README.md). Each program runs in a mount namespace
and with a state directory of its own, for a bounded time; containers, processes and control groups that it
leaves are removed. Printed is one line for each program; nothing is asserted.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import json
import os
import platform
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CLONE_NEWNS = 0x00020000
MS_REC_SLAVE = 0x4000 | 0x80000
MNT_DETACH = 2
PR_SET_CHILD_SUBREAPER = 36

CGROUPS = ("cgrouptest", "testdir")
"""Top names of the control groups in the programs' configs; they stay when a program does not end well."""


@dataclasses.dataclass
class Tap:
    """What a program said in the Test Anything Protocol."""

    ok: int = 0
    not_ok: int = 0
    skipped: int = 0
    todo: int = 0
    errors: int = 0
    planned: int | None = None
    failures: list[str] = dataclasses.field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether as many tests were reported as the last plan announces."""
        return self.planned is None or self.ok + self.not_ok + self.todo >= self.planned


def parse_tap(text: str) -> Tap:
    """Count the tests in *text*.

    An ``error`` in a diagnostic block counts only where the block belongs to no test: a program that expects
    an error shows it below its ``ok``, and one that cannot go on shows it in place of one.
    """
    tap = Tap()
    block: list[str] | None = None
    attached = False
    for line in text.splitlines():
        word = line.strip()
        if block is not None:
            if word == "...":
                problem = _error_of("\n".join(block))
                if problem and not attached:
                    tap.errors += 1
                    tap.failures.append(problem)
                block, attached = None, False
            else:
                block.append(line)
        elif word == "---":
            block = []
        elif line.startswith(("ok ", "not ok ")) or word in {"ok", "not ok"}:
            _count(tap, word)
            attached = True
        elif line.startswith("1..") and word[3:].split(" ")[0].isdigit():
            tap.planned = int(word[3:].split(" ")[0])
        elif line.startswith("Bail out!"):
            tap.errors += 1
            tap.failures.append(word)
        elif word and not word.startswith("#"):
            # A test's name may go on for another line; its block still follows.
            continue
    return tap


def _count(tap: Tap, line: str) -> None:
    name, _, directive = line.partition(" # ")
    kind = directive.strip().upper()
    if name.startswith("ok"):
        tap.ok += 1
        tap.skipped += kind.startswith("SKIP")
    elif kind.startswith("TODO"):
        tap.todo += 1
    else:
        tap.not_ok += 1
        tap.failures.append(line)


def _error_of(block: str) -> str:
    """Return what stands under ``error`` in a diagnostic block; the suite writes JSON, which is YAML too."""
    try:
        document = json.loads(block)
    except ValueError:
        lines = (line.strip() for line in block.splitlines())
        return next((line[6:].strip(" \"'") for line in lines if line.startswith("error:")), "")
    return str(document.get("error") or "") if isinstance(document, dict) else ""


@dataclasses.dataclass
class Result:
    """How one program went with one runtime."""

    program: str
    runtime: str
    exit: int | None
    """The exit status, negative for a signal; ``None`` if the time was up."""
    seconds: float
    tap: Tap
    left: int
    """How many containers were still there."""
    stderr: str

    @property
    def clean(self) -> bool:
        """Exit status 0, no ``not ok``, no error in place of an ``ok``, and all tests reported."""
        return self.exit == 0 and not self.tap.not_ok and not self.tap.errors and self.tap.complete

    def cell(self) -> str:
        """Return the result in a few words."""
        ended = "timeout" if self.exit is None else f"exit {self.exit}"
        counts = f"{self.tap.ok} ok, {self.tap.not_ok} not ok, {self.tap.errors} error, {ended}"
        return f"{'clean' if self.clean else '-':6}{counts}"


class Program:
    """One program with one runtime, in a folder of its own."""

    def __init__(self, path: Path, suite: Path, command: Sequence[str], *, hide: bool, limit: float) -> None:
        """Prepare to run the program at *path* for at most *limit* seconds."""
        self.path = path
        self.suite = suite
        self.command = list(command)
        self.hide = hide
        self.limit = limit

    def run(self) -> Result:
        """Run it to its end, or to the end of its time, and remove what it leaves."""
        begin = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="orlop-conformance-") as scratch:
            folder = Path(scratch)
            wrapper = self._furnish(folder)
            before = set(_groups())
            # A process of its own: the mount namespace goes with it, and orphans become its children.
            pid = os.fork()
            if not pid:
                _supervise(self, folder, wrapper)
            os.waitpid(pid, 0)
            for group in _groups():
                if group not in before:
                    _remove_group(group)
            end = json.loads((folder / "end").read_text())
            return Result(
                program=self.path.stem,
                runtime=Path(self.command[0]).name,
                exit=end["exit"],
                seconds=round(time.monotonic() - begin, 1),
                tap=parse_tap((folder / "stdout").read_text(errors="replace")),
                left=end["left"],
                stderr=(folder / "stderr").read_text(errors="replace"),
            )

    def _furnish(self, folder: Path) -> Path:
        """Lay out what programs expect in their working directory; return the runtime's stand-in.

        The programs copy ``runtimetest`` as it is, so it cannot be a link.
        """
        shutil.copy2(self.suite / "runtimetest", folder)
        for archive in self.suite.glob("rootfs-*.tar.gz"):
            (folder / archive.name).symlink_to(archive)
        for name in ("tmp", "state"):
            (folder / name).mkdir()
        wrapper = folder / Path(self.command[0]).name
        command = shlex.join([*self.command, "--root", str(folder / "state")])
        wrapper.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        wrapper.chmod(0o755)
        return wrapper


def _supervise(program: Program, folder: Path, wrapper: Path) -> None:
    """Run the program in a private mount namespace, then end and remove what is left; does not return."""
    code = 1
    try:
        _private(hide=program.hide)
        os.chdir(folder)
        environment = {**os.environ, "RUNTIME": str(wrapper), "TMPDIR": str(folder / "tmp")}
        environment.pop("PYTHONPATH", None)
        waiter = _Waiter()
        pid = os.posix_spawn(
            program.path,
            [str(program.path)],
            environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(folder / "stdout"), os.O_WRONLY | os.O_CREAT, 0o600),
                (os.POSIX_SPAWN_OPEN, 2, str(folder / "stderr"), os.O_WRONLY | os.O_CREAT, 0o600),
            ],
            setsid=True,
        )
        status = waiter.wait(pid, program.limit)
        if status is None:
            os.killpg(pid, signal.SIGKILL)
        idents = [entry.name for entry in (folder / "state").iterdir() if not entry.name.startswith(".")]
        for ident in idents:
            null = (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)
            also = (os.POSIX_SPAWN_DUP2, 1, 2)
            act = [str(wrapper), "delete", "--force", ident]
            waiter.wait(os.posix_spawn(wrapper, act, environment, file_actions=[null, also]), 30)
        waiter.end_all()
        (folder / "end").write_text(json.dumps({"exit": status, "left": len(idents)}))
        code = 0
    finally:
        os._exit(code)


class _Waiter:
    """Waits for one child while it reaps all: orphaned containers are this process's children too."""

    def __init__(self) -> None:
        self._reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        # A handler, not a mask: the mask would be inherited.
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def wait(self, pid: int, limit: float) -> int | None:
        """Return the exit status of child *pid*, or ``None`` after *limit* seconds."""
        deadline = time.monotonic() + limit
        while True:
            for child, status in _reap():
                if child == pid:
                    return os.waitstatus_to_exitcode(status)
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._reader], [], [], left)[0]:
                return None
            os.read(self._reader, 4096)

    def end_all(self, limit: float = 30) -> None:
        """Kill and reap children, and theirs that then come here, until there are none."""
        deadline = time.monotonic() + limit
        children = Path(f"/proc/self/task/{os.getpid()}/children")
        while time.monotonic() < deadline:
            for _ in _reap():
                pass
            alive = [int(word) for word in children.read_text().split()]
            if not alive:
                return
            for pid in alive:
                os.kill(pid, signal.SIGKILL)
            select.select([self._reader], [], [], 1)
            os.read(self._reader, 4096) if select.select([self._reader], [], [], 0)[0] else b""


def _reap() -> Iterator[tuple[int, int]]:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        yield pid, status


def _private(*, hide: bool) -> None:
    """Enter a private mount namespace, perhaps without a hybrid host's cgroup2 mount; adopt orphans."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) or libc.mount(None, b"/", None, MS_REC_SLAVE, None):
        raise OSError(ctypes.get_errno(), "cannot enter a private mount namespace")
    unified = Path("/sys/fs/cgroup/unified")
    if hide and unified.is_dir() and os.path.ismount(unified):
        libc.umount2(str(unified).encode(), MNT_DETACH)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot adopt orphans")


def _groups() -> Iterator[Path]:
    """Yield the control groups of the programs' configs that are there now, in any hierarchy."""
    mounts = [
        Path(line.split(" ")[4])
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if line.partition(" - ")[2].startswith("cgroup")
    ]
    own = {line.rpartition(":")[2].strip("/") for line in Path("/proc/self/cgroup").read_text().splitlines()}
    for mount in mounts:
        for name in CGROUPS:
            for group in {mount / name, *(mount / path / name for path in own)}:
                if group.is_dir():
                    yield group


def _remove_group(top: Path) -> None:
    for directory, _, _ in os.walk(top, topdown=False):
        try:
            os.rmdir(directory)
        except OSError as error:
            print(f"{directory} stays: {error.strerror}", file=sys.stderr)


def programs_in(suite: Path) -> list[Path]:
    """Return the programs in *suite*: in the layout of a built checkout, or flat."""
    found = {*suite.glob("validation/*/*.t"), *suite.glob("*.t")}
    return sorted((path for path in found if os.access(path, os.X_OK)), key=lambda path: path.stem)


def version_of(command: Sequence[str]) -> str:
    """Return the first line that a runtime says about its version."""
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    return (done.stdout.splitlines() or ["?"])[0]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("suite", type=Path, help="folder with the programs, runtimetest and the root archive")
    beside = shutil.which("orlop", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    parser.add_argument("--runtime", default=beside, help="the runtime to examine; orlop if not given")
    parser.add_argument("--against", action="append", default=[], help="another runtime; may be repeated")
    parser.add_argument("--only", action="append", default=[], help="a program by name; may be repeated")
    parser.add_argument("--hide-unified", action="store_true", help="hide a hybrid host's cgroup2 mount")
    parser.add_argument("--timeout", type=float, default=120, help="seconds for each program")
    parser.add_argument("--json", type=Path, help="also write all results to this file")
    return parser.parse_args()


def main() -> None:
    """Run the programs and print the table."""
    args = _arguments()
    suite = args.suite.resolve()
    programs = [path for path in programs_in(suite) if not args.only or path.stem in args.only]
    if os.geteuid() != 0:
        sys.exit("conformance: the programs' containers need root")
    if not programs or not (suite / "runtimetest").is_file():
        sys.exit(
            f"conformance: no programs (*.t) and runtimetest in {suite}; see tests/conformance/README.md"
        )
    runtimes = []
    for text in (args.runtime, *args.against):
        command = shlex.split(text or "orlop")
        if not (found := shutil.which(command[0])):
            sys.exit(f"conformance: {command[0]}: no such program")
        runtimes.append([found, *command[1:]])
    print(
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, Linux {platform.release()}, "
        f"{'cgroup2 mount hidden' if args.hide_unified else 'cgroups as they are'}; "
        + "; ".join(version_of(command) for command in runtimes)
    )
    width = max(len(path.stem) for path in programs)
    results: list[Result] = []
    for path in programs:
        row = [
            Program(path, suite, command, hide=args.hide_unified, limit=args.timeout).run()
            for command in runtimes
        ]
        results += row
        print(
            f"{path.stem:{width}}  " + "  ".join(f"{result.cell():48}" for result in row).rstrip(), flush=True
        )
    for command in runtimes:
        name = Path(command[0]).name
        own = [result for result in results if result.runtime == name]
        print(f"{name}: {sum(result.clean for result in own)} of {len(own)} clean")
    if args.json:
        rows = [{**dataclasses.asdict(result), "clean": result.clean} for result in results]
        args.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
