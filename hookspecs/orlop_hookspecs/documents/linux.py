"""The ``linux`` section of config.json (config-linux.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.documents import vocabulary
from orlop_hookspecs.documents.base import Document, document, field
from orlop_hookspecs.documents.common import ID_MAPPINGS
from orlop_hookspecs.documents.kinds import (
    INT64,
    STRING,
    STRING_MAP,
    STRINGS,
    UINT32,
    Choice,
    ListOf,
    MapOf,
    Ref,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop_hookspecs.documents.common import IDMapping
    from orlop_hookspecs.documents.linux_extras import (
        IntelRdt,
        MemoryPolicy,
        NetDevice,
        Personality,
        TimeOffset,
    )
    from orlop_hookspecs.documents.linux_resources import Resources
    from orlop_hookspecs.documents.seccomp import Seccomp


@document
class Namespace(Document):
    """A namespace to create, or with ``path`` to join (config-linux.md, Namespaces)."""

    type: str = field(Choice(vocabulary.NAMESPACE_TYPES))
    path: str | None = field(STRING, default=None)


@document
class Device(Document):
    """A device node; ``major`` and ``minor`` may be absent for FIFOs (config-linux.md, Devices)."""

    type: str = field(Choice(vocabulary.DEVICE_TYPES))
    path: str = field(STRING)
    major: int | None = field(INT64, default=None)
    minor: int | None = field(INT64, default=None)
    file_mode: int | None = field(UINT32, default=None)
    uid: int | None = field(UINT32, default=None)
    gid: int | None = field(UINT32, default=None)


@document
class Linux(Document):
    """The Linux-specific configuration (config-linux.md).

    ``time_offsets`` maps the name of a clock (``boottime``, ``monotonic``), ``net_devices`` the host's name
    of a network device, ``sysctl`` the dotted name of a kernel parameter.
    """

    namespaces: tuple[Namespace, ...] | None = field(ListOf(Ref("linux", "Namespace")), default=None)
    uid_mappings: tuple[IDMapping, ...] | None = field(ID_MAPPINGS, default=None)
    gid_mappings: tuple[IDMapping, ...] | None = field(ID_MAPPINGS, default=None)
    time_offsets: Mapping[str, TimeOffset] | None = field(
        MapOf(Ref("linux_extras", "TimeOffset")), default=None
    )
    devices: tuple[Device, ...] | None = field(ListOf(Ref("linux", "Device")), default=None)
    net_devices: Mapping[str, NetDevice] | None = field(MapOf(Ref("linux_extras", "NetDevice")), default=None)
    cgroups_path: str | None = field(STRING, default=None)
    resources: Resources | None = field(Ref("linux_resources", "Resources"), default=None)
    intel_rdt: IntelRdt | None = field(Ref("linux_extras", "IntelRdt"), default=None)
    memory_policy: MemoryPolicy | None = field(Ref("linux_extras", "MemoryPolicy"), default=None)
    sysctl: Mapping[str, str] | None = field(STRING_MAP, default=None)
    seccomp: Seccomp | None = field(Ref("seccomp", "Seccomp"), default=None)
    rootfs_propagation: str | None = field(STRING, default=None)
    masked_paths: tuple[str, ...] | None = field(STRINGS, default=None)
    readonly_paths: tuple[str, ...] | None = field(STRINGS, default=None)
    mount_label: str | None = field(STRING, default=None)
    personality: Personality | None = field(Ref("linux_extras", "Personality"), default=None)
