"""Measure what a container costs from an engine's command line to its end: orlop beside runc and crun.

    python -m benchmarks.engines [--rounds 20] [--gap 50] [--most PERCENT] [--json FILE]

podman and containerd, with stores of their own, run and remove a container that does nothing, with each
runtime once a round, in a shuffled order. crun refuses hybrid cgroups, so all run in a private mount
namespace from which the cgroup2 mount of a hybrid host has been detached. Printed are medians, 95th
percentiles and what each runtime adds to the median with runc, with the load of the machine. With --most the
status is 1 when orlop adds more than that to podman's whole command; only a machine at rest can be judged.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.engines.containerd import Containerd
from tests.engines.store import Store

RUNTIMES = ("orlop", "runc", "crun")
_PRIVATE = "ORLOP_BENCH_PRIVATE"
_HIDE = 'umount -l /sys/fs/cgroup/unified 2>/dev/null; exec "$@"'

Turn = Callable[[str], None]


def private_mounts() -> None:
    """Start this program anew in a private mount namespace without the cgroup2 mount of a hybrid host."""
    if _PRIVATE not in os.environ:
        command = ["unshare", "--mount", "--propagation=slave", "sh", "-c", _HIDE, "sh", sys.executable]
        arguments = [*command, "-m", "benchmarks.engines", *sys.argv[1:]]
        os.execvpe(arguments[0], arguments, {**os.environ, _PRIVATE: "1"})  # noqa: S606 - no shell is wanted


def with_podman(commands: dict[str, str]) -> tuple[Turn, Callable[[], None]]:
    """Return what runs a container under podman with a runtime, and what ends podman."""
    store = Store(commands["orlop"])

    def turn(runtime: str) -> None:
        arguments = store.command("true", options=("--rm",))
        store.call(f"--runtime={commands[runtime]}", *arguments)

    return turn, store.close


def with_containerd(commands: dict[str, str]) -> tuple[Turn, Callable[[], None]]:
    """Return what runs a container under containerd with a runtime, and what ends containerd."""
    engine = Containerd(commands["orlop"])

    def turn(runtime: str) -> None:
        engine.runtime = commands[runtime]
        engine.call(*engine.command("one", "true", options=("--rm", "--null-io")))

    return turn, engine.close


def measure(turn: Turn, runtimes: list[str], args: argparse.Namespace) -> dict[str, list[float]]:
    """Return the milliseconds that each runtime took in each round."""
    order = random.Random(args.seed)  # noqa: S311 - an order of turns, not a secret
    times: dict[str, list[float]] = {name: [] for name in runtimes}
    for number in range(-2, args.rounds):  # two rounds to warm up
        for name in order.sample(runtimes, len(runtimes)):
            time.sleep(args.gap / 1e3)
            begin = time.perf_counter()
            turn(name)
            if number >= 0:
                times[name].append((time.perf_counter() - begin) * 1e3)
    return times


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--gap", type=float, default=50.0, help="idle milliseconds before each turn")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--most", type=float, help="per cent of runc's whole that orlop may add to podman run"
    )
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("engines benchmark: the engines need root here")
    private_mounts()
    own = str(Path(sys.executable).parent / "orlop")
    commands = {"orlop": own} | {name: found for name in RUNTIMES[1:] if (found := shutil.which(name))}
    print(
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f}, Linux {platform.release()}, "
        f"Python {platform.python_version()}, {args.rounds} rounds; milliseconds, median (p95)"
    )
    report: dict[str, dict[str, dict[str, float]]] = {}
    for engine, start in (("podman run", with_podman), ("ctr run", with_containerd)):
        turn, close = start(commands)
        try:
            times = measure(turn, list(commands), args)
        finally:
            close()
        medians = {name: statistics.median(values) for name, values in times.items()}
        report[engine] = {}
        for name, values in times.items():
            p95 = sorted(values)[round(0.95 * (len(values) - 1))]
            row = {"median": medians[name], "p95": p95}
            if "runc" in medians:
                row["added"] = medians[name] / medians["runc"] - 1
            report[engine][name] = row
            more = f"  {row['added']:+.0%} of runc's" if name != "runc" and "added" in row else ""
            print(f"{engine:12}{name:8}{row['median']:9.1f} ({p95:7.1f}){more}")
    if args.json:
        args.json.write_text(json.dumps(report, indent=2))
    added = report["podman run"]["orlop"].get("added")
    if args.most is not None and (added is None or added * 100 > args.most):
        sys.exit(f"engines benchmark: more than {args.most:g} % of runc's podman run")


if __name__ == "__main__":
    main()
