"""nerdctl with a containerd of the tests' own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.engines import crio, image
from tests.engines.containerd import NAMESPACE, Containerd
from tests.engines.containers import Containers
from tests.engines.daemon import Left


class Nerdctl(Containers):
    """Containers of containerd, by nerdctl.

    Args:
        runtime: The OCI runtime's command.
    """

    def __init__(self, runtime: str) -> None:
        """Start containerd with the image loaded."""
        if shutil.which("nerdctl") is None:
            pytest.skip("needs nerdctl, for which Debian has no package")
        self.runtime = runtime
        self._containerd = Containerd(runtime)
        self.daemon = self._containerd.daemon
        self.scratch = self.daemon.scratch
        (self.scratch / "net.d").mkdir()
        (self.scratch / "net.d/pods.conflist").write_text(json.dumps(crio.NETWORK))
        # Images of ctr's are in its namespace, which is nerdctl's too.
        self.call("images")

    def client(self, *args: str) -> list[str]:
        """Return the command line of one command of nerdctl, which runs where the daemon does."""
        return [
            *("nsenter", f"--target={self.daemon.pid}", "--mount", "--net", "--"),
            *("env", f"NERDCTL_TOML={self.scratch}/nerdctl.toml", "nerdctl", "--cgroup-manager=cgroupfs"),
            *(f"--address={self.scratch}/sock", f"--data-root={self.scratch}/nerdctl"),
            *("--cni-path=/usr/lib/cni", f"--cni-netconfpath={self.scratch}/net.d", *args),
        ]

    def command(self, *args: str, options: tuple[str, ...] = ()) -> list[str]:
        """Return the arguments of ``nerdctl run`` for a container of the image."""
        if not any(one.startswith("--network") for one in options):
            options = ("--network=none", *options)
        where = f"--cgroup-parent=/{self.daemon.parent}"
        return ["run", f"--runtime={self.runtime}", where, *options, image.NAME, *args]

    def group(self, name: str, controller: str) -> Path:
        """Return the cgroup of a container."""
        return self._containerd.group(self.inspect(name)["Id"], controller)

    def record(self, name: str) -> Path:
        """Return the file in which orlop keeps a container, in the shim's own state root."""
        ident = self.inspect(name)["Id"]
        return self.daemon.inside(f"/run/containerd/runc/{NAMESPACE}/{ident}/record.json")

    def log(self) -> str:
        """Return what containerd has said."""
        return self._containerd.log()

    def left(self) -> Left:
        """Return all that containers could leave behind."""
        return self._containerd.left()

    def clear(self) -> None:
        """Remove all containers, however they are."""
        if everything := self.call("ps", "--all", "--quiet").split():
            self.ask("rm", "--force", "--volumes", *everything)

    def close(self) -> None:
        """Stop it."""
        self._containerd.close()
