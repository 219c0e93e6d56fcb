"""A composed runtime makes real containers, with its helper out of the same file."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.linux.cli.conftest import Bundle, Runtime

from orlop.composing.profiles import names

MANIFEST = """\
name = "composed"
profile = "{profile}"

[distributions]
orlop = "{orlop}"
jeepney = "{jeepney}"
"""


@pytest.fixture
def profile() -> str:
    """Return the profile that the runtime is composed from."""
    return "docker-like"


@pytest.fixture
def composed(tmp_path: Path, profile: str) -> Iterator[Runtime]:
    """Return a composed runtime, alone in its directory; its containers are deleted at the end."""
    place = tmp_path / "composed"
    place.mkdir()
    manifest = tmp_path / "manifest.toml"
    versions = {name: importlib.metadata.version(name) for name in ("orlop", "jeepney")}
    manifest.write_text(MANIFEST.format(**versions, profile=profile))
    program = "from orlop.cli.main import entry; entry()"
    words = ["compose", str(manifest), "--output", str(place / "composed")]
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    made = Runtime("composed", (str(place / "composed"),), tmp_path / "composed-state")
    yield made
    made.clean()
    assert made.names() == []


def test_a_whole_lifecycle(composed: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    bundle.configure()
    output = tmp_path / "output"
    assert composed("create", "-b", str(bundle), "one", output=output).returncode == 0, output.read_text()
    state = json.loads(composed("state", "one").stdout)
    assert state["status"] == "created"
    assert composed("start", "one").returncode == 0
    pid = json.loads(composed("state", "one").stdout)["pid"]
    assert Path(f"/proc/{pid}/comm").read_text() == "sleep\n"
    assert Path(f"/proc/{pid}/root/bin/busybox").exists()
    assert composed("kill", "one", "KILL").returncode == 0
    assert composed("delete", "--force", "one").returncode == 0
    assert composed("state", "one").returncode == 1


NO_MKDIR = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
}
FOR: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "minimal": ({}, {}),
    "sandbox": ({"seccomp": NO_MKDIR}, {}),
    "docker-like": (
        {"seccomp": NO_MKDIR, "sysctl": {"kernel.shm_rmid_forced": "1"}},
        {"selinuxLabel": "", "user": {"uid": 7, "gid": 8, "additionalGids": [9]}},
    ),
    "kubernetes-like": (
        {"seccomp": NO_MKDIR, "sysctl": {"kernel.shm_rmid_forced": "1"}},
        {"scheduler": {"policy": "SCHED_BATCH"}},
    ),
}
"""Profile to what of a config it is for: below linux and below process."""


@pytest.mark.parametrize("profile", sorted(FOR))
def test_each_profile_runs_what_it_is_for(
    composed: Runtime, profile: str, bundle: Bundle, tmp_path: Path
) -> None:
    assert sorted(FOR) == names()
    linux, process = FOR[profile]
    made = bundle.configure()
    script = "cat /proc/sys/kernel/shm_rmid_forced; mkdir /dev/shm/one || exit 9; exit 5"
    bundle.configure({"linux": {**made["linux"], **linux}}, args=["/bin/sh", "-c", script], **process)
    output = tmp_path / "output"
    done = composed("run", "-b", str(bundle), "one", output=output)
    assert done.returncode == (9 if "seccomp" in linux else 5), output.read_text()
    assert output.read_text()[0] == ("1" if "sysctl" in linux else "0")


def test_run_waits_and_tells_how_it_ended(composed: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    bundle.configure(args=["sh", "-c", "ls /proc/1/fd; exit 9"])
    output = tmp_path / "output"
    done = composed("run", "-b", str(bundle), "one", output=output)
    assert done.returncode == 9
    # Nothing of the file that the runtime is stays open in the container; ls opens one directory itself.
    assert output.read_text().split() == ["0", "1", "2"]


def test_the_file_may_go_while_a_container_is_made(composed: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """What runs has its file open: a newer one that takes its place does not mix with it."""
    bundle.configure()
    path = Path(composed.command[0])
    output = tmp_path / "output"
    assert composed("create", "-b", str(bundle), "one", output=output).returncode == 0, output.read_text()
    newer = tmp_path / "newer"
    shutil.copy(path, newer)
    os.replace(newer, path)
    assert composed("start", "one").returncode == 0
    assert composed("delete", "--force", "one").returncode == 0


def test_a_property_of_a_missing_plugin_touches_nothing(
    composed: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    bundle.configure({"linux": {"netDevices": {"lo": {}}, "namespaces": [{"type": "network"}]}})
    output = tmp_path / "output"
    assert composed("create", "-b", str(bundle), "one", output=output).returncode == 1
    assert "plugin net-devices would handle it, and composed was composed without it" in output.read_text()
    assert composed.names() == []
