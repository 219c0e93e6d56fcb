"""Measure whole container lifecycles: orlop as library, command and composed file, beside runc and crun.

    python benchmarks/lifecycle.py [--rounds 40] [--gap 20] [--seccomp] [--json FILE]

Each round runs every contestant once, in a shuffled order, after an idle gap, because both change the
result: the kernel's cgroup code answers differently when it is hot. crun refuses hybrid cgroups, so all
contestants run in a private mount namespace from which the cgroup2 mount of a hybrid host has been
detached. The composed runtime is made of the profile ``docker-like`` before anything is measured. Printed are
medians, 95th percentiles and ratios; nothing is asserted.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import random
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bundle import allow_list, make_config, write_bundle
from composed import compose

if TYPE_CHECKING:
    from collections.abc import Callable

PEERS = ("runc", "crun", "orlop")
VERBS = ("create", "state", "start", "exec", "kill", "delete", "sum", "run")
CLONE_NEWNS = 0x00020000
MS_REC_SLAVE = 0x4000 | 0x80000
MNT_DETACH = 2

Times = dict[str, float]
_R = TypeVar("_R")


def private_mounts() -> None:
    """Enter a private mount namespace and detach the cgroup2 mount of a hybrid host from it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) or libc.mount(None, b"/", None, MS_REC_SLAVE, None):
        raise OSError(ctypes.get_errno(), "cannot enter a private mount namespace")
    unified = Path("/sys/fs/cgroup/unified")
    if unified.is_dir() and os.path.ismount(unified):
        libc.umount2(str(unified).encode(), MNT_DETACH)


def wait_gone(pid: int) -> None:
    """Wait until process *pid* has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        if not poller.poll(10_000):
            msg = f"process {pid} did not end"
            raise TimeoutError(msg)
    finally:
        os.close(fd)
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass


class Clock:
    """Collects the duration of named acts, in milliseconds."""

    def __init__(self) -> None:
        """Start with nothing measured."""
        self.times: Times = {}

    def measure(self, verb: str, act: Callable[[], _R]) -> _R:
        """Run *act* and keep how long it took under *verb*."""
        begin = time.perf_counter()
        result = act()
        self.times[verb] = (time.perf_counter() - begin) * 1e3
        return result


class CommandLine:
    """A runtime that is driven by its commands."""

    def __init__(self, name: str, command: list[str], root: Path) -> None:
        """Drive *command* with a state root of its own."""
        self.name = name
        self.command = [*command, "--root", str(root / name)]

    def call(self, *args: str) -> bytes:
        """Run one command; it must succeed."""
        done = subprocess.run(
            [*self.command, *args],
            stdin=subprocess.DEVNULL,
            # A pipe here would be inherited by the container process and never end.
            stdout=subprocess.PIPE if args[0] == "state" else subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode:
            msg = f"{self.name} {' '.join(args)}: exit status {done.returncode}"
            raise RuntimeError(msg)
        return done.stdout or b""

    def lifecycle(self, bundle: Path, quick: Path, ident: str) -> Times:
        """Run one lifecycle, with one more program in the container, and one foreground run."""
        clock = Clock()
        clock.measure("create", lambda: self.call("create", "--bundle", str(bundle), ident))
        pid = json.loads(clock.measure("state", lambda: self.call("state", ident)))["pid"]
        clock.measure("start", lambda: self.call("start", ident))
        clock.measure("exec", lambda: self.call("exec", ident, "/bin/true"))
        clock.measure("kill", lambda: self.call("kill", ident, "KILL"))
        wait_gone(pid)
        clock.measure("delete", lambda: self.call("delete", ident))
        clock.measure("run", lambda: self.call("run", "--bundle", str(quick), f"{ident}r"))
        return clock.times

    def close(self) -> None:
        """Nothing is kept open between commands."""


class Library:
    """orlop inside this process."""

    name = "orlop library"

    def __init__(self, root: Path) -> None:
        """Compose one runtime for all rounds, as a long-lived program would."""
        import orlop

        self.runtime = orlop.Runtime.compose(platform="linux", root=str(root / "library"))
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        self.stdio = (null, null, null)

    def lifecycle(self, bundle: Path, quick: Path, ident: str) -> Times:
        """Run one lifecycle; ``kill`` includes reaping, because this process is the parent."""
        clock = Clock()
        container = clock.measure("create", lambda: self.runtime.create(ident, str(bundle), stdio=self.stdio))
        clock.measure("state", container.state)
        clock.measure("start", container.start)
        clock.measure("exec", lambda: container.exec(["/bin/true"], stdio=self.stdio).wait(10))

        def kill() -> None:
            container.kill("SIGKILL")
            container.wait(10)

        clock.measure("kill", kill)
        clock.measure("delete", container.delete)

        def run() -> None:
            one = self.runtime.create(f"{ident}r", str(quick), stdio=self.stdio)
            one.start()
            one.wait(10)
            one.delete()

        clock.measure("run", run)
        return clock.times

    def close(self) -> None:
        """End the runtime's helpers."""
        self.runtime.close()


def percentile(values: list[float], share: float) -> float:
    """Return the value below which *share* of *values* lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def table(results: dict[str, list[Times]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return median, 95th percentile and ratios to each peer by contestant and verb."""
    medians = {
        name: {verb: statistics.median(t[verb] for t in rounds) for verb in VERBS}
        for name, rounds in results.items()
    }
    report: dict[str, dict[str, dict[str, float]]] = {}
    for name, rounds in results.items():
        report[name] = {}
        for verb in VERBS:
            row = {"median": medians[name][verb], "p95": percentile([t[verb] for t in rounds], 0.95)}
            for peer in PEERS:
                if peer in medians and peer != name:
                    row[f"/{peer}"] = medians[name][verb] / medians[peer][verb]
            report[name][verb] = row
    return report


def show(report: dict[str, dict[str, dict[str, float]]]) -> None:
    """Print the table; times in milliseconds."""
    print(f"{'':16}" + "".join(f"{verb:>22}" for verb in VERBS))
    for name, rows in report.items():
        print(f"{name:16}" + "".join(f"{rows[v]['median']:>13.2f} ({rows[v]['p95']:6.2f})" for v in VERBS))
    for peer in PEERS:
        for name, rows in report.items():
            if f"/{peer}" in rows["create"]:
                print(
                    f"{name + ' / ' + peer:22}"[:22]
                    + "".join(f"{rows[v][f'/{peer}']:>{16 if v == VERBS[0] else 22}.2f}" for v in VERBS)
                )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument(
        "--gap", type=float, default=20.0, help="idle milliseconds before each contestant's turn"
    )
    parser.add_argument("--seccomp", action="store_true", help="add an engine-sized seccomp allow list")
    parser.add_argument(
        "--orlop", default=shutil.which("orlop", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("lifecycle benchmark: containers of runc and crun need root here")
    private_mounts()
    order = random.Random(args.seed)  # noqa: S311 - an order of turns, not a secret
    with tempfile.TemporaryDirectory(prefix="orlop-bench-") as scratch:
        root = Path(scratch)
        (root / "spec").mkdir()
        subprocess.run([args.orlop, "spec", "--bundle", str(root / "spec")], check=True)
        base = json.loads((root / "spec/config.json").read_text())
        filters = allow_list() if args.seccomp else None
        bundle = write_bundle(root / "long", make_config(base, seccomp=filters, args=["sleep", "1000"]))
        quick = write_bundle(root / "quick", make_config(base, seccomp=filters, args=["true"]))
        contestants: list[Library | CommandLine] = [
            Library(root),
            CommandLine("orlop", [args.orlop], root),
            CommandLine("orlop composed", [str(compose(args.orlop, root))], root),
        ]
        contestants += [CommandLine(p, [found], root) for p in ("runc", "crun") if (found := shutil.which(p))]
        results: dict[str, list[Times]] = {c.name: [] for c in contestants}
        for number in range(-2, args.rounds):  # two rounds to warm up
            for contestant in order.sample(contestants, len(contestants)):
                time.sleep(args.gap / 1e3)
                times = contestant.lifecycle(bundle, quick, f"bench-{os.getpid()}-{number + 2}")
                times["sum"] = sum(times[verb] for verb in ("create", "start", "kill", "delete"))
                if number >= 0:
                    results[contestant.name].append(times)
        for contestant in contestants:
            contestant.close()
    report = table(results)
    print(
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores, "
        f"Linux {platform.release()}, Python {platform.python_version()}, "
        f"{args.rounds} rounds, gap {args.gap:g} ms, "
        f"{'with' if args.seccomp else 'without'} seccomp; milliseconds, median (p95)"
    )
    show(report)
    if args.json:
        args.json.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
