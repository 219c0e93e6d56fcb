"""The features document: what a runtime implements (features.md, features-linux.md).

Three meanings must not be confused. An attribute that is ``None`` is *unknown*: the property is absent, or
present with the value ``null`` (then its JSON pointer is in :attr:`Features.explicit_nulls`, so that writing
the document gives back what was read). An empty tuple is *known to be nothing*.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.documents import vocabulary
from orlop_hookspecs.documents.base import Document, document, field, note
from orlop_hookspecs.documents.kinds import BOOL, STRING, STRING_MAP, STRINGS, Choice, ListOf, Ref, Text

if TYPE_CHECKING:
    from collections.abc import Mapping


@document
class CgroupFeatures(Document):
    """Which cgroup managers and controllers are implemented (features-linux.md, Cgroup)."""

    v1: bool | None = field(BOOL, default=None)
    v2: bool | None = field(BOOL, default=None)
    systemd: bool | None = field(BOOL, default=None)
    systemd_user: bool | None = field(BOOL, default=None)
    rdma: bool | None = field(BOOL, default=None)


@document
class SeccompFeatures(Document):
    """Which words of ``linux.seccomp`` are recognized (features-linux.md, Seccomp)."""

    enabled: bool | None = field(BOOL, default=None)
    actions: tuple[str, ...] | None = field(ListOf(Choice(vocabulary.SECCOMP_ACTIONS)), default=None)
    operators: tuple[str, ...] | None = field(ListOf(Choice(vocabulary.SECCOMP_OPERATORS)), default=None)
    archs: tuple[str, ...] | None = field(ListOf(Choice(vocabulary.SECCOMP_ARCHITECTURES)), default=None)
    known_flags: tuple[str, ...] | None = field(ListOf(Choice(vocabulary.SECCOMP_FLAGS)), default=None)
    supported_flags: tuple[str, ...] | None = field(ListOf(Choice(vocabulary.SECCOMP_FLAGS)), default=None)


@document
class ApparmorFeatures(Document):
    """Whether AppArmor is implemented (features-linux.md, AppArmor)."""

    enabled: bool | None = field(BOOL, default=None)


@document
class SelinuxFeatures(Document):
    """Whether SELinux is implemented (features-linux.md, SELinux)."""

    enabled: bool | None = field(BOOL, default=None)


@document
class MemoryPolicyFeatures(Document):
    """Which words of ``linux.memoryPolicy`` are recognized (features-linux.md, MemoryPolicy)."""

    modes: tuple[str, ...] | None = field(ListOf(Choice(vocabulary.MEMORY_POLICY_MODES)), default=None)
    flags: tuple[str, ...] | None = field(ListOf(Choice(vocabulary.MEMORY_POLICY_FLAGS)), default=None)


@document
class IntelRdtFeatures(Document):
    """Which parts of ``linux.intelRdt`` are implemented (features-linux.md, Intel RDT)."""

    enabled: bool | None = field(BOOL, default=None)
    schemata: bool | None = field(BOOL, default=None)
    monitoring: bool | None = field(BOOL, default=None)


@document
class IdmapFeatures(Document):
    """Whether id-mapped mounts are implemented (features-linux.md, MountExtensions)."""

    enabled: bool | None = field(BOOL, default=None)


@document
class MountExtensionsFeatures(Document):
    """Which extensions of mounts are implemented (features-linux.md, MountExtensions)."""

    idmap: IdmapFeatures | None = field(Ref("features", "IdmapFeatures"), default=None)


@document
class NetDevicesFeatures(Document):
    """Whether moving network devices is implemented (features-linux.md, NetDevices)."""

    enabled: bool | None = field(BOOL, default=None)


@document
class LinuxFeatures(Document):
    """The Linux-specific features (features-linux.md)."""

    namespaces: tuple[str, ...] | None = field(ListOf(Choice(vocabulary.NAMESPACE_TYPES)), default=None)
    capabilities: tuple[str, ...] | None = field(
        ListOf(Text("CAP_[A-Z_]+", "the name of a capability such as CAP_CHOWN")),
        default=None,
    )
    cgroup: CgroupFeatures | None = field(Ref("features", "CgroupFeatures"), default=None)
    seccomp: SeccompFeatures | None = field(Ref("features", "SeccompFeatures"), default=None)
    apparmor: ApparmorFeatures | None = field(Ref("features", "ApparmorFeatures"), default=None)
    selinux: SelinuxFeatures | None = field(Ref("features", "SelinuxFeatures"), default=None)
    memory_policy: MemoryPolicyFeatures | None = field(Ref("features", "MemoryPolicyFeatures"), default=None)
    intel_rdt: IntelRdtFeatures | None = field(Ref("features", "IntelRdtFeatures"), default=None)
    mount_extensions: MountExtensionsFeatures | None = field(
        Ref("features", "MountExtensionsFeatures"), default=None
    )
    net_devices: NetDevicesFeatures | None = field(Ref("features", "NetDevicesFeatures"), default=None)


@document
class Features(Document):
    """What a runtime implements, whatever the host offers (features.md)."""

    oci_version_min: str = field(STRING)
    oci_version_max: str = field(STRING)
    hooks: tuple[str, ...] | None = field(STRINGS, default=None)
    mount_options: tuple[str, ...] | None = field(STRINGS, default=None)
    linux: LinuxFeatures | None = field(Ref("features", "LinuxFeatures"), default=None)
    annotations: Mapping[str, str] | None = field(STRING_MAP, default=None)
    potentially_unsafe_config_annotations: tuple[str, ...] | None = field(STRINGS, default=None)
    explicit_nulls: tuple[str, ...] = note(default=())
    """JSON pointers of the properties that the document sets to ``null``, sorted."""
