"""The fake platform: a small, stateful, deterministic kernel in memory that executes the same plans as Linux.

It is passed in, never chosen by a global::

    kernel = FakeKernel(programs={"/bin/server": server})
    runtime = orlop.Runtime.compose(platform=FakePlatform(kernel))

See ``docs/tutorial/fake-platform.md``.
"""

from orlop_fake.faults import Fault, Faults, Point
from orlop_fake.hooks import HookCall
from orlop_fake.host import Host, minimal_rootfs
from orlop_fake.kernel import FakeKernel
from orlop_fake.platform import FakePlatform
from orlop_fake.programs import ProgramExit, Task
from orlop_fake.refusals import DeadlockError, RuntimeCrash
from orlop_fake.report import Snapshot
from orlop_fake.resctrl import Resctrl
from orlop_fake.testing import FaultReport, every_fault
from orlop_fake.vfs import Device, Directory, File, Socket, Symlink

__all__ = [
    "DeadlockError",
    "Device",
    "Directory",
    "FakeKernel",
    "FakePlatform",
    "Fault",
    "FaultReport",
    "Faults",
    "File",
    "HookCall",
    "Host",
    "Point",
    "ProgramExit",
    "Resctrl",
    "RuntimeCrash",
    "Snapshot",
    "Socket",
    "Symlink",
    "Task",
    "every_fault",
    "minimal_rootfs",
]
