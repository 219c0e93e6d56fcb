"""Configs and documents that make the plugin do something, for `orlop plugin check` and for the tests."""

from __future__ import annotations

import json
from typing import Any

KEY = "cdi.k8s.io/sample"
POINTER = "/annotations/cdi.k8s.io~1sample"

GPU: dict[str, Any] = {
    "cdiVersion": "0.7.0",
    "kind": "vendor.com/gpu",
    "annotations": {"com.vendor.driver": "1"},
    "containerEdits": {
        "env": ["VENDOR_GPU=yes"],
        "mounts": [
            {"hostPath": "/usr", "containerPath": "/opt/vendor", "options": ["ro", "nosuid", "rbind"]}
        ],
        "hooks": [{"hookName": "createRuntime", "path": "/bin/true", "args": ["true", "gpu"], "timeout": 5}],
    },
    "devices": [
        {
            "name": name,
            "containerEdits": {
                "env": [f"VENDOR_GPU_{name.upper()}=1"],
                "deviceNodes": [{"path": f"/dev/gpu{name}", "hostPath": "/dev/null", "permissions": "rw"}],
                "additionalGids": [44],
            },
        }
        for name in ("a", "b")
    ],
}
NET: dict[str, Any] = {
    "cdiVersion": "0.5.0",
    "kind": "vendor.com/timer",
    "devices": [
        {
            "name": "0",
            "containerEdits": {
                "deviceNodes": [
                    {"path": "/dev/timer", "type": "c", "major": 10, "minor": 228, "fileMode": 384}
                ]
            },
        }
    ],
}
FILES = {"/etc/cdi/gpu.json": json.dumps(GPU), "/var/run/cdi/timer.json": json.dumps(NET)}


def _asks(names: str) -> dict[str, Any]:
    return {"annotations": {KEY: names}}


SAMPLES: list[dict[str, Any]] = [
    {"name": "one device", "config": _asks("vendor.com/gpu=a"), "files": FILES},
    {
        "name": "three of two kinds",
        "config": _asks("vendor.com/gpu=b,vendor.com/timer=0,vendor.com/gpu=a"),
        "files": FILES,
    },
    {"name": "no name", "config": _asks("gpu"), "refused": POINTER},
    {"name": "no such device", "config": _asks("vendor.com/gpu=c"), "files": FILES, "refused": POINTER},
    {"name": "no such kind", "config": _asks("vendor.com/fpga=0"), "files": FILES, "refused": POINTER},
]
