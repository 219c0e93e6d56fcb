"""podman of a user, with the user's systemd as its cgroup manager, on orlop."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.engines.conftest import await_helpers, orlop_command
from tests.engines.daemon import PATIENCE, require, until
from tests.linux.systemd.conftest import image, managed_user

pytestmark = pytest.mark.needs("systemd", "user-systemd", "cgroup-v2")


class Podman:
    """podman as the user calls it."""

    def __init__(self, scratch: Path, user: int) -> None:
        self.scratch = scratch
        self.runtime = Path(f"/run/user/{user}")
        image(scratch / "rootfs")
        for base, directories, files in os.walk(scratch):
            for one in (base, *(os.path.join(base, each) for each in (*directories, *files))):
                os.chown(one, user, user, follow_symlinks=False)
        self._identity: dict[str, Any] = {"user": user, "group": user, "extra_groups": ()}

    def call(self, *args: str) -> str:
        """Run a command that must succeed, and return what it has printed."""
        base = [
            *("podman", "--log-level=error", "--storage-driver=vfs", "--cgroup-manager=systemd"),
            *(f"--root={self.scratch}/root", f"--runroot={self.scratch}/run", f"--runtime={orlop_command()}"),
        ]
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [*base, *args],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            cwd=self.scratch,
            env={
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME": str(self.scratch),
                "XDG_RUNTIME_DIR": str(self.runtime),
            },
            **self._identity,
        )
        assert done.returncode == 0, (args, done)
        return done.stdout.strip()


@pytest.fixture
def podman(scratch: Path) -> Iterator[Podman]:
    require("podman", "newuidmap", "/bin/busybox", packages="podman, uidmap, busybox-static")
    made = Podman(scratch, managed_user())
    yield made
    made.call("rm", "--all", "--force", "--time=0")
    # The process that keeps podman's namespaces goes with it.
    made.call("system", "migrate")
    await_helpers(scratch)
    shutil.rmtree(scratch / "root", ignore_errors=True)


def test_a_container_of_a_user_is_a_scope_of_the_users_manager(podman: Podman) -> None:
    rootfs = str(podman.scratch / "rootfs")
    options = ("--detach", "--network=none", "--name=one", "--memory=64m", "--pids-limit=17")
    ident = podman.call("run", *options, "--rootfs", rootfs, "sleep", "1000")
    pid = json.loads(podman.call("inspect", "one"))[0]["State"]["Pid"]
    path = Path(f"/proc/{pid}/cgroup").read_text().strip().removeprefix("0::")
    assert path.endswith(f"/user@{podman.runtime.name}.service/user.slice/libpod-{ident}.scope")
    group = Path(f"/sys/fs/cgroup{path}")
    limits = [(group / name).read_text().strip() for name in ("pids.max", "memory.max")]
    assert limits == ["17", str(64 << 20)]
    # Both are in the scope: what it shows begins there.
    assert podman.call("exec", "one", "cat", "/proc/self/cgroup") == "0::/"
    podman.call("update", "--memory=96m", "--memory-swap=96m", "one")
    assert (group / "memory.max").read_text().strip() == str(96 << 20)
    podman.call("rm", "--force", "--time=0", "one")
    until(lambda: not group.exists(), lambda: list(group.iterdir()))
