"""The config that ``orlop spec`` writes: a shell in namespaces of its own with few rights."""

from __future__ import annotations

from orlop.documents.versions import MAXIMUM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CAPABILITIES = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")
_LOCKED = ("nosuid", "noexec", "nodev")
_TMPFS_ROOT_MODE = "mode=755"


def _mount(destination: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    mount: dict[str, Any] = {"destination": destination, "type": kind, "source": source}
    if options:
        mount["options"] = list(options)
    return mount


def _mounts() -> list[dict[str, Any]]:
    return [
        _mount("/proc", "proc", "proc"),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", _TMPFS_ROOT_MODE, "size=65536k"),
        _mount(
            "/dev/pts",
            "devpts",
            "devpts",
            "nosuid",
            "noexec",
            "newinstance",
            "ptmxmode=0666",
            "mode=0620",
            "gid=5",
        ),
        _mount("/dev/shm", "tmpfs", "shm", *_LOCKED, "mode=1777", "size=65536k"),  # noqa: S108 - the container's
        _mount("/dev/mqueue", "mqueue", "mqueue", *_LOCKED),
        _mount("/sys", "sysfs", "sysfs", *_LOCKED, "ro"),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", *_LOCKED, "relatime", "ro"),
    ]


def _namespaces(*types: str) -> list[dict[str, str]]:
    return [{"type": kind} for kind in types]


def config() -> dict[str, Any]:
    """Return the config for a caller with all privileges."""
    return {
        "ociVersion": MAXIMUM,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {name: list(_CAPABILITIES) for name in ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "orlop",
        "mounts": _mounts(),
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": _namespaces("pid", "network", "ipc", "uts", "mount"),
            "maskedPaths": [
                "/proc/acpi",
                "/proc/asound",
                "/proc/interrupts",
                "/proc/kcore",
                "/proc/keys",
                "/proc/latency_stats",
                "/proc/sched_debug",
                "/proc/scsi",
                "/proc/timer_list",
                "/proc/timer_stats",
                "/sys/devices/virtual/powercap",
                "/sys/firmware",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }


def rootless_config(uid: int, gid: int) -> dict[str, Any]:
    """Return the config for a caller without privileges, whose user and group become root inside.

    The network stays the host's, because nobody could connect another one; a sysfs of its own needs a network
    of its own, so /sys is bound; limits need cgroups that such a caller does not have; and group 5 (tty) is
    not mapped.
    """
    made = config()
    linux = made["linux"]
    del linux["resources"]
    linux["namespaces"] = _namespaces("pid", "ipc", "uts", "mount", "user")
    linux["uidMappings"] = [{"containerID": 0, "hostID": uid, "size": 1}]
    linux["gidMappings"] = [{"containerID": 0, "hostID": gid, "size": 1}]
    mounts = [mount for mount in made["mounts"] if not mount["destination"].startswith("/sys")]
    for mount in mounts:
        if "options" in mount:
            mount["options"] = [option for option in mount["options"] if not option.startswith("gid=")]
    mounts.append(_mount("/sys", "none", "/sys", "rbind", *_LOCKED, "ro"))
    made["mounts"] = mounts
    return made
