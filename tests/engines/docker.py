"""Docker with a store of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.engines import image
from tests.engines.containerd import CONFIG, CRI
from tests.engines.daemon import PATIENCE, Daemon, Left, left_by, require

# Other programs of this name may come first in PATH.
CLIENT = "/usr/bin/docker"
PEER = "peer"
"""The name under which a daemon knows runc."""
# The containerd that dockerd would start has to be there within fifteen seconds, however slow the machine is.
_START = """\
containerd --config "$1/containerd.toml" &
until [ -S "$1/sock" ]; do sleep 0.05; done
exec dockerd --config-file="$1/daemon.json" --containerd="$1/sock"
"""


class Docker:
    """A dockerd of the tests' own, which knows the runtime as ``orlop``.

    Args:
        runtime: The OCI runtime's command.
        default: The runtime is also the default one.
        driver: What makes the cgroups: ``cgroupfs`` or ``systemd``.
    """

    def __init__(self, runtime: str, *, default: bool = False, driver: str = "cgroupfs") -> None:
        """Start it with the image loaded."""
        require("containerd", "dockerd", CLIENT, "/bin/busybox", packages="docker.io, busybox-static")
        self.daemon = Daemon("dk")
        self.default = default
        self.driver = driver
        scratch = self.scratch = self.daemon.scratch
        configuration = {
            "data-root": f"{scratch}/data",
            "exec-root": f"{scratch}/exec",
            "pidfile": f"{scratch}/pid",
            "hosts": [f"unix://{scratch}/docker"],
            "group": "root",
            "bridge": "none",
            "iptables": False,
            "ip6tables": False,
            "ip-forward": False,
            "ip-masq": False,
            "userland-proxy": False,
            "exec-opts": [f"native.cgroupdriver={driver}"],
            "cgroup-parent": self.daemon.slice if driver == "systemd" else f"/{self.daemon.parent}/c",
            "init-path": "/usr/bin/tini-static",
            "runtimes": {"orlop": {"path": runtime}, PEER: {"path": shutil.which("runc") or "runc"}},
            "default-runtime": "orlop" if default else "runc",
            # The machine may lack CAP_SYS_RESOURCE: nothing may be raised.
            "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 1024, "Soft": 1024}},
        }
        (scratch / "daemon.json").write_text(json.dumps(configuration))
        (scratch / "containerd.toml").write_text(CONFIG.format(scratch, f'"{CRI}"'))
        # Where the fallback name is used, it must not be our runtime unless that is the default.
        fallback = runtime if default else "/bin/false"
        try:
            self.daemon.start(
                ["sh", "-c", _START, "sh", str(scratch)],
                lambda: self.docker("version").returncode == 0,
                fallback,
            )
            self.call("load", f"--input={image.write(scratch / 'image.tar')}")
        except BaseException:
            self.daemon.stop()
            raise

    def client(self, *args: str) -> list[str]:
        """Return the command line of one command of docker."""
        return [CLIENT, f"--config={self.scratch}/client", f"--host=unix://{self.scratch}/docker", *args]

    def docker(self, *args: str, feed: str = "") -> subprocess.CompletedProcess[str]:
        """Run one command of docker, with *feed* on its standard input."""
        return subprocess.run(
            self.client(*args), input=feed, capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    def call(self, *args: str) -> str:
        """Run a command that must succeed, and return what it has printed."""
        done = self.docker(*args)
        assert done.returncode == 0, (args, done, self.log()[-2000:])
        return done.stdout.strip()

    def command(self, *args: str, options: tuple[str, ...] = ()) -> list[str]:
        """Return the arguments of ``docker run`` for a container of the image."""
        runtime = () if self.default else ("--runtime=orlop",)
        return ["run", *runtime, "--network=none", *options, "box:1", *args]

    def run(
        self, *args: str, options: tuple[str, ...] = (), feed: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a container of the image."""
        return self.docker(*self.command(*args, options=options), feed=feed)

    def start(self, name: str, *args: str, options: tuple[str, ...] = ()) -> int:
        """Start a container in the background and return its process."""
        self.call(*self.command(*args, options=("--detach", f"--name={name}", *options)))
        pid: int = self.inspect(name)["State"]["Pid"]
        return pid

    def inspect(self, name: str) -> dict[str, Any]:
        """Return what is known of a container."""
        found: dict[str, Any] = json.loads(self.call("inspect", name))[0]
        return found

    def status(self, name: str) -> str:
        """Return the status of a container."""
        found: str = self.inspect(name)["State"]["Status"]
        return found

    def group(self, name: str, controller: str) -> Path:
        """Return the cgroup of a container."""
        root = Path("/sys/fs/cgroup")
        top = root if (root / "cgroup.procs").exists() else root / controller
        found: str = self.inspect(name)["Id"]
        if self.driver == "systemd":
            return top / self.daemon.slice / f"docker-{found}.scope"
        return top / self.daemon.parent / "c" / found

    def log(self) -> str:
        """Return what the daemon has said."""
        return self.daemon.log.read_text(errors="replace")

    def left(self) -> Left:
        """Return all that containers could leave behind."""
        left = left_by(
            self.daemon,
            f"{self.scratch}/exec/runtime-runc/moby",
            f"{self.scratch}/state/io.containerd.runtime.v2.task/moby",
            f"{self.scratch}/data/containers",
        )
        # The group of all containers stays; only empty it is nobody's.
        left["cgroups"] = {
            group for group in left["cgroups"] if not group.endswith(f"{self.daemon.parent}/c")
        }
        if self.driver == "systemd":
            left["units"] = self.daemon.units("docker-")
        left["containers"] = set(self.call("ps", "--all", "--quiet").split())
        return left

    def clear(self) -> None:
        """Remove all containers and volumes, however they are."""
        if everything := self.call("ps", "--all", "--quiet").split():
            self.docker("rm", "--force", "--volumes", *everything)

    def close(self) -> None:
        """Stop it."""
        self.daemon.stop()
