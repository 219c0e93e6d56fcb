"""The fake platform: a small, stateful, deterministic kernel in memory that executes the same plans as Linux.

It is passed in, never chosen by a global::

    kernel = FakeKernel(programs={"/bin/server": server})
    runtime = orlop.Runtime.compose(platform=FakePlatform(kernel))

See ``docs/tutorial/fake-platform.md``.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop_fake.agents import AgentCall
    from orlop_fake.faults import Fault, Faults, Point
    from orlop_fake.hooks import HookCall
    from orlop_fake.host import Host, minimal_rootfs
    from orlop_fake.kernel import FakeKernel
    from orlop_fake.links import Address, Link
    from orlop_fake.platform import FakePlatform
    from orlop_fake.profiles import PROFILES, machine_of
    from orlop_fake.programs import ProgramExit, Task
    from orlop_fake.refusals import DeadlockError, RuntimeCrash
    from orlop_fake.report import Snapshot
    from orlop_fake.resctrl import Resctrl
    from orlop_fake.testing import FaultReport, every_fault
    from orlop_fake.vfs import Device, Directory, File, Socket, Symlink

__all__ = [
    "PROFILES",
    "Address",
    "AgentCall",
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
    "Link",
    "Point",
    "ProgramExit",
    "Resctrl",
    "RuntimeCrash",
    "Snapshot",
    "Socket",
    "Symlink",
    "Task",
    "every_fault",
    "machine_of",
    "minimal_rootfs",
]

_HOMES = {
    "PROFILES": "orlop_fake.profiles",
    "Address": "orlop_fake.links",
    "AgentCall": "orlop_fake.agents",
    "DeadlockError": "orlop_fake.refusals",
    "Device": "orlop_fake.vfs",
    "Directory": "orlop_fake.vfs",
    "FakeKernel": "orlop_fake.kernel",
    "FakePlatform": "orlop_fake.platform",
    "Fault": "orlop_fake.faults",
    "FaultReport": "orlop_fake.testing",
    "Faults": "orlop_fake.faults",
    "File": "orlop_fake.vfs",
    "HookCall": "orlop_fake.hooks",
    "Host": "orlop_fake.host",
    "Link": "orlop_fake.links",
    "Point": "orlop_fake.faults",
    "ProgramExit": "orlop_fake.programs",
    "Resctrl": "orlop_fake.resctrl",
    "RuntimeCrash": "orlop_fake.refusals",
    "Snapshot": "orlop_fake.report",
    "Socket": "orlop_fake.vfs",
    "Symlink": "orlop_fake.vfs",
    "Task": "orlop_fake.programs",
    "every_fault": "orlop_fake.testing",
    "machine_of": "orlop_fake.profiles",
    "minimal_rootfs": "orlop_fake.host",
}


def __getattr__(name: str) -> object:
    """Import the module of a public name when it is first used: the plugin alone needs none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
