"""Cases of ``linux.devices`` and of the rules for devices (config-linux.md, Devices, Device Cgroup)."""

from __future__ import annotations

from tests.properties.case import case

case(
    "linux.devices[].path",
    "linux.devices[].type",
    "linux.devices[].major",
    "linux.devices[].minor",
    "linux.devices[].fileMode",
    "linux.devices[].uid",
    "linux.devices[].gid",
    config={
        "linux": {
            "devices": [
                {
                    "path": "/dev/case",
                    "type": "c",
                    "major": 1,
                    "minor": 5,
                    "fileMode": 0o640,
                    "uid": 3,
                    "gid": 4,
                },
                {
                    "path": "/dev/block",
                    "type": "b",
                    "major": 7,
                    "minor": 200,
                    "fileMode": 0o600,
                    "uid": 0,
                    "gid": 0,
                },
                {"path": "/dev/fifo", "type": "p", "fileMode": 0o622, "uid": 5, "gid": 6},
            ]
        }
    },
    probe="busybox stat -c '%F %a %u %g %t:%T' /dev/case /dev/block /dev/fifo",
    shows="character special file 640 3 4 1:5\nblock special file 600 0 0 7:c8\nfifo 622 5 6 0:0",
)

RULES = "linux.resources.devices[]"
case(
    f"{RULES}.allow",
    f"{RULES}.type",
    f"{RULES}.major",
    f"{RULES}.minor",
    f"{RULES}.access",
    config={
        "process": {
            "capabilities": {
                one: ["CAP_MKNOD", "CAP_SYSLOG"] for one in ("bounding", "effective", "permitted")
            }
        },
        "linux": {
            "resources": {
                "devices": [
                    {"allow": False, "access": "rwm"},
                    {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "rwm"},
                    {"allow": True, "type": "b", "major": 7, "minor": 201, "access": "m"},
                ]
            }
        },
    },
    probe="busybox mknod /tmp/kmsg c 1 11 && : </tmp/kmsg; echo $?; "
    "busybox mknod /tmp/loop b 7 201; echo $?; (: </tmp/loop) 2>/dev/null; echo $?",
    shows="0\n0\n1",
    alone=True,
)
