"""The steps that plans are made of, one module per concern.

A step says what shall be, not how: the safe way to do it is written once, in the platform's kernel. Vendors
compose these steps; they run no code of their own inside a container.
"""

from orlop_hookspecs.steps.base import STEP_TYPES, Step, decode_step, encode_step, step
from orlop_hookspecs.steps.cgroups import (
    CreateCgroup,
    CreateScope,
    DelegateCgroup,
    DeviceRule,
    JoinCgroup,
    SetDeviceRules,
    WriteCgroup,
)
from orlop_hookspecs.steps.checkpoint import ConfigureCriu, DumpProcesses, RestoreProcesses
from orlop_hookspecs.steps.exec import (
    Execute,
    LoadSeccomp,
    SetCapabilities,
    SetNoNewPrivileges,
    SetRlimits,
    SetUmask,
    SetUser,
)
from orlop_hookspecs.steps.hooks import RunHook
from orlop_hookspecs.steps.mounts import MountBind, MountCgroup, MountFilesystem, MountProc, MountSysfs
from orlop_hookspecs.steps.namespaces import JoinNamespace, NewNamespace, SetIdMappings, SetTimeOffset
from orlop_hookspecs.steps.network import MoveNetDevices
from orlop_hookspecs.steps.process import KeepGroups, SetOomScore
from orlop_hookspecs.steps.resctrl import CreateResctrlGroup, JoinResctrlGroup, WriteSchemata
from orlop_hookspecs.steps.rootfs import (
    CreateDevice,
    CreateSymlink,
    MakeRootReadonly,
    MaskPath,
    PrepareRoot,
    ReadonlyPath,
    SetRootPropagation,
    SwitchRoot,
)
from orlop_hookspecs.steps.scheduling import SetCpuAffinity, SetIoPriority, SetScheduler
from orlop_hookspecs.steps.security import RequireSecurityModule, SetApparmorProfile, SetSelinuxLabel
from orlop_hookspecs.steps.session import (
    BringUpLoopback,
    CheckExecutable,
    NewKeyring,
    NewSession,
    OpenTerminal,
    SetDomainname,
    SetHostname,
    SetSysctl,
)
from orlop_hookspecs.steps.traits import SetMemoryPolicy, SetPersonality

__all__ = [
    "STEP_TYPES",
    "BringUpLoopback",
    "CheckExecutable",
    "ConfigureCriu",
    "CreateCgroup",
    "CreateDevice",
    "CreateResctrlGroup",
    "CreateScope",
    "CreateSymlink",
    "DelegateCgroup",
    "DeviceRule",
    "DumpProcesses",
    "Execute",
    "JoinCgroup",
    "JoinNamespace",
    "JoinResctrlGroup",
    "KeepGroups",
    "LoadSeccomp",
    "MakeRootReadonly",
    "MaskPath",
    "MountBind",
    "MountCgroup",
    "MountFilesystem",
    "MountProc",
    "MountSysfs",
    "MoveNetDevices",
    "NewKeyring",
    "NewNamespace",
    "NewSession",
    "OpenTerminal",
    "PrepareRoot",
    "ReadonlyPath",
    "RequireSecurityModule",
    "RestoreProcesses",
    "RunHook",
    "SetApparmorProfile",
    "SetCapabilities",
    "SetCpuAffinity",
    "SetDeviceRules",
    "SetDomainname",
    "SetHostname",
    "SetIdMappings",
    "SetIoPriority",
    "SetMemoryPolicy",
    "SetNoNewPrivileges",
    "SetOomScore",
    "SetPersonality",
    "SetRlimits",
    "SetRootPropagation",
    "SetScheduler",
    "SetSelinuxLabel",
    "SetSysctl",
    "SetTimeOffset",
    "SetUmask",
    "SetUser",
    "Step",
    "SwitchRoot",
    "WriteCgroup",
    "WriteSchemata",
    "decode_step",
    "encode_step",
    "step",
]
