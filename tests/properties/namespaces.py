"""Cases of namespaces and what belongs to one (config-linux.md, Namespaces, Time Offsets, Sysctl)."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.properties.case import Config, Seen, case

KINDS = {"mount": "mnt", "pid": "pid", "network": "net", "uts": "uts", "ipc": "ipc", "cgroup": "cgroup"}
"""Types that need nothing else, with the kernel's names of them."""


def _own(file: str) -> str:
    return os.readlink(f"/proc/self/ns/{file}")


def _new(kind: str, file: str) -> None:
    def differs(seen: Seen) -> None:
        assert os.readlink(f"/proc/{seen.pid}/ns/{file}") != _own(file)

    case(
        "linux.namespaces[].type",
        config={"linux": {"namespaces": [] if kind in BASE_KINDS else [{"type": kind}]}},
        host=differs,
        name=f"linux.namespaces[].type {kind}",
    )


BASE_KINDS = frozenset({"mount", "pid", "uts", "ipc", "network"})
"""What the base config has already."""

for _kind, _file in KINDS.items():
    _new(_kind, _file)


def _inherited(seen: Seen) -> None:
    for file in ("user", "time", "cgroup"):
        assert os.readlink(f"/proc/{seen.pid}/ns/{file}") == _own(file)


case(config={}, host=_inherited, alone=True, name="linux.namespaces inherited")


def _joined(seen: Seen) -> None:
    assert os.readlink(f"/proc/{seen.pid}/ns/uts") == _own("uts")


# A tuple takes the place of the base config's list instead of adding to it.
JOINED = (
    *({"type": one} for one in sorted(BASE_KINDS - {"uts"})),
    {"type": "uts", "path": f"/proc/{os.getpid()}/ns/uts"},
)
case("linux.namespaces[].path", config={"linux": {"namespaces": JOINED}}, host=_joined, alone=True)


def _give_away(bundle: Path) -> None:
    """Make the image belong to the container's root, and let it through."""
    os.chown(bundle / "rootfs", 100000, 200000)
    for place in (bundle, *bundle.parents):
        if place.stat().st_uid == os.getuid() and place != Path("/"):
            place.chmod(place.stat().st_mode | 0o711)


MAPPINGS: Config = {
    "linux": {
        "namespaces": [{"type": "user"}],
        "uidMappings": [{"containerID": 0, "hostID": 100000, "size": 1000}],
        "gidMappings": [
            {"containerID": 0, "hostID": 200000, "size": 500},
            {"containerID": 500, "hostID": 300000, "size": 7},
        ],
    }
}
case(
    *(
        f"linux.{kind}Mappings[].{part}"
        for kind in ("uid", "gid")
        for part in ("containerID", "hostID", "size")
    ),
    config=MAPPINGS,
    prepare=_give_away,
    probe="busybox cat /proc/self/uid_map /proc/self/gid_map | busybox tr -s ' '",
    shows=re.compile(r" ?0 100000 1000\n ?0 200000 500\n ?500 300000 7"),
    alone=True,
    name="linux.uidMappings[]",
)
case(
    "linux.timeOffsets.*.secs",
    "linux.timeOffsets.*.nanosecs",
    config={
        "linux": {
            "namespaces": [{"type": "time"}],
            "timeOffsets": {
                "monotonic": {"secs": 86400, "nanosecs": 5},
                "boottime": {"secs": 777777, "nanosecs": 123},
            },
        }
    },
    probe="busybox tr -s ' ' </proc/self/timens_offsets",
    shows="monotonic 86400 5\nboottime 777777 123",
)
case("hostname", config={"hostname": "case-host"}, probe="busybox hostname", shows="case-host")
case(
    "domainname",
    config={"domainname": "case.example"},
    probe="cat /proc/sys/kernel/domainname",
    shows="case.example",
)
case(
    "linux.sysctl.*",
    config={"linux": {"sysctl": {"net.ipv4.ip_forward": "1", "kernel.msgmax": "4321"}}},
    probe="cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax",
    shows="1\n4321",
)
