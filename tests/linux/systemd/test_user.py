"""Scopes of a user's own manager, made by that user without any rights."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.engines.conftest import orlop_command
from tests.linux.systemd.conftest import CONFIG, image, managed_user

pytestmark = pytest.mark.needs("systemd", "user-systemd", "cgroup-v2")
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def user() -> int:
    """Return the id of a user whose manager runs."""
    return managed_user()


@pytest.fixture
def place(user: int) -> Iterator[Path]:
    """Return a directory of the user's with an image."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        made = Path(name)
        image(made / "rootfs")
        for base, directories, files in os.walk(made):
            for one in (base, *(os.path.join(base, each) for each in (*directories, *files))):
                os.chown(one, user, user, follow_symlinks=False)
        yield made
        shutil.rmtree(made / "state", ignore_errors=True)


@pytest.mark.parametrize("with_bus", [True, False])
def test_a_user_has_scopes_of_its_own(user: int, place: Path, with_bus: bool) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(place),
        "PYTHONPATH": str(ROOT),
        "XDG_RUNTIME_DIR": f"/run/user/{user}",
    }
    if with_bus:
        environment["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path=/run/user/{user}/bus,guid=0"
    command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--"]
    command += ["unshare", "--user", "--map-root-user", "--mount", "--"]
    command += [sys.executable, str(Path(__file__).with_name("as_user.py")), str(place)]
    done = subprocess.run(
        command, env=environment, cwd=place, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["map"] == ["0", str(user), "1"]
    assert found["cgroup"] == (
        f"/sys/fs/cgroup/user.slice/user-{user}.slice/user@{user}.service/user.slice/orlop-mine.scope"
    )
    assert found["limits"] == ["33", str(64 << 20)]
    assert found["unit"] == {"ActiveState": "active", "Slice": "user.slice", "TasksMax": "33"}
    assert found["members"]
    assert found["updated"] == "44"
    assert found["paused"] == "paused"
    assert (found["left"], found["loaded"]) == ([], {"LoadState": "not-found"})


class Commands:
    """``orlop`` as the user calls it from a login: outside of what the user's manager may control."""

    def __init__(self, user: int, place: Path) -> None:
        self.place = place
        self.runtime = f"/run/user/{user}"
        self._identity: dict[str, Any] = {"user": user, "group": user, "extra_groups": ()}
        config = json.loads(json.dumps(CONFIG))
        mapping = [{"containerID": 0, "hostID": user, "size": 1}]
        config["linux"] |= {"uidMappings": mapping, "gidMappings": mapping}
        config["linux"]["namespaces"].append({"type": "user"})
        config["linux"]["cgroupsPath"] = "user.slice:orlop:commands"
        config["linux"]["resources"] = {"pids": {"limit": 33}, "memory": {"limit": 64 << 20}}
        (place / "config.json").write_text(json.dumps(config))

    def call(self, *arguments: str, runtime: str = "") -> tuple[int, str]:
        """Run a command; return its status and all that it has written."""
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                [orlop_command(), "--root", str(self.place / "state"), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={"XDG_RUNTIME_DIR": runtime or self.runtime},
                cwd=self.place,
                timeout=240,
                check=False,
                **self._identity,
            )
            output.seek(0)
            return done.returncode, output.read()

    def good(self, *arguments: str) -> str:
        """Run a command that succeeds; return what it has written."""
        status, said = self.call(*arguments)
        assert status == 0, said
        return said

    def group(self) -> Path:
        """Return the cgroup of the container's first process."""
        pid = json.loads(self.good("state", "one"))["pid"]
        return Path("/sys/fs/cgroup" + Path(f"/proc/{pid}/cgroup").read_text().strip().removeprefix("0::"))

    def joined(self, *flags: str) -> Path:
        """Run one more program in the container and return its cgroup."""
        file = self.place / "state/pid"
        self.good("exec", "--detach", "--pid-file", str(file), *flags, "one", "/bin/sleep", "600")
        text = Path(f"/proc/{file.read_text()}/cgroup").read_text()
        return Path("/sys/fs/cgroup" + text.strip().removeprefix("0::"))


@pytest.fixture
def commands(user: int, place: Path) -> Iterator[Commands]:
    made = Commands(user, place)
    yield made
    made.call("delete", "--force", "one")


def test_later_commands_of_a_user_find_the_scope(commands: Commands, user: int) -> None:
    commands.good("--systemd-cgroup", "run", "--detach", "one")
    group = commands.group()
    assert str(group).endswith(f"/user@{user}.service/user.slice/orlop-commands.scope")
    assert [(group / name).read_text().strip() for name in ("pids.max", "memory.max")] == [
        "33",
        str(64 << 20),
    ]
    assert commands.joined() == group
    below = group / "below"
    below.mkdir()
    os.chown(below, user, user)
    assert commands.joined("--cgroup", "below") == below
    commands.good("update", "--pids-limit", "44", "one")
    assert (group / "pids.max").read_text().strip() == "44"
    status, said = commands.call("exec", "one", "true", runtime="/nowhere")
    assert status == 255
    assert "cannot reach the user's systemd: /nowhere/bus: no such file or directory" in said
    assert "XDG_RUNTIME_DIR" in said
    commands.good("pause", "one")
    assert "frozen 1" in (group / "cgroup.events").read_text()
    commands.good("delete", "--force", "one")
    assert not group.exists()


def test_a_user_without_a_manager_is_told_what_to_do(commands: Commands) -> None:
    status, said = commands.call("--systemd-cgroup", "run", "--detach", "one", runtime="/nowhere")
    assert (status, said.count("\n")) == (1, 1), said
    assert "/linux/cgroupsPath: cannot reach the user's systemd: /nowhere/bus: no such file" in said
    assert "a user without one needs loginctl enable-linger" in said
    assert commands.good("list", "-q") == ""
