"""What each command costs before it does anything: medians beside the bare interpreter and runc.

    python benchmarks/startup.py [--rounds 40] [--gap 0.01] [--command PATH]

Commands run in a shuffled order, one after the other, with a pause between two. ``bare`` is the command's own
interpreter, isolated, with an empty program: nothing below that can be had. ``composed`` is a runtime of the
profile docker-like that the command has composed. Each row shows wall-clock time and processor time in
milliseconds, and the ratio of the medians of wall-clock time to runc's cheapest command; rows of the composed
runtime also their ratios to the installed one, of wall-clock and of processor time.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import attrs
from composed import compose

from orlop.lifecycle.site import RECORD
from orlop.store import jsontext
from orlop.store.directory import DirectoryStore
from orlop_hookspecs.record import Record

MILLISECONDS = 1000


@attrs.define
class Row:
    """One command and what was measured of it."""

    name: str
    arguments: list[str]
    wall: list[float] = attrs.field(factory=list)
    processor: list[float] = attrs.field(factory=list)

    def measure(self, null: int) -> None:
        """Run the command once; what it prints goes nowhere."""
        actions = [(os.POSIX_SPAWN_DUP2, null, descriptor) for descriptor in (0, 1, 2)]
        begin = time.perf_counter()
        pid = os.posix_spawn(self.arguments[0], self.arguments, {}, file_actions=actions)
        _, _, usage = os.wait4(pid, 0)
        self.wall.append((time.perf_counter() - begin) * MILLISECONDS)
        self.processor.append((usage.ru_utime + usage.ru_stime) * MILLISECONDS)


def stopped_container(root: str, name: str) -> None:
    """Store a container whose process has long been gone: it is found, but there is no more to do."""
    with DirectoryStore(root).create(name) as slot:
        record = Record(
            id=name, bundle="/nonexistent", platform="linux", phase="created", pid=4_194_000, start_time=1
        )
        record.creator = [4_194_001, 1]
        record.kernel = {"cgroups": [], "own_pid_namespace": True}
        slot.write(RECORD, jsontext.dumps(record.to_data()).encode())


def of_orlop(name: str, command: str, root: str, bundle: str) -> list[Row]:
    """Return the commands that are measured of an orlop that is called *name*."""
    orlop = [command, "--root", root]
    return [
        *(Row(f"{name} {verb}", [*orlop, verb, "stopped"]) for verb in ("state", "start", "kill")),
        Row(f"{name} delete", [*orlop, "delete", "--force", "missing"]),
        Row(f"{name} list", [*orlop, "list"]),
        Row(f"{name} --version", [command, "--version"]),
        Row(f"{name} help", [*orlop, "kill", "--help"]),
        Row(f"{name} features", [*orlop, "features"]),
        Row(f"{name} check", [*orlop, "check", bundle]),
    ]


def rows(command: str, composed: str, root: str, bundle: str) -> list[Row]:
    """Return what is measured."""
    made = [
        Row("bare", [os.path.realpath(sys.executable), "-I", "-S", "-c", ""]),
        Row("shell", ["/bin/sh", "-c", ":"]),
        *of_orlop("orlop", command, root, bundle),
        *of_orlop("composed", composed, root, bundle),
    ]
    runc = shutil.which("runc")
    if runc:
        made += [Row("runc state", [runc, "state", "missing"]), Row("runc --version", [runc, "--version"])]
    return made


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description="measure the start-up of each command")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--gap", type=float, default=0.01, help="seconds between two commands")
    parser.add_argument("--command", default=str(Path(sys.executable).parent / "orlop"))
    options = parser.parse_args()
    null = os.open(os.devnull, os.O_RDWR)
    with tempfile.TemporaryDirectory() as directory:
        root = f"{directory}/root"
        stopped_container(root, "stopped")
        bundle = f"{directory}/bundle"
        os.makedirs(f"{bundle}/rootfs")
        composed = str(compose(options.command, Path(directory)))
        measured = rows(options.command, composed, root, bundle)
        Row("", [options.command, "spec", "--bundle", bundle]).measure(null)
        for row in measured:  # what is cached after the first call, and the second
            row.measure(null)
            row.measure(null)
            row.wall.clear()
            row.processor.clear()
        for _ in range(options.rounds):
            for row in random.sample(measured, len(measured)):
                row.measure(null)
                time.sleep(options.gap)
    cheapest = min(
        (statistics.median(row.wall) for row in measured if row.name.startswith("runc")), default=0.0
    )
    print(f"{options.rounds} rounds, gap {options.gap * MILLISECONDS:g} ms; milliseconds")
    print(f"{'':18}{'median':>8}{'p95':>8}{'cpu':>8}{'/ runc':>8}{'/ orlop':>8}{'cpu':>8}")
    installed = {row.name: row for row in measured}
    for row in measured:
        wall = sorted(row.wall)
        ratio = f"{statistics.median(wall) / cheapest:8.2f}" if cheapest else ""
        late = wall[int(len(wall) * 0.95)]
        middle, processor = statistics.median(wall), statistics.median(row.processor)
        twin = (
            installed.get(row.name.replace("composed", "orlop")) if row.name.startswith("composed") else None
        )
        if twin is not None:
            ratio += f"{middle / statistics.median(twin.wall):8.2f}"
            ratio += f"{processor / statistics.median(twin.processor):8.2f}"
        print(f"{row.name:18}{middle:8.2f}{late:8.2f}{processor:8.2f}{ratio}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
