"""The ``windows`` section of config.json (config-windows.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.documents import vocabulary
from orlop_hookspecs.documents.base import Document, document, field
from orlop_hookspecs.documents.kinds import (
    BOOL,
    STRING,
    STRINGS,
    UINT16,
    UINT32,
    UINT64,
    AnyObject,
    Choice,
    ListOf,
    OneOrMany,
    Ref,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


@document
class WindowsDevice(Document):
    """A device that the container gets (config-windows.md, Devices)."""

    id: str = field(STRING)
    id_type: str = field(Choice(vocabulary.WINDOWS_DEVICE_ID_TYPES))


@document
class WindowsMemory(Document):
    """The memory limit in bytes (config-windows.md, Memory)."""

    limit: int | None = field(UINT64, default=None)


@document
class WindowsCPUGroupAffinity(Document):
    """The CPUs of one processor group (config-windows.md, CPU)."""

    mask: int | None = field(UINT64, default=None)
    group: int | None = field(UINT32, default=None)


@document
class WindowsCPU(Document):
    """Processor limits (config-windows.md, CPU).

    ``affinity`` is an array by the prose and one object by the schema: both are read, and written back as
    read.
    """

    count: int | None = field(UINT64, default=None)
    shares: int | None = field(UINT16, default=None)
    maximum: int | None = field(UINT16, default=None)
    affinity: WindowsCPUGroupAffinity | tuple[WindowsCPUGroupAffinity, ...] | None = field(
        OneOrMany(Ref("windows", "WindowsCPUGroupAffinity")),
        default=None,
    )


@document
class WindowsStorage(Document):
    """Operations and bytes per second and size in bytes of the system drive (config-windows.md, Storage)."""

    iops: int | None = field(UINT64, default=None)
    bps: int | None = field(UINT64, default=None)
    sandbox_size: int | None = field(UINT64, default=None)


@document
class WindowsResources(Document):
    """The resource limits (config-windows.md, Resources)."""

    memory: WindowsMemory | None = field(Ref("windows", "WindowsMemory"), default=None)
    cpu: WindowsCPU | None = field(Ref("windows", "WindowsCPU"), default=None)
    storage: WindowsStorage | None = field(Ref("windows", "WindowsStorage"), default=None)


@document
class WindowsNetwork(Document):
    """The network of the container (config-windows.md, Network)."""

    endpoint_list: tuple[str, ...] | None = field(STRINGS, default=None)
    allow_unqualified_dns_query: bool | None = field(BOOL, default=None)
    dns_search_list: tuple[str, ...] | None = field(STRINGS, default=None)
    network_shared_container_name: str | None = field(STRING, default=None)
    network_namespace: str | None = field(STRING, default=None)


@document
class WindowsHyperV(Document):
    """Isolation by Hyper-V, asked for by being present (config-windows.md, HyperV)."""

    utility_vm_path: str | None = field(STRING, default=None)


@document
class Windows(Document):
    """The Windows-specific configuration (config-windows.md)."""

    layer_folders: tuple[str, ...] = field(ListOf(STRING, 1))
    devices: tuple[WindowsDevice, ...] | None = field(
        ListOf(Ref("windows", "WindowsDevice")),
        default=None,
    )
    resources: WindowsResources | None = field(Ref("windows", "WindowsResources"), default=None)
    network: WindowsNetwork | None = field(Ref("windows", "WindowsNetwork"), default=None)
    credential_spec: Mapping[str, Any] | None = field(AnyObject(), default=None)
    servicing: bool | None = field(BOOL, default=None)
    ignore_flushes_during_boot: bool | None = field(BOOL, default=None)
    hyperv: WindowsHyperV | None = field(Ref("windows", "WindowsHyperV"), default=None)
