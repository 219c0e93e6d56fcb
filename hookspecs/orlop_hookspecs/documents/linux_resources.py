"""The ``linux.resources`` section of config.json: what cgroups limit (config-linux.md, Control groups)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.documents.base import Document, document, field
from orlop_hookspecs.documents.kinds import (
    BOOL,
    INT64,
    STRING,
    STRING_MAP,
    UINT64,
    ListOf,
    MapOf,
    Ref,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop_hookspecs.documents.linux_controllers import BlockIO, HugepageLimit, Network, Rdma


@document
class DeviceCgroup(Document):
    """A rule of the device list; absent parts mean all (config-linux.md, Allowed Device list)."""

    allow: bool = field(BOOL)
    type: str | None = field(STRING, default=None)
    major: int | None = field(INT64, default=None)
    minor: int | None = field(INT64, default=None)
    access: str | None = field(STRING, default=None)


@document
class Memory(Document):
    """Limits in bytes, -1 for unlimited; ``swap`` is memory and swap together (config-linux.md, Memory)."""

    limit: int | None = field(INT64, default=None)
    reservation: int | None = field(INT64, default=None)
    swap: int | None = field(INT64, default=None)
    kernel: int | None = field(INT64, default=None)
    kernel_tcp: int | None = field(INT64, default=None)
    swappiness: int | None = field(UINT64, default=None)
    disable_oom_killer: bool | None = field(BOOL, default=None)
    use_hierarchy: bool | None = field(BOOL, default=None)
    check_before_update: bool | None = field(BOOL, default=None)


@document
class CPU(Document):
    """CPU time, in microseconds, and placement (config-linux.md, CPU)."""

    shares: int | None = field(UINT64, default=None)
    quota: int | None = field(INT64, default=None)
    burst: int | None = field(UINT64, default=None)
    period: int | None = field(UINT64, default=None)
    realtime_runtime: int | None = field(INT64, default=None)
    realtime_period: int | None = field(UINT64, default=None)
    cpus: str | None = field(STRING, default=None)
    mems: str | None = field(STRING, default=None)
    idle: int | None = field(INT64, default=None)


@document
class Pids(Document):
    """The number of tasks, -1 for unlimited (config-linux.md, PIDs).

    ``limit`` is required by the schema, but not by the prose.
    """

    limit: int = field(INT64)


@document
class Resources(Document):
    """What the container's cgroups limit (config-linux.md, Control groups).

    ``rdma`` maps the name of a device, ``unified`` the name of a file of cgroup v2.
    """

    devices: tuple[DeviceCgroup, ...] | None = field(
        ListOf(Ref("linux_resources", "DeviceCgroup")),
        default=None,
    )
    memory: Memory | None = field(Ref("linux_resources", "Memory"), default=None)
    cpu: CPU | None = field(Ref("linux_resources", "CPU"), default=None)
    pids: Pids | None = field(Ref("linux_resources", "Pids"), default=None)
    block_io: BlockIO | None = field(Ref("linux_controllers", "BlockIO"), default=None)
    hugepage_limits: tuple[HugepageLimit, ...] | None = field(
        ListOf(Ref("linux_controllers", "HugepageLimit")),
        default=None,
    )
    network: Network | None = field(Ref("linux_controllers", "Network"), default=None)
    rdma: Mapping[str, Rdma] | None = field(MapOf(Ref("linux_controllers", "Rdma")), default=None)
    unified: Mapping[str, str] | None = field(STRING_MAP, default=None)
