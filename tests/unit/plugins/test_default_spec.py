"""The config that ``spec`` commands write, through all planners at once."""

from __future__ import annotations

from typing import Any

from tests.unit.plugins.support import PLUGINS, call, context, objections

from orlop.documents.codec import decode_config
from orlop_hookspecs.plan import PHASES
from orlop_hookspecs.steps import Step

CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]

SPEC: dict[str, Any] = {
    "ociVersion": "1.0.2-dev",
    "process": {
        "terminal": True,
        "user": {"uid": 0, "gid": 0},
        "args": ["sh"],
        "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
        "cwd": "/",
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted", "ambient"), CAPABILITIES),
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        "noNewPrivileges": True,
    },
    "root": {"path": "rootfs", "readonly": True},
    "hostname": "box",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        },
        {
            "destination": "/dev/shm",
            "type": "tmpfs",
            "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        },
        {
            "destination": "/dev/mqueue",
            "type": "mqueue",
            "source": "mqueue",
            "options": ["nosuid", "noexec", "nodev"],
        },
        {
            "destination": "/sys",
            "type": "sysfs",
            "source": "sysfs",
            "options": ["nosuid", "noexec", "nodev", "ro"],
        },
        {
            "destination": "/sys/fs/cgroup",
            "type": "cgroup",
            "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
        },
    ],
    "linux": {
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")],
        "maskedPaths": ["/proc/acpi", "/proc/kcore", "/sys/firmware"],
        "readonlyPaths": ["/proc/bus", "/proc/sys"],
    },
}


def planned() -> list[Step]:
    wanted = decode_config(SPEC)
    launch = {"foreground": True}
    found: list[Step] = []
    for name in PLUGINS:
        assert objections(name, wanted, **launch) == [], name
        found += call(name, "orlop_plan", config=wanted, context=context(**launch))
    return found


def test_every_phase_has_its_steps() -> None:
    by_phase = {phase: {type(step).__name__ for step in planned() if step.phase == phase} for phase in PHASES}
    assert by_phase == {
        "host": {"CreateCgroup", "SetDeviceRules"},
        "clone": {"NewNamespace"},
        "host-with-pid": {"JoinCgroup"},
        "container": {
            "PrepareRoot",
            "MountProc",
            "MountFilesystem",
            "MountSysfs",
            "MountCgroup",
            "CreateDevice",
            "CreateSymlink",
            "OpenTerminal",
            "SwitchRoot",
        },
        "confined": {
            "SetHostname",
            "BringUpLoopback",
            "NewKeyring",
            "ReadonlyPath",
            "MaskPath",
            "MakeRootReadonly",
            "CheckExecutable",
        },
        "built": set(),
        "exec": {"SetRlimits", "SetNoNewPrivileges", "SetUser", "SetCapabilities", "Execute"},
        "checkpoint": set(),
        "restore": set(),
    }


def test_every_step_stands_in_a_slot_of_its_phase() -> None:
    for step in planned():
        assert step.slot in PHASES[step.phase]


def test_the_plan_is_the_same_every_time() -> None:
    assert planned() == planned()
