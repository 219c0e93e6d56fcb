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

import pytest
from tests.linux.systemd.conftest import image

pytestmark = pytest.mark.needs("systemd", "user-systemd", "cgroup-v2")
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def user() -> int:
    """Return the id of a user whose manager runs."""
    return min(
        int(place.name) for place in Path("/run/user").glob("[1-9]*") if (place / "systemd/private").exists()
    )


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
