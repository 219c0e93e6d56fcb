"""Real containers of a bundle with busybox in it, and what is looked at from the host."""

from __future__ import annotations

import copy
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.leftovers import remove_cgroup

import orlop
from orlop_hookspecs.launch import LaunchOptions

# Much longer than anything takes, also on a machine with many times its load; only a hang gets that far.
PATIENCE = 120.0
NAMESPACES = ("pid", "mount", "ipc", "uts")
FOREVER = ("/bin/busybox", "sleep", "100000")
_numbers = itertools.count()


class Result(NamedTuple):
    """How a program ended and what it wrote."""

    status: int
    output: str


def until(done: Callable[[], Any], otherwise: str, seconds: float = PATIENCE) -> None:
    """Look again and again, until *done* holds."""
    deadline = time.monotonic() + seconds
    poller = select.poll()
    while not done():
        assert time.monotonic() < deadline, otherwise
        poller.poll(2)


def status_of(pid: int | str) -> dict[str, str]:
    """Return /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def fds_of(pid: int | str) -> dict[int, str]:
    """Return the descriptors of a process and what they stand for."""
    found: dict[int, str] = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:
            continue  # the listing's own
    return found


def namespaces_of(pid: int | str) -> dict[str, str]:
    """Return the namespaces of a process."""
    kinds = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
    return {kind: os.readlink(f"/proc/{pid}/ns/{kind}") for kind in kinds}


def environment_of(pid: int | str) -> list[str]:
    """Return the environment with which a process was executed."""
    return Path(f"/proc/{pid}/environ").read_text().split("\0")[:-1]


def children_of(pid: int | str) -> set[int]:
    """Return the children of all threads of a process."""
    found: set[int] = set()
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found.update(map(int, file.read_text().split()))
        except (FileNotFoundError, ProcessLookupError):
            continue  # a thread that has just ended
    return found


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended; a zombie has."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"


def merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Put *over* into *base*: objects are merged, everything else is replaced, ``None`` removes."""
    for name, value in over.items():
        if value is None:
            base.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(base.get(name), dict):
            merge(base[name], value)
        else:
            base[name] = copy.deepcopy(value)
    return base


def cgroup_mounts() -> list[str]:
    """Return where the cgroup hierarchies are mounted."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4] for line in lines if " - cgroup" in line]


def busybox() -> str:
    """Return the path of a busybox that needs no library, or skip."""
    found = shutil.which("busybox")
    if found is None:
        pytest.skip("needs busybox")
    return os.path.realpath(found)


class Box:
    """A bundle, a runtime, and everything that has to be gone afterwards."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.bundle = place / "bundle"
        self.rootfs = self.bundle / "rootfs"
        for name in ("bin", "dev", "etc", "proc", "root", "sys", "tmp"):
            (self.rootfs / name).mkdir(parents=True)
        self.busybox = busybox()
        shutil.copy(self.busybox, self.rootfs / "bin/busybox")
        for name in ("sh", "cat", "sleep", "true"):
            (self.rootfs / "bin" / name).symlink_to("busybox")
        self.cgroup = f"/orlop-child-{os.getpid()}-{next(_numbers)}"
        self.warnings: list[str] = []
        self.runtime = self.compose()
        self._count = 0
        self._children = children_of("self")

    def compose(self) -> orlop.Runtime:
        """Return another runtime on the same state."""
        return orlop.Runtime.compose(root=str(self.place / "state"), warn=self.warnings.append)

    def config(self, *args: str, **over: Any) -> dict[str, Any]:
        """Return a config for a program; *over* is merged into it."""
        made: dict[str, Any] = {
            "ociVersion": "1.2.0",
            "process": {
                "args": list(args or FOREVER),
                "cwd": "/",
                "user": {"uid": 0, "gid": 0},
                "env": ["PATH=/bin"],
            },
            "root": {"path": "rootfs"},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
            ],
            "linux": {"namespaces": [{"type": name} for name in NAMESPACES]},
        }
        return merge(made, over)

    def script(self, text: str, **over: Any) -> dict[str, Any]:
        """Return a config for a shell script."""
        return self.config("/bin/sh", "-c", text, **over)

    def placed(self, config: dict[str, Any], name: str) -> dict[str, Any]:
        """Return *config* with cgroups where the box finds them again."""
        return merge({"linux": {"cgroupsPath": f"{self.cgroup}/{name}"}}, config)

    def status(self, name: str = "box") -> str:
        """Return the status of a container; empty when it is not there."""
        try:
            return self.runtime.get(name).status
        except orlop.ContainerNotFoundError:
            return ""

    def output(self, number: int | None = None) -> str:
        """Return what the latest container wrote, or that with *number* (from 1)."""
        return (self.place / f"output-{number or self._count}").read_text()

    def create(
        self,
        config: dict[str, Any] | None = None,
        name: str = "box",
        *,
        runtime: orlop.Runtime | None = None,
        **options: Any,
    ) -> orlop.Container:
        """Create a container with its output in a file."""
        self._count += 1
        config = self.placed(config or self.config(), name)
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        written = os.open(self.place / f"output-{self._count}", flags, 0o666)
        options.setdefault("stdio", (null, written, written))
        try:
            return (runtime or self.runtime).create(
                name, self.bundle, LaunchOptions(**options), config=config
            )
        finally:
            os.close(null)
            os.close(written)

    def start(
        self, config: dict[str, Any] | None = None, name: str = "box", **options: Any
    ) -> orlop.Container:
        """Create and start a container."""
        made = self.create(config, name, **options)
        made.start()
        return made

    def run(self, config: dict[str, Any], name: str = "box", **options: Any) -> Result:
        """Run a program to its end and delete its container."""
        made = self.start(config, name, **options)
        status = made.wait(PATIENCE)
        made.delete(force=True)
        assert status is not None
        return Result(status, self.output())

    def left(self) -> list[str]:
        """Return what the containers have left behind."""
        state = self.place / "state"
        found = [f"state {name}" for name in (os.listdir(state) if state.exists() else ())]
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        found += [f"mount {line}" for line in mounts if str(self.place) in line]
        for mount in cgroup_mounts():
            found += [f"cgroup {path}" for path in Path(mount + self.cgroup).glob("*/")]
        return found

    def close(self) -> None:
        """Remove everything; afterwards complain about what should not have been there."""
        failures: list[str] = []
        for container in self.runtime.list():
            try:
                container.delete(force=True)
            except orlop.OrlopError as error:
                failures.append(str(error))
        self.runtime.close()
        failures += self.left()
        for mount in cgroup_mounts():
            remove_cgroup(Path(mount + self.cgroup))
        failures += [f"process {pid}" for pid in children_of("self") - self._children]
        assert failures == [], failures


def orlop_command() -> str:
    """Return the path of the command line under test."""
    return str(Path(sys.executable).parent / "orlop")


def command_line(
    box: Box, *arguments: str, before: str = "", config: dict[str, Any] | None = None, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """Run the command in a process that has executed the Python code *before*; its output goes to a file.

    A container holds its creator's streams open, so nobody can wait for the end of a pipe.
    """
    if config is not None:
        (box.bundle / "config.json").write_text(json.dumps(box.placed(config, "box")))
    script = f"import os, signal, sys\n{before}\nos.execv(sys.argv[1], sys.argv[1:])"
    command = [orlop_command(), "--root", str(box.place / "state"), *arguments]
    with open(box.place / "command-output", "ab") as written:
        return subprocess.run(
            [sys.executable, "-I", "-S", "-c", script, *command],
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            cwd=box.bundle,
            check=False,
            timeout=PATIENCE,
            **options,
        )
