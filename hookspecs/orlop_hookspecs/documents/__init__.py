"""The documents of the specification as attrs classes: config.json, state and features.

Every class can be imported from here; its module is loaded when the class is first asked for, so that a
program pays only for the sections that it touches. Reading and writing are the engine's business; the classes
only say what there is.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop_hookspecs.documents.base import Document
    from orlop_hookspecs.documents.common import IDMapping
    from orlop_hookspecs.documents.config import Config, Hook, Hooks, Mount, Root
    from orlop_hookspecs.documents.features import (
        ApparmorFeatures,
        CgroupFeatures,
        Features,
        IdmapFeatures,
        IntelRdtFeatures,
        LinuxFeatures,
        MemoryPolicyFeatures,
        MountExtensionsFeatures,
        NetDevicesFeatures,
        SeccompFeatures,
        SelinuxFeatures,
    )
    from orlop_hookspecs.documents.freebsd import FreeBSD, FreeBSDDevice, FreeBSDJail, FreeBSDJailAllow
    from orlop_hookspecs.documents.linux import Device, Linux, Namespace
    from orlop_hookspecs.documents.linux_controllers import (
        BlockIO,
        HugepageLimit,
        InterfacePriority,
        Network,
        Rdma,
        ThrottleDevice,
        WeightDevice,
    )
    from orlop_hookspecs.documents.linux_extras import (
        IntelRdt,
        MemoryPolicy,
        NetDevice,
        Personality,
        TimeOffset,
    )
    from orlop_hookspecs.documents.linux_resources import CPU, DeviceCgroup, Memory, Pids, Resources
    from orlop_hookspecs.documents.process import Capabilities, ConsoleSize, Process, Rlimit, User
    from orlop_hookspecs.documents.scheduling import CPUAffinity, IOPriority, Scheduler
    from orlop_hookspecs.documents.seccomp import Seccomp, Syscall, SyscallArg
    from orlop_hookspecs.documents.solaris import Solaris, SolarisAnet, SolarisCappedCPU, SolarisCappedMemory
    from orlop_hookspecs.documents.state import ContainerProcessState, State
    from orlop_hookspecs.documents.vm import VM, VMHardware, VMHypervisor, VMImage, VMIOMem, VMKernel
    from orlop_hookspecs.documents.windows import (
        Windows,
        WindowsCPU,
        WindowsCPUGroupAffinity,
        WindowsDevice,
        WindowsHyperV,
        WindowsMemory,
        WindowsNetwork,
        WindowsResources,
        WindowsStorage,
    )
    from orlop_hookspecs.documents.zos import ZOS, ZOSNamespace

_MODULES = {
    "base": "Document",
    "common": "IDMapping",
    "config": "Root Mount Hook Hooks Config",
    "process": "ConsoleSize User Capabilities Rlimit Process",
    "scheduling": "Scheduler IOPriority CPUAffinity",
    "linux": "Namespace Device Linux",
    "linux_extras": "TimeOffset NetDevice IntelRdt MemoryPolicy Personality",
    "linux_resources": "DeviceCgroup Memory CPU Pids Resources",
    "linux_controllers": "WeightDevice ThrottleDevice BlockIO HugepageLimit InterfacePriority Network Rdma",
    "seccomp": "SyscallArg Syscall Seccomp",
    "windows": (
        "WindowsDevice WindowsMemory WindowsCPUGroupAffinity WindowsCPU WindowsStorage "
        "WindowsResources WindowsNetwork WindowsHyperV Windows"
    ),
    "solaris": "SolarisCappedCPU SolarisCappedMemory SolarisAnet Solaris",
    "vm": "VMHypervisor VMKernel VMImage VMIOMem VMHardware VM",
    "zos": "ZOSNamespace ZOS",
    "freebsd": "FreeBSDDevice FreeBSDJailAllow FreeBSDJail FreeBSD",
    "state": "State ContainerProcessState",
    "features": (
        "CgroupFeatures SeccompFeatures ApparmorFeatures SelinuxFeatures MemoryPolicyFeatures "
        "IntelRdtFeatures IdmapFeatures MountExtensionsFeatures NetDevicesFeatures LinuxFeatures "
        "Features"
    ),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = [
    "CPU",
    "VM",
    "ZOS",
    "ApparmorFeatures",
    "BlockIO",
    "CPUAffinity",
    "Capabilities",
    "CgroupFeatures",
    "Config",
    "ConsoleSize",
    "ContainerProcessState",
    "Device",
    "DeviceCgroup",
    "Document",
    "Features",
    "FreeBSD",
    "FreeBSDDevice",
    "FreeBSDJail",
    "FreeBSDJailAllow",
    "Hook",
    "Hooks",
    "HugepageLimit",
    "IDMapping",
    "IOPriority",
    "IdmapFeatures",
    "IntelRdt",
    "IntelRdtFeatures",
    "InterfacePriority",
    "Linux",
    "LinuxFeatures",
    "Memory",
    "MemoryPolicy",
    "MemoryPolicyFeatures",
    "Mount",
    "MountExtensionsFeatures",
    "Namespace",
    "NetDevice",
    "NetDevicesFeatures",
    "Network",
    "Personality",
    "Pids",
    "Process",
    "Rdma",
    "Resources",
    "Rlimit",
    "Root",
    "Scheduler",
    "Seccomp",
    "SeccompFeatures",
    "SelinuxFeatures",
    "Solaris",
    "SolarisAnet",
    "SolarisCappedCPU",
    "SolarisCappedMemory",
    "State",
    "Syscall",
    "SyscallArg",
    "ThrottleDevice",
    "TimeOffset",
    "User",
    "VMHardware",
    "VMHypervisor",
    "VMIOMem",
    "VMImage",
    "VMKernel",
    "WeightDevice",
    "Windows",
    "WindowsCPU",
    "WindowsCPUGroupAffinity",
    "WindowsDevice",
    "WindowsHyperV",
    "WindowsMemory",
    "WindowsNetwork",
    "WindowsResources",
    "WindowsStorage",
    "ZOSNamespace",
]


def __getattr__(name: str) -> object:
    """Import the class *name* from its module on first use."""
    home = _HOMES.get(name)
    if home is None:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    """Return the names of all classes."""
    return __all__
