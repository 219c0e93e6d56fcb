"""Hosts as data: each boots, runs containers, and refuses what such a machine refuses, with its errno."""

from __future__ import annotations

import errno
from typing import Any

import pytest

import orlop
from orlop_fake import PROFILES, FakeKernel, FakePlatform, machine_of
from orlop_fake.versions import lacking
from orlop_hookspecs.errors import OrlopError

ROOTLESS = {
    "namespaces": [{"type": "user"}, {"type": "mount"}],
    "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
    "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
}
PLAIN = {"namespaces": [{"type": "mount"}, {"type": "pid"}]}


def config(linux: dict[str, Any], **sections: Any) -> dict[str, Any]:
    return {
        "ociVersion": "1.3.0",
        "root": {"path": "/image"},
        "process": {"args": ["/bin/true"], "cwd": "/", "user": {"uid": 0, "gid": 0}},
        "linux": linux,
    } | sections


def runtime(kernel: FakeKernel) -> orlop.Runtime:
    kernel.add_rootfs("/image")
    return orlop.Runtime.compose(FakePlatform(kernel))


@pytest.mark.parametrize("name", PROFILES)
def test_a_container_lives_on_each(name: str) -> None:
    kernel = machine_of(name)
    if lacking(kernel.host.linux):
        return  # test_versions.py shows that no container lives there
    # Without privileges, or without any, there are no cgroups to be made.
    groups = not kernel.uid and kernel.cgroup_mode != "none"
    box = runtime(kernel).create("box", config(ROOTLESS if kernel.uid else PLAIN), manage_cgroups=groups)
    box.start()
    assert box.wait() == 0
    box.delete()
    assert kernel.leaks() == []
    assert PROFILES[name].text


IDMAPPED = {
    "destination": "/data",
    "source": "/usr",
    "options": ["bind", "idmap"],
    "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
    "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
}
FILTER = {"defaultAction": "SCMP_ACT_ALLOW"}


@pytest.mark.parametrize(
    ("name", "wanted", "number"),
    [
        ("no-seccomp", config(PLAIN | {"seccomp": FILTER}), errno.EINVAL),
        (
            "old-kernel",
            config(PLAIN | {"memoryPolicy": {"mode": "MPOL_PREFERRED_MANY", "nodes": "0"}}),
            errno.EINVAL,
        ),
        ("old-kernel", config(PLAIN | {"resources": {"cpu": {"idle": 1}}}), errno.ENOENT),
        ("too-old-kernel", config(PLAIN), errno.ENOSYS),
        ("ancient-kernel", config(PLAIN), errno.ENOSYS),
        ("rootless", config(PLAIN), errno.EPERM),
        ("small", config(PLAIN | {"resources": {"rdma": {"mlx5_0": {"hcaHandles": 1}}}}), errno.ENODEV),
    ],
)
def test_what_a_machine_lacks_is_refused_with_its_errno(
    name: str, wanted: dict[str, Any], number: int
) -> None:
    kernel = machine_of(name)
    with pytest.raises(OrlopError) as caught:
        runtime(kernel).create("box", wanted, manage_cgroups=not kernel.uid).start()
    assert caught.value.errno == number
    for container in orlop.Runtime.compose(FakePlatform(kernel)).list():
        container.delete(force=True)
    assert kernel.leaks() == []
    if name != "rootless":
        usual = machine_of("v2")
        box = runtime(usual).create("box", wanted)
        box.start()
        box.delete(force=True)


def test_profiles_can_be_changed_and_are_made_anew() -> None:
    first, second = machine_of("v1", hostname="one"), machine_of("v1")
    assert first is not second
    assert (first.cgroup_mode, first.init.namespaces.uts.hostname) == ("v1", "one")
    assert machine_of("rdt").resctrl is not None
    with pytest.raises(ValueError, match="expected one of v2, v1, hybrid"):
        machine_of("windows")


@pytest.mark.fake_host("rdt")
def test_the_marker_chooses_the_machine(fake_kernel: FakeKernel, fake_container: Any) -> None:
    assert fake_kernel.resctrl is not None
    box = fake_container(
        "/bin/true", linux=PLAIN | {"intelRdt": {"closID": "gold", "l3CacheSchema": "L3:0=f;1=f"}}
    )
    assert "gold" in fake_kernel.resctrl.groups
    box.delete(force=True)
