"""The parts of ``linux.resources`` that few configs set (config-linux.md, Control groups)."""

from __future__ import annotations

from orlop_hookspecs.documents.base import Document, document, field
from orlop_hookspecs.documents.kinds import INT64, STRING, UINT16, UINT32, UINT64, ListOf, Ref, Text


@document
class WeightDevice(Document):
    """The I/O weight of one device (config-linux.md, Block IO)."""

    major: int = field(INT64)
    minor: int = field(INT64)
    weight: int | None = field(UINT16, default=None)
    leaf_weight: int | None = field(UINT16, default=None)


@document
class ThrottleDevice(Document):
    """The I/O rate limit of one device, in bytes or operations per second (config-linux.md, Block IO).

    ``rate`` is required by the prose, but not by the schema.
    """

    major: int = field(INT64)
    minor: int = field(INT64)
    rate: int | None = field(UINT64, default=None)


_THROTTLES = ListOf(Ref("linux_controllers", "ThrottleDevice"))


@document
class BlockIO(Document):
    """I/O weights and rate limits (config-linux.md, Block IO)."""

    weight: int | None = field(UINT16, default=None)
    leaf_weight: int | None = field(UINT16, default=None)
    weight_device: tuple[WeightDevice, ...] | None = field(
        ListOf(Ref("linux_controllers", "WeightDevice")),
        default=None,
    )
    throttle_read_bps_device: tuple[ThrottleDevice, ...] | None = field(_THROTTLES, default=None)
    throttle_write_bps_device: tuple[ThrottleDevice, ...] | None = field(_THROTTLES, default=None)
    throttle_read_iops_device: tuple[ThrottleDevice, ...] | None = field(_THROTTLES, default=None)
    throttle_write_iops_device: tuple[ThrottleDevice, ...] | None = field(_THROTTLES, default=None)


@document
class HugepageLimit(Document):
    """A limit in bytes for one size of huge pages (config-linux.md, Huge page limits)."""

    page_size: str = field(Text("[1-9][0-9]*[KMG]B", "a page size such as 64KB, 2MB or 1GB"))
    limit: int = field(UINT64)


@document
class InterfacePriority(Document):
    """The priority of traffic on one interface (config-linux.md, Network)."""

    name: str = field(STRING)
    priority: int = field(UINT32)


@document
class Network(Document):
    """The class and the priorities of network traffic (config-linux.md, Network)."""

    class_id: int | None = field(UINT32, default=None)
    priorities: tuple[InterfacePriority, ...] | None = field(
        ListOf(Ref("linux_controllers", "InterfacePriority")),
        default=None,
    )


@document
class Rdma(Document):
    """The limits of one RDMA device (config-linux.md, RDMA)."""

    hca_handles: int | None = field(UINT32, default=None)
    hca_objects: int | None = field(UINT32, default=None)
