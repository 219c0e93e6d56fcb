"""A program that starts containers, and its unit test on the fake platform."""

from __future__ import annotations

# --8<--
from collections.abc import Generator
from typing import Any

import orlop
from orlop_fake import FakeKernel, FakePlatform, Task, minimal_rootfs


class Jobs:
    """The program under test: runs each job in a container of its own and leaves nothing."""

    def __init__(self, runtime: orlop.Runtime) -> None:
        """Use *runtime*; in production it is composed with ``platform="linux"``."""
        self.runtime = runtime

    def run(self, name: str, args: list[str]) -> int | None:
        """Run *args* and return their exit status."""
        config: dict[str, Any] = {
            "ociVersion": "1.3.0",
            "root": {"path": "/images/jobs"},
            "process": {"cwd": "/", "args": args, "user": {"uid": 0, "gid": 0}},
            "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}]},
        }
        container = self.runtime.create(name, config)
        try:
            container.start()
            return container.wait(timeout=3600)
        finally:
            container.delete(force=True)


def slow_job(task: Task) -> Generator[object, object, int]:
    """Stand in for the image's program: a generator that can wait, on the fake machine's own clock."""
    yield task.sleep(1800)
    task.write("done\n")
    return 3


def test_jobs_report_their_status_and_leave_nothing() -> None:
    """No root, no image, and no half hour either."""
    kernel = FakeKernel()
    kernel.add_rootfs("/images/jobs", minimal_rootfs() | {"bin/job": slow_job})
    jobs = Jobs(orlop.Runtime.compose(platform=FakePlatform(kernel)))

    assert jobs.run("quick", ["/bin/true"]) == 0
    assert jobs.run("slow", ["/bin/job"]) == 3
    assert kernel.output("slow") == "done\n"
    assert kernel.leaks() == []
