"""Values that the kernel or the host cannot honour: the error says which and why, and nothing stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.linux.child.support import Box
from tests.properties.case import BUNDLE, merge, placed

import orlop

pytestmark = pytest.mark.every_lane


def _linux(**change: Any) -> dict[str, Any]:
    return {"linux": change}


def _resources(**change: Any) -> dict[str, Any]:
    return {"linux": {"resources": change}}


def _mount(**change: Any) -> dict[str, Any]:
    return {"mounts": [{"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"} | change]}


def _rate(name: str) -> dict[str, Any]:
    return _resources(blockIO={name: [{"major": 4000, "minor": 7, "rate": 5}]})


HOOK = [{"path": f"{BUNDLE}/no-such-hook"}]

VALUES: dict[str, tuple[dict[str, Any], str, str]] = {
    "process.args[]": ({"process": {"args": ("no-such-program",)}}, "/process/args", "not found"),
    "process.cwd": ({"process": {"cwd": "/bin/busybox"}}, "/process", "not a directory"),
    "process.rlimits[].hard": (
        {"process": {"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1 << 40, "hard": 1 << 40}]}},
        "/process/rlimits",
        "not permitted",
    ),
    "root.path": ({"root": {"path": "no-such-root"}}, "/root/path", "no such file"),
    "mounts[].type": (_mount(type="no-such-type"), "/mounts/2", "no such device"),
    "mounts[].source": (
        _mount(type="bind", source=f"{BUNDLE}/no-such-source", options=["bind"]),
        "/mounts/2",
        "no such file",
    ),
    "mounts[].options[]": (_mount(options=["size=many"]), "/mounts/2", "invalid argument"),
    "mounts[].uidMappings[].hostID": (
        _mount(
            type="bind",
            source="/proc",
            options=["bind", "idmap"],
            uidMappings=[{"containerID": 0, "hostID": 5, "size": 1}],
            gidMappings=[{"containerID": 0, "hostID": 5, "size": 1}],
        ),
        "/mounts/2",
        "invalid argument|not supported",
    ),
    "linux.devices[].path": (
        _linux(devices=[{"path": "/bin/busybox", "type": "c", "major": 1, "minor": 3}]),
        "/linux/devices/0",
        "exists",
    ),
    "linux.namespaces[].path": (
        _linux(namespaces=[{"type": "user", "path": f"{BUNDLE}/config.json"}]),
        "/linux/namespaces/",
        "no such file|no namespace|not a namespace",
    ),
    "linux.timeOffsets.*.secs": (
        _linux(namespaces=[{"type": "time"}], timeOffsets={"monotonic": {"secs": 1 << 62}}),
        "/linux/timeOffsets/monotonic",
        "cannot set the clock.*out of range",
    ),
    "linux.sysctl.*": (_linux(sysctl={"net.ipv4.ip_forward": "maybe"}), "/linux/sysctl/", "invalid argument"),
    "linux.resources.cpu.cpus": (
        _resources(cpu={"cpus": "4000"}),
        "/linux/resources/cpu",
        "invalid argument|range",
    ),
    "linux.resources.cpu.mems": (
        _resources(cpu={"mems": "900"}),
        "/linux/resources/cpu",
        "invalid argument|range",
    ),
    "linux.resources.hugepageLimits[].pageSize": (
        _resources(hugepageLimits=[{"pageSize": "3MB", "limit": 1}]),
        "/linux/resources/hugepageLimits/0",
        "no such file|does not have|no ",
    ),
    **{
        f"linux.resources.blockIO.{name}[].major": (
            _rate(name),
            f"/linux/resources/blockIO/{name}",
            "no such device",
        )
        for name in (
            "throttleReadBpsDevice",
            "throttleWriteBpsDevice",
            "throttleReadIOPSDevice",
            "throttleWriteIOPSDevice",
        )
    },
    "linux.resources.rdma.*.hcaHandles": (
        _resources(rdma={"no_such_device": {"hcaHandles": 1}}),
        "/linux/resources/rdma",
        "no cgroup controller rdma|invalid argument|no such device",
    ),
    "linux.resources.unified.*": (
        _resources(unified={"no_such_controller.max": "1"}),
        "/linux/resources/unified/",
        "no cgroup controller|needs cgroup v2|cgroup v2",
    ),
    "process.apparmorProfile": (
        {"process": {"apparmorProfile": "no-such-profile"}},
        "/process/apparmorProfile",
        "apparmor|no such",
    ),
    "process.selinuxLabel": (
        {"process": {"selinuxLabel": "no:such:label:s0"}},
        "/process/selinuxLabel",
        "selinux|invalid argument",
    ),
    "linux.mountLabel": (
        _linux(mountLabel="no:such:label:s0"),
        "/linux/mountLabel",
        "selinux|invalid argument",
    ),
    "linux.memoryPolicy.nodes": (
        _linux(memoryPolicy={"mode": "MPOL_BIND", "nodes": "900"}),
        "/linux/memoryPolicy",
        "invalid argument|does not have|no such",
    ),
    "linux.netDevices.*.name": (
        _linux(netDevices={"nosuchlink0": {"name": "eth0"}}),
        "/linux/netDevices/nosuchlink0",
        "no such network device",
    ),
    "linux.seccomp.listenerPath": (
        _linux(
            seccomp={
                "defaultAction": "SCMP_ACT_ALLOW",
                "listenerPath": f"{BUNDLE}/no-such-agent",
                "syscalls": [{"names": ["getcwd"], "action": "SCMP_ACT_NOTIFY"}],
            }
        ),
        "/linux/seccomp/listenerPath",
        "there is no socket",
    ),
    "linux.intelRdt.closID": (_linux(intelRdt={"closID": "no-such-class"}), "/linux/intelRdt", "resctrl"),
    **{
        f"hooks.{kind}[].path": ({"hooks": {kind: HOOK}}, f"/hooks/{kind}/0", "no such file")
        for kind in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart")
    },
}
"""Property, a config with a value that cannot be honoured, the pointer of the error, words of its cause."""


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("path", VALUES)
def test_a_value_that_cannot_be_honoured_is_an_error_that_says_why(box: Box, path: str) -> None:
    change, pointer, cause = VALUES[path]
    config = box.config()
    config["linux"]["namespaces"].append({"type": "network"})
    config["linux"]["cgroupsPath"] = f"{box.cgroup}/dishonoured"
    merge(config, placed(change, box.bundle))
    with pytest.raises(orlop.OrlopError, match=rf"(?i){cause}") as raised:
        box.create(config).start()
    assert raised.value.pointer.startswith(pointer), str(raised.value)
    assert "\n" not in str(raised.value)
    for container in box.runtime.list():
        container.delete(force=True)
    assert box.left() == []
