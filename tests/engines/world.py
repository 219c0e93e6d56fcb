"""A runtime with bundles and a state root of its own, for the comparison with its peers."""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

from tests.engines.daemon import PATIENCE, hierarchies
from tests.leftovers import remove_cgroup

from orlop_linux.live.process import open_pid

# crun refuses hybrid hierarchies; each command runs where there seem to be none. Descriptor 3 is a file.
_HIDE = 'umount -l /sys/fs/cgroup/unified 2>/dev/null; exec "$@" 3<../resources.json'
_CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]


_APPLETS = ("sh", "cat", "echo", "grep", "id", "kill", "ls", "pwd", "sleep", "test", "true", "tty")


class Manager:
    """A service manager that reads what it is told (sd_notify(3)), in a thread."""

    def __init__(self, path: Path) -> None:
        """Listen."""
        self.path = str(path)
        self.told: list[str] = []
        """All messages."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            message, descriptors, _, _ = socket.recv_fds(self._socket, 4096, 4)
            # Who has sent them learns by that that all was read (sd_notify_barrier(3)).
            for descriptor in descriptors:
                os.close(descriptor)
            if not message:
                return
            self.told.append(message.decode())

    def speak(self, world: World) -> None:
        """Say in place of the program of the container ``four`` that it is ready, as soon as it runs."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                pid = (world.scratch / "fourth").read_text()
                # Before that, the environment is the runtime's.
                if os.readlink(f"/proc/{pid}/exe") != "/bin/busybox":
                    continue
                environment = Path(f"/proc/{pid}/environ").read_text().split("\0")
                (path,) = (one.partition("=")[2] for one in environment if one.startswith("NOTIFY_SOCKET="))
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
                    to.sendto(b"READY=1", f"/proc/{pid}/root{path}")
            except (OSError, ValueError):  # not yet
                os.sched_yield()
            else:
                return

    def all_told(self) -> list[str]:
        """Listen no more, and return all that was told until now: messages arrive in their order."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"", self.path)
        self._thread.join(PATIENCE)
        return self.told

    def close(self) -> None:
        """Listen no more."""
        if self._thread.is_alive():
            self.all_told()
        self._socket.close()


class World:
    """One runtime with bundles and a state root of its own."""

    def __init__(self, name: str, command: str, scratch: Path) -> None:
        """Make the bundles."""
        self.name = name
        self.command = command
        self.scratch = scratch
        self.parent = f"orlop-{scratch.name}"
        self.last = ""
        """What the latest command has said."""
        scratch.mkdir(parents=True)
        self.console = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        """Receives terminals."""
        self.console.bind(f"{scratch}/console")
        self.console.listen()
        self.console.settimeout(PATIENCE)
        self.manager = Manager(scratch / "manager")
        self._bundle("sleep", "sleep", "1000")
        self._bundle("descriptors", "sh", "-c", "cat <&3; exec ls /proc/self/fd")
        self._bundle("terminal", "sh", "-c", "test -t 0 && echo yes; exec sleep 1000", terminal=True)
        self._bundle("quick", "sh", "-c", "echo out; echo err >&2; exit 7")
        self._bundle("missing", "no-such-program")
        self._bundle("absent", "/no/such/program")
        self._bundle("denied", "/etc/plain")
        for place in ("none", "broken", "fresh", "users"):
            (scratch / place).mkdir()
        (scratch / "broken/config.json").write_text("{")
        (scratch / "process.json").write_text(
            json.dumps(
                {
                    "args": ["sh", "-c", "pwd; exit 9"],
                    "cwd": "/tmp",
                    "env": ["PATH=/bin"],
                    "user": {"uid": 0, "gid": 0},
                }
            )
        )
        (scratch / "resources.json").write_text(json.dumps({"pids": {"limit": 19}}))

    def _bundle(self, name: str, *args: str, terminal: bool = False) -> None:
        root = self.scratch / name / "rootfs"
        for place in ("bin", "proc", "dev/pts", "tmp", "etc", "run/notify"):
            (root / place).mkdir(parents=True)
        shutil.copy2("/bin/busybox", root / "bin/busybox")
        for applet in _APPLETS:
            (root / "bin" / applet).symlink_to("busybox")
        (root / "etc/plain").write_text("data")
        pts = {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance"]}
        config = {
            "ociVersion": "1.0.2",
            "root": {"path": "rootfs"},
            "process": {
                "cwd": "/",
                "args": args,
                "terminal": terminal,
                "env": ["PATH=/bin"],
                "user": {"uid": 0, "gid": 0},
                "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), _CAPABILITIES),
            },
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}, pts],
            "annotations": {"org.example.word": "value"},
            "linux": {
                "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "network")],
                "cgroupsPath": f"/{self.parent}/{name}",
                "resources": {"memory": {"limit": 128 << 20}, "pids": {"limit": 50}},
            },
        }
        (self.scratch / name / "config.json").write_text(json.dumps(config))

    def __call__(self, arguments: tuple[str, ...], *, notify: bool = False) -> tuple[int, str]:
        """Run one command line; return its exit status and its standard output.

        With *notify* a service manager waits to be told that the container is ready.
        """
        variables = {"NOTIFY_SOCKET": self.manager.path} if notify else {}
        if notify:
            threading.Thread(target=self.manager.speak, args=(self,), daemon=True).start()
        words = [word.replace("@", str(self.scratch)) for word in arguments]
        # Files, not pipes: a created container keeps its standard streams, and nobody is to wait for it.
        out, err = self.scratch / "out", self.scratch / "err"
        with (
            out.open("wb") as stdout,
            err.open("wb") as stderr,
            (self.scratch / "resources.json").open() as stdin,
        ):
            done = subprocess.run(
                [
                    *("unshare", "--mount", "--propagation=slave", "sh", "-c", _HIDE, "sh"),
                    *(self.command, "--root", str(self.scratch / "state"), *words),
                ],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                timeout=PATIENCE,
                check=False,
                cwd=self.scratch / "fresh",
                env={"PATH": os.environ["PATH"], **variables},
            )
        self.last = err.read_text(errors="replace")
        return done.returncode, out.read_text(errors="replace")

    def pid(self) -> int:
        """Return the process of the container ``one``, from its pid file."""
        return int((self.scratch / "pid").read_text())

    def ended(self) -> None:
        """Wait until the process of the container ``one`` has ended."""
        process = open_pid(self.pid())
        if process is None:
            return
        select.select([process], [], [], PATIENCE)
        os.close(process)

    def file(self, controller: str, *names: str) -> str:
        """Return what the kernel has in a file of the cgroup of ``one``; the first that there is."""
        for root in hierarchies():
            for name in names:
                file = root / self.parent / "sleep" / name
                if file.exists() and root.name in {controller, "cgroup"}:
                    return file.read_text().strip()
        return "no such file"

    def close(self) -> None:
        """Remove all containers and cgroups."""
        for name in ("one", "two", "three", "four", "five"):
            self(("delete", "--force", name))
        for root in hierarchies():
            remove_cgroup(root / self.parent)
        self.console.close()
        self.manager.close()
