"""What each command costs before it does anything: medians beside the bare interpreter and runc.

    python benchmarks/startup.py [--rounds 40] [--gap 0.01] [--command PATH]

Commands run in a shuffled order, one after the other, with a pause between two. ``bare`` is the command's own
interpreter, isolated, with an empty program: nothing below that can be had. Each row shows wall-clock time
and processor time in milliseconds, and the ratio of the medians of wall-clock time to runc's cheapest
command.
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


def rows(command: str, root: str, bundle: str) -> list[Row]:
    """Return what is measured."""
    orlop = [command, "--root", root]
    made = [
        Row("bare", [os.path.realpath(sys.executable), "-I", "-S", "-c", ""]),
        Row("shell", ["/bin/sh", "-c", ":"]),
        *(Row(f"orlop {verb}", [*orlop, verb, "stopped"]) for verb in ("state", "start", "kill")),
        Row("orlop delete", [*orlop, "delete", "--force", "missing"]),
        Row("orlop list", [*orlop, "list"]),
        Row("orlop --version", [command, "--version"]),
        Row("orlop help", [*orlop, "kill", "--help"]),
        Row("orlop features", [*orlop, "features"]),
        Row("orlop check", [*orlop, "check", bundle]),
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
        measured = rows(options.command, root, bundle)
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
    print(f"{'':18}{'median':>8}{'p95':>8}{'cpu':>8}{'/ runc':>8}")
    for row in measured:
        wall = sorted(row.wall)
        ratio = f"{statistics.median(wall) / cheapest:8.2f}" if cheapest else ""
        late = wall[int(len(wall) * 0.95)]
        print(
            f"{row.name:18}{statistics.median(wall):8.2f}{late:8.2f}{statistics.median(row.processor):8.2f}{ratio}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
