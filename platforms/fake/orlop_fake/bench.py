"""The bench of this platform: a fresh machine in memory for each rule of the conformance kit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop_fake.kernel import FakeKernel
from orlop_fake.platform import FakePlatform
from orlop_fake.resctrl import Resctrl
from orlop_fake.testing import every_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orlop_fake.testing import FaultReport

IMAGE = "/image"
"""Where the image of the containers is."""


class FakeBench:
    """A machine in memory, as :mod:`orlop.kit.bench` describes one."""

    root = None

    def __init__(self) -> None:
        """Boot."""
        self._files: dict[str, Any] = {}
        self.machine = self._boot()
        self.platform = FakePlatform(self.machine)

    def _boot(self) -> FakeKernel:
        machine = FakeKernel(resctrl=Resctrl())
        machine.add_rootfs(IMAGE)
        machine.add_files(self._files)
        return machine

    def config(self) -> dict[str, Any]:
        """Return a config whose program sleeps for ever."""
        return {
            "ociVersion": "1.3.0",
            "root": {"path": IMAGE},
            "process": {
                "args": ["/bin/sleep", "infinity"],
                "cwd": "/",
                "env": ["PATH=/bin:/usr/bin"],
                "user": {"uid": 0, "gid": 0},
            },
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {
                "cgroupsPath": "/kit",
                "namespaces": [{"type": kind} for kind in ("pid", "mount", "uts", "ipc", "network")],
            },
        }

    def launch(self) -> Mapping[str, Any]:
        """Return no options: output is kept by the machine."""
        return {}

    def put(self, files: Mapping[str, Any]) -> str:
        """Put *files* into the machine's tree; that can always be done."""
        self._files |= files
        self.machine.add_files(files)
        return ""

    def left(self) -> list[str]:
        """Return the machine's leaks."""
        return self.machine.leaks()

    def every_fault(
        self, operation: Callable[[Any], Any], runtime: Callable[[FakePlatform], Any]
    ) -> Sequence[FaultReport]:
        """Try *operation* with every possible fault; see :func:`orlop_fake.every_fault`."""
        return every_fault(operation, lambda machine: runtime(FakePlatform(machine)), kernel=self._boot)

    def close(self) -> None:
        """Do nothing: the machine is memory. Idempotent."""
