"""Docker with a store of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.engines import image
from tests.engines.containerd import config
from tests.engines.containers import Containers
from tests.engines.daemon import Daemon, Left, left_by, require
from tests.needs import newer_programs

# Other programs of this name may come first in PATH.
CLIENT = "/usr/bin/docker"
PEER = "peer"
"""The name under which a daemon knows runc."""
_USERS = (Path("/etc/subuid"), Path("/etc/subgid"))
REMAPPED = "daemon:200000:65536"
# The containerd that dockerd would start has to be there within fifteen seconds, however slow the machine is.
_START = """\
if [ -e "$1/users" ]; then
    for file in /etc/subuid /etc/subgid; do mount --bind "$1/users" $file; done
fi
containerd --config "$1/containerd.toml" &
until [ -S "$1/sock" ]; do sleep 0.05; done
exec dockerd --config-file="$1/daemon.json" --containerd="$1/sock"
"""


class Docker(Containers):
    """A dockerd of the tests' own, which knows the runtime as ``orlop``.

    Args:
        runtime: The OCI runtime's command.
        default: The runtime is also the default one.
        driver: What makes the cgroups: ``cgroupfs`` or ``systemd``.
        newer: Take the Docker that is newer than the distribution's, with its containerd.
        users: Have them remapped: a line of subuid(5), whose user has a group of the same name.
    """

    def __init__(
        self,
        runtime: str,
        *,
        default: bool = False,
        driver: str = "cgroupfs",
        newer: bool = False,
        users: str = "",
    ) -> None:
        """Start it with the image loaded."""
        require("containerd", "dockerd", CLIENT, "/bin/busybox", packages="docker.io, busybox-static")
        if users and not all(file.exists() for file in _USERS):
            pytest.skip("needs the files /etc/subuid and /etc/subgid (Debian package passwd)")
        self.daemon = Daemon("dk")
        self.default = default
        self.driver = driver
        self.newer = newer
        programs = newer_programs() if newer else None
        self._client = str(programs / "docker") if programs else CLIENT
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
            **({"userns-remap": users.partition(":")[0]} if users else {}),
        }
        if users:
            (scratch / "users").write_text(f"{users}\n")
        (scratch / "daemon.json").write_text(json.dumps(configuration))
        (scratch / "containerd.toml").write_text(config(scratch, newer=newer))
        # Where the fallback name is used, it must not be our runtime unless that is the default.
        fallback = runtime if default else "/bin/false"
        try:
            self.daemon.start(
                ["sh", "-c", _START, "sh", str(scratch)],
                lambda: self.ask("version").returncode == 0,
                fallback,
                programs,
            )
            self.call("load", f"--input={image.write(scratch / 'image.tar')}")
        except BaseException:
            self.daemon.stop()
            raise

    def client(self, *args: str) -> list[str]:
        """Return the command line of one command of docker."""
        return [
            self._client,
            f"--config={self.scratch}/client",
            f"--host=unix://{self.scratch}/docker",
            *args,
        ]

    def command(self, *args: str, options: tuple[str, ...] = ()) -> list[str]:
        """Return the arguments of ``docker run`` for a container of the image."""
        runtime = () if self.default else ("--runtime=orlop",)
        return ["run", *runtime, "--network=none", *options, "box:1", *args]

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
            f"{self.scratch}/data/200000.200000/containers",
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
            self.ask("rm", "--force", "--volumes", *everything)

    def close(self) -> None:
        """Stop it."""
        self.daemon.stop()
