"""containerd with a store of its own, driven by ctr."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.engines import image
from tests.engines.daemon import PATIENCE, Daemon, Left, left_by, require, until
from tests.needs import newer_programs

RUNTIME = "io.containerd.runc.v2"
NAMESPACE = "default"
CONFIG = """\
version = {version}
root = "{0}/root"
state = "{0}/state"
disabled_plugins = [{off}]
[grpc]
  address = "{0}/sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{0}/opt"
"""


def config(scratch: Path, more: str = "", *, newer: bool = False) -> str:
    """Return a configuration: all files below one directory, and without *more* no CRI plugin."""
    # From version 3 on, which containerd 2 has, it is three plugins.
    cri = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"]
    off = "" if more else ", ".join(json.dumps(one) for one in (cri if newer else cri[:1]))
    return CONFIG.format(scratch, version=3 if newer else 2, off=off) + more


class Containerd:
    """A containerd of the tests' own.

    Args:
        runtime: The OCI runtime's command.
        more: Further configuration, in TOML; without it the CRI plugin is off.
        newer: Take the containerd that is newer than the distribution's, which has to be there.
    """

    def __init__(self, runtime: str, more: str = "", *, newer: bool = False) -> None:
        """Start it with the image loaded."""
        require(
            "containerd",
            "ctr",
            "containerd-shim-runc-v2",
            "/bin/busybox",
            packages="containerd, busybox-static",
        )
        self.runtime = runtime
        self.newer = newer
        programs = newer_programs() if newer else None
        # ctr is executed in another mount namespace, where the same files are.
        self._ctr = str(programs / "ctr") if programs else "ctr"
        self.driver = "cgroupfs"
        """What makes the cgroups of the next container: this, or ``systemd``."""
        self.daemon = Daemon("cd")
        scratch = self.scratch = self.daemon.scratch
        file = scratch / "config.toml"
        file.write_text(config(scratch, more, newer=newer))
        try:
            self.daemon.start(
                ["containerd", "--config", str(file)],
                lambda: self.ctr("version").returncode == 0,
                runtime,
                programs,
            )
            archive = image.write(scratch / "image.tar")
            self.call("images", "import", str(archive))
            if more:
                self.call("--namespace=k8s.io", "images", "import", str(archive))
        except BaseException:
            self.daemon.stop()
            raise

    def client(self, *args: str) -> list[str]:
        """Return the command line of one command of ctr."""
        # ctr keeps the fifos of a container's output below /run: it runs where the daemon does.
        return [
            *("nsenter", f"--target={self.daemon.pid}", "--mount", "--"),
            *(self._ctr, f"--address={self.daemon.scratch}/sock", *args),
        ]

    def ctr(self, *args: str, feed: str = "") -> subprocess.CompletedProcess[str]:
        """Run one command of ctr, with *feed* on its standard input."""
        return subprocess.run(
            self.client(*args), input=feed, capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    def call(self, *args: str) -> str:
        """Run a command that must succeed, and return what it has printed."""
        done = self.ctr(*args)
        assert done.returncode == 0, (args, done)
        return done.stdout

    def command(self, ident: str, *args: str, options: tuple[str, ...] = ()) -> list[str]:
        """Return the arguments of ``ctr run``."""
        where: tuple[str, ...] = (f"--cgroup=/{self.daemon.parent}/{ident}",)
        if self.driver == "systemd":
            where = ("--runc-systemd-cgroup", f"--cgroup={self.daemon.slice}:ctr:{ident}")
        return [
            *("run", f"--runtime={RUNTIME}", f"--runc-binary={self.runtime}", "--runc-root=/run/rt"),
            *(*where, *options, image.NAME, ident, *args),
        ]

    def run(self, ident: str, *args: str, options: tuple[str, ...] = ()) -> tuple[int, str]:
        """Run a container of the image to its end; return its exit status, and its output or ctr's complaint.

        The shim writes the output to a file: what comes through fifos ctr may lose when it is in a hurry,
        whatever the runtime. Standard error may be lost even so: when the shim sees the end of standard
        output first it closes the file that both are written to. A script whose errors matter begins with
        ``exec 2>&1``.
        """
        out = self.scratch / f"out-{ident}"
        out.unlink(missing_ok=True)
        done = self.ctr(*self.command(ident, *args, options=("--rm", f"--log-uri=file://{out}", *options)))
        return done.returncode, out.read_text() if out.exists() and not done.stderr else done.stderr

    def start(self, ident: str, *args: str, options: tuple[str, ...] = ()) -> int:
        """Start a container in the background and return its process."""
        self.call(*self.command(ident, *args, options=("--detach", *options)))
        return self.pid(ident)

    def tasks(self) -> dict[str, tuple[int, str]]:
        """Return process and status of each task, by identifier."""
        rows = [line.split() for line in self.call("tasks", "ls").splitlines()[1:]]
        return {ident: (int(pid), status) for ident, pid, status in rows}

    def pid(self, ident: str) -> int:
        """Return the process of a task."""
        return self.tasks()[ident][0]

    def status(self, ident: str) -> str:
        """Return the status of a task."""
        return self.tasks()[ident][1]

    def stopped(self, ident: str) -> None:
        """Wait until a task has ended."""
        until(lambda: self.status(ident) == "STOPPED", self.tasks)

    def group(self, ident: str, controller: str) -> Path:
        """Return the cgroup of a container."""
        root = Path("/sys/fs/cgroup")
        if self.driver == "systemd":
            return root / self.daemon.slice / f"ctr-{ident}.scope"
        return (root if (root / "cgroup.procs").exists() else root / controller) / self.daemon.parent / ident

    def metrics(self, ident: str) -> dict[str, dict[str, Any]]:
        """Return what the shim reads from the cgroups of a task."""
        found: dict[str, dict[str, Any]] = json.loads(self.call("tasks", "metrics", "--format=json", ident))
        return found

    def log(self) -> str:
        """Return what the daemon has said, with what its shims have."""
        return self.daemon.log.read_text(errors="replace")

    def left(self) -> Left:
        """Return all that containers could leave behind."""
        left = left_by(
            self.daemon,
            f"/run/rt/{NAMESPACE}",
            f"/run/containerd/runc/{NAMESPACE}",
            f"{self.daemon.scratch}/state/io.containerd.runtime.v2.task/{NAMESPACE}",
        )
        if self.driver == "systemd":
            left["units"] = self.daemon.units("ctr-")
        left["containers"] = set(self.call("containers", "ls", "--quiet").split())
        return left

    def clear(self) -> None:
        """Remove all containers, however they are."""
        for ident in self.tasks():
            self.ctr("tasks", "delete", "--force", ident)
        for ident in self.call("containers", "ls", "--quiet").split():
            self.ctr("containers", "delete", ident)

    def close(self) -> None:
        """Stop it."""
        self.daemon.stop()
