"""Measure the fake platform: full minimal lifecycles per second, and what the imports cost.

    python benchmarks/fake.py [--lifecycles 2000]

One lifecycle is create, start, kill, wait and delete of a config with two namespaces, through the engine
and all plugins. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

CONFIG: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "root": {"path": "/image"},
    "process": {"cwd": "/", "args": ["/bin/sh"], "user": {"uid": 0, "gid": 0}},
    "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}]},
}


def docker_config() -> dict[str, Any]:
    """Return a config as Docker writes it by default: its mounts, devices, masks, capabilities and filter."""
    from bundle import allow_list

    from orlop.cli.template import config

    made = config()
    made["root"] = {"path": "/image"}
    made["process"] |= {"terminal": False, "args": ["/bin/sh"], "oomScoreAdj": 0}
    made["process"]["env"] = [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME=web",
    ]
    names = "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE"
    capabilities = [f"CAP_{name}" for name in f"{names} SYS_CHROOT KILL AUDIT_WRITE".split()]
    made["process"]["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), capabilities)
    linux = made["linux"]
    linux["seccomp"] = allow_list()
    linux["cgroupsPath"] = "/docker/web"
    linux["maskedPaths"] = [
        f"/proc/{name}" for name in ("asound", "acpi", "kcore", "keys", "latency_stats", "timer_list", "scsi")
    ] + ["/sys/firmware", "/sys/devices/virtual/powercap"]
    linux["readonlyPaths"] = [f"/proc/{name}" for name in ("bus", "fs", "irq", "sys", "sysrq-trigger")]
    devices = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (10, 200)]
    linux["resources"] = {
        "devices": [{"allow": False, "access": "rwm"}]
        + [{"allow": True, "type": "c", "major": a, "minor": b, "access": "rwm"} for a, b in devices],
        "memory": {"limit": 1 << 28},
        "cpu": {"shares": 0},
        "pids": {"limit": 100},
    }
    return made


def lives(config: dict[str, Any]) -> Callable[[str], None]:
    """Return what leads the whole life of a container of *config*, whose name it takes, on a fake kernel."""
    import orlop
    from orlop_fake import FakeKernel, FakePlatform

    kernel = FakeKernel()
    kernel.add_rootfs("/image")
    runtime = orlop.Runtime.compose(platform=FakePlatform(kernel))

    def live(name: str) -> None:
        container = runtime.create(name, config)
        container.start()
        container.kill("SIGKILL")
        container.wait(1)
        container.delete()

    return live


def lifecycles_per_second(count: int, config: dict[str, Any]) -> float:
    """Run *count* lifecycles on one fake kernel and return how many fit into a second of one core.

    The processor's time is measured: what else the machine does meanwhile does not count.
    """
    live = lives(config)
    for number in range(count // 10):
        live(f"warm-{number}")
    begin = time.process_time()
    for number in range(count):
        live(f"measured-{number}")
    return count / (time.process_time() - begin)


def import_time(statement: str, runs: int = 11) -> float:
    """Return the milliseconds that a fresh interpreter needs for *statement*, beside those for nothing.

    The two take turns, and of each the quickest run counts: what else the machine does only adds to a run.
    """

    def once(text: str) -> float:
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-I", "-c", text], check=True)
        return time.perf_counter() - begin

    pairs = [(once(statement), once("pass")) for _ in range(runs)]
    return (min(one for one, _ in pairs) - min(other for _, other in pairs)) * 1e3


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="Measure the fake platform.")
    parser.add_argument("--lifecycles", type=int, default=2000)
    args = parser.parse_args()
    print(
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores, "
        f"Linux {platform.release()}, Python {platform.python_version()}"
    )
    for what, config in (("minimal", CONFIG), ("Docker's default", docker_config())):
        rate = lifecycles_per_second(args.lifecycles, config)
        print(f"{rate:8.0f} lifecycles per second of one core on the fake platform, {what} config")
    for statement in ("import orlop", "from orlop import Runtime", "import orlop_fake"):
        print(f"{import_time(statement):8.1f} ms  {statement}")


if __name__ == "__main__":
    main()
