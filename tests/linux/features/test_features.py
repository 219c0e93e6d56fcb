"""What is advertised, on the real kernel: accepted, or refused by the host for a reason that it states."""

from __future__ import annotations

import copy
import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.linux.child.support import PATIENCE
from tests.unit.features.usage import AGENT, DEVICE, FLAGS, HOOK, LISTS, MAPPINGS, ROOTFS, SOURCE, at

import orlop
from orlop_hookspecs.errors import PlatformError, StepError
from orlop_hookspecs.launch import LaunchOptions

FEATURES: dict[str, Any] = orlop.Runtime.compose(platform="fake").composition.features.data
BUSYBOX = Path("/bin/busybox")

HOST_MAY_LACK = {
    "linux.cgroup.v1": "no cgroup",
    "linux.cgroup.v2": "no cgroup",
    "linux.cgroup.rdma": "rdma",
    "linux.intelRdt.enabled": "resctrl",
    "linux.intelRdt.schemata": "resctrl",
    "linux.intelRdt.monitoring": "resctrl",
    "linux.mountExtensions.idmap.enabled": "id-map",
    "mountOptions idmap": "id-map",
    "mountOptions ridmap": "id-map",
    "linux.seccomp.archs": "byte order",
    "linux.apparmor.enabled": "apparmor",  # the module, or the profile that the config names
    "linux.selinux.enabled": "no selinux",
    "linux.netDevices.enabled": "no such network device",
}
"""What needs hardware or a kernel that a host may not have, with a word that the refusal then says."""


class Place:
    """A runtime on the real kernel, with an image and a directory to bind."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.runtime = orlop.Runtime.compose(platform="linux", root=place / "state")
        for name in ("bin", "dev", "proc", "sys", "tmp", "mnt"):
            (place / "rootfs" / name).mkdir(parents=True)
        shutil.copy2(BUSYBOX, place / "rootfs/bin/sh")
        (place / "rootfs/bin/stat").symlink_to("sh")
        (place / "data").mkdir()
        (place / "bundle").mkdir()
        self._agent = socket.socket(socket.AF_UNIX)
        """A seccomp agent that is there; no program of these containers is ever started."""
        self._agent.bind(str(place / "agent"))
        self._agent.listen(64)
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)

    def config(self, config: dict[str, Any]) -> dict[str, Any]:
        """Return *config*, which was written for a fake machine, for this one."""
        mapped: dict[str, str] = {
            json.dumps(ROOTFS): json.dumps(str(self.place / "rootfs")),
            json.dumps(SOURCE): json.dumps(str(self.place / "data")),
            json.dumps(AGENT): json.dumps(str(self.place / "agent")),
            json.dumps(HOOK): json.dumps("/bin/true"),
            # Never the host's own: it would come back from the container without its addresses.
            json.dumps(DEVICE): json.dumps("orlop-absent"),
            # Not everybody may enter the directory of a test.
            json.dumps(MAPPINGS): json.dumps([{"containerID": 0, "hostID": 0, "size": 65_536}]),
        }
        text = json.dumps(config)
        for old, new in mapped.items():
            text = text.replace(old, new)
        made: dict[str, Any] = json.loads(text)
        made["linux"]["cgroupsPath"] = f"/orlop-features-{os.getpid()}/box"
        return made

    def try_out(self, config: dict[str, Any]) -> StepError | PlatformError | None:
        """Create a container and delete it; return why the host refuses."""
        options = LaunchOptions(stdio=(self._null,) * 3)
        try:
            made = self.runtime.create("box", self.place / "bundle", options, config=self.config(config))
        except (StepError, PlatformError) as error:
            if error.cleanup is not None:
                raise
            return error
        made.delete(force=True)
        return None

    def close(self) -> None:
        """End the runtime; there are no containers any more."""
        assert list(self.runtime.list()) == []
        self.runtime.close()
        self._agent.close()
        os.close(self._null)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    if not BUSYBOX.exists():
        pytest.skip("needs a static busybox")
    made = Place(tmp_path_factory.mktemp("features"))
    yield made
    made.close()


def _judge(found: StepError | PlatformError | None, *names: str) -> None:
    if found is None:
        return
    words = [HOST_MAY_LACK[name] for name in names if name in HOST_MAY_LACK]
    assert words, found
    assert any(word in str(found).lower() for word in words), found


@pytest.mark.parametrize("path", [path for path in LISTS if at(FEATURES, path)])
def test_every_advertised_value_is_accepted_by_the_kernel(place: Place, path: str) -> None:
    refusals = []
    for value in at(FEATURES, path):
        for config in LISTS[path](value):
            found = place.try_out(config)
            _judge(found, path, f"{path} {value}")
            refusals += [value] if found else []
    assert len(refusals) < len(at(FEATURES, path))


@pytest.mark.every_lane
@pytest.mark.parametrize("path", [path for path in FLAGS if at(FEATURES, path)])
def test_every_advertised_capability_is_accepted_by_the_kernel(place: Place, path: str) -> None:
    for config, _, _ in FLAGS[path]:
        _judge(place.try_out(config), path)


def test_all_options_of_a_mount_are_accepted_together(place: Place) -> None:
    options = [one for one in at(FEATURES, "mountOptions") if one not in {"idmap", "ridmap", "remount"}]
    propagation = {"private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable"}
    groups = (
        [one for one in options if one not in {"tmpcopyup", *propagation, "bind", "rbind"}],
        [one for one in options if one.startswith("no")],
        [one for one in options if one.startswith("r") and one not in {*propagation, "bind", "rbind"}],
    )
    for group in groups:
        for kind, more in (("bind", ["rbind"]), ("tmpfs", ["tmpcopyup"])):
            for order in (group, group[::-1]):
                mounts = [{"destination": "/mnt", "type": kind, "source": SOURCE, "options": more + order}]
                if kind == "tmpfs":
                    mounts[0] |= {"destination": "/tmp", "source": "tmpfs"}
                config = copy.deepcopy(next(LISTS["hooks"]("prestart"))) | {"mounts": mounts}
                found = place.try_out(config)
                assert found is None, (kind, order)


@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
def test_an_id_mapped_mount_shows_other_owners(place: Place, kind: str) -> None:
    """A file of id 7 on the disk is one of 1007 in the container; the disk is as before."""
    file = place.place / "data/owned"
    file.touch()
    os.chown(file, 7, 8)
    script = f"/bin/stat -c '%u %g' /mnt{'/owned' if kind == 'bind' else ''}"
    config = copy.deepcopy(next(LISTS["hooks"]("prestart")))
    del config["hooks"]
    mappings = {"containerID": 0, "hostID": 1000, "size": 100}
    config["process"]["args"] = ["/bin/sh", "-c", script]
    mount = {"destination": "/mnt", "type": kind, "source": SOURCE if kind == "bind" else "tmpfs"}
    config["mounts"] = [mount | {"uidMappings": [mappings], "gidMappings": [mappings]}]
    output = place.place / f"output-{kind}"
    with output.open("wb") as file_out:
        options = LaunchOptions(stdio=(0, file_out.fileno(), file_out.fileno()))
        try:
            made = place.runtime.create("box", place.place / "bundle", options, config=place.config(config))
        except StepError as error:
            _judge(error, "mountOptions idmap")
            pytest.skip(f"this host's file system cannot be id-mapped: {error}")
    made.start()
    made.wait(timeout=PATIENCE)
    made.delete(force=True)
    assert output.read_text() == ("1007 1008\n" if kind == "bind" else "1000 1000\n")
    assert (file.stat().st_uid, file.stat().st_gid) == (7, 8)
