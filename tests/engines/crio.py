"""CRI-O with a store of its own, and orlop as its runtime."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from tests.engines import image
from tests.engines.conftest import orlop_command
from tests.engines.cri import CriError
from tests.engines.daemon import PATIENCE, Daemon, Left, left_by, require, until
from tests.engines.kubelet import PEER, Node

# What the how-to page shows, and what keeps this daemon apart from all others.
_CONFIGURATION = """\
[crio]
root = "{scratch}/root"
runroot = "{scratch}/runroot"
storage_driver = "vfs"
log_dir = "{scratch}/logs"
version_file = "{scratch}/version"
clean_shutdown_file = "{scratch}/clean.shutdown"
[crio.api]
listen = "{scratch}/sock"
[crio.nri]
enable_nri = false
[crio.runtime]
cgroup_manager = "cgroupfs"
default_runtime = "orlop"
container_exits_dir = "{scratch}/exits"
container_attach_socket_dir = "{scratch}/attach"
namespaces_dir = "/run/pinned"
hooks_dir = ["{scratch}/hooks.d"]
irqbalance_config_file = "{scratch}/irqbalance"
irqbalance_config_restore_file = "disable"
[crio.runtime.runtimes.orlop]
runtime_path = "{runtime}"
runtime_root = "/run/rt"
monitor_cgroup = "pod"
container_min_memory = "4MiB"
[crio.runtime.runtimes.peer]
runtime_path = "{peer}"
runtime_root = "/run/peer"
monitor_cgroup = "pod"
[crio.image]
pause_image = "{pause}"
pause_command = ""
signature_policy = "{scratch}/policy.json"
signature_policy_dir = "{scratch}/policies"
namespaced_auth_dir = "{scratch}/auth"
[crio.network]
network_dir = "{scratch}/net.d"
plugin_dirs = ["/usr/lib/cni"]
"""
_POLICY = {"default": [{"type": "insecureAcceptAnything"}]}
NETWORK = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "orlop0",
            "isGateway": True,
            "ipam": {"type": "host-local", "dataDir": "/run/cni", "ranges": [[{"subnet": "10.88.0.0/24"}]]},
        }
    ],
}
"""A bridge in the daemon's own network: nothing leaves it."""


class Crio(Node):
    """A node whose kubelet talks to CRI-O, which makes the cgroups by files."""

    def __init__(self) -> None:
        """Start CRI-O with the image in its store."""
        if not (shutil.which("crio") and shutil.which("pinns")):
            pytest.skip("needs crio and pinns of CRI-O, for which Debian has no package")
        require("conmon", "podman", "/bin/busybox", packages="conmon, podman, busybox-static")
        daemon = Daemon("cr")
        scratch = daemon.scratch
        (scratch / "policy.json").write_text(json.dumps(_POLICY))
        (scratch / "net.d").mkdir()
        (scratch / "net.d/pods.conflist").write_text(json.dumps(NETWORK))
        text = _CONFIGURATION.format(
            scratch=scratch,
            runtime=orlop_command(),
            peer=PEER,
            pause=image.PAUSE,
        )
        (scratch / "crio.conf").write_text(text)
        try:
            self._load(scratch)
            # Without drop-in files of the machine's own CRI-O. Asked to end, it succeeds and starts again.
            command = ["crio", f"--config={scratch}/crio.conf", f"--config-dir={scratch}/conf.d"]
            again = ["sh", "-c", 'while "$@"; do :; done', "sh", *command]
            daemon.start(again, (scratch / "sock").exists, orlop_command())
            super().__init__(daemon, "cgroupfs")
        except BaseException:
            daemon.stop()
            raise

    def _server(self) -> int:
        """Return the process that serves; there may be none for a moment."""
        found = [one.split()[0] for one in self.daemon.processes() if one.endswith(" crio")]
        return int(found[0]) if found else 0

    def restart(self) -> None:
        """End CRI-O and start it again; containers and their monitors stay."""
        before = self._server()
        os.kill(before, signal.SIGTERM)
        until(lambda: self._server() not in {0, before} and self._serves(), self.log)

    def _serves(self) -> bool:
        try:
            return bool(self.call("Version"))
        except CriError:  # not yet
            return False

    def _load(self, scratch: Path) -> None:
        """Load the image into the store before it is CRI-O's: the interface itself can only pull."""
        store = [f"--root={scratch}/root", f"--runroot={scratch}/runroot", "--storage-driver=vfs"]
        command = ["podman", *store, "load", f"--input={image.write(scratch / 'image.tar')}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, done

    def leaf(self, container: str) -> str:
        """Return the name of a container's cgroup, where files make it."""
        return f"crio-{container}"

    def record(self, runtime: str, ident: str) -> Path:
        """Return the directory in which a runtime, ``orlop`` or ``peer``, keeps the state of a container."""
        return self.daemon.inside(f"/run/{'rt' if runtime == 'orlop' else runtime}/{ident}")

    def traces(self) -> Left:
        """Return what containers could leave behind, but for pods."""
        pinned = (f"/run/pinned/{kind}ns" for kind in ("net", "ipc", "uts", "user"))
        left = left_by(self.daemon, "/run/rt", "/run/peer", "/var/lib/cni/results", *pinned)
        left["processes"] = {one for one in left["processes"] if not one.endswith(" crio")}
        return left
