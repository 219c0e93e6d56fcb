"""Measure the fake platform: full minimal lifecycles per second, and what the imports cost.

    python benchmarks/fake.py [--lifecycles 2000]

One lifecycle is create, start, kill, wait and delete of a config with two namespaces, through the engine
and all plugins. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time

CONFIG = {
    "ociVersion": "1.3.0",
    "root": {"path": "/image"},
    "process": {"cwd": "/", "args": ["/bin/sh"], "user": {"uid": 0, "gid": 0}},
    "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}]},
}


def lifecycles_per_second(count: int) -> float:
    """Run *count* lifecycles on one fake kernel and return how many fit into a second."""
    import orlop
    from orlop_fake import FakeKernel, FakePlatform

    kernel = FakeKernel()
    kernel.add_rootfs("/image")
    runtime = orlop.Runtime.compose(platform=FakePlatform(kernel))

    def live(name: str) -> None:
        container = runtime.create(name, CONFIG)
        container.start()
        container.kill("SIGKILL")
        container.wait(1)
        container.delete()

    for number in range(count // 10):
        live(f"warm-{number}")
    begin = time.perf_counter()
    for number in range(count):
        live(f"measured-{number}")
    return count / (time.perf_counter() - begin)


def import_time(statement: str, runs: int = 11) -> float:
    """Return the median time of a fresh interpreter that runs *statement*, without the interpreter's own."""

    def median(text: str) -> float:
        times = []
        for _ in range(runs):
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-I", "-c", text], check=True)
            times.append(time.perf_counter() - begin)
        return statistics.median(times) * 1e3

    return median(statement) - median("pass")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="Measure the fake platform.")
    parser.add_argument("--lifecycles", type=int, default=2000)
    args = parser.parse_args()
    print(
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores, "
        f"Linux {platform.release()}, Python {platform.python_version()}"
    )
    print(f"{lifecycles_per_second(args.lifecycles):8.0f} minimal lifecycles per second on the fake platform")
    for statement in ("import orlop", "from orlop import Runtime", "import orlop_fake"):
        print(f"{import_time(statement):8.1f} ms  {statement}")


if __name__ == "__main__":
    main()
