"""The ``solaris`` section of config.json (config-solaris.md)."""

from __future__ import annotations

from orlop_hookspecs.documents.base import Document, document, field
from orlop_hookspecs.documents.kinds import STRING, ListOf, Ref


@document
class SolarisCappedCPU(Document):
    """The limit of CPU time, in CPUs (config-solaris.md, cappedCPU)."""

    ncpus: str | None = field(STRING, default=None)


@document
class SolarisCappedMemory(Document):
    """The limits of memory, with a unit suffix (config-solaris.md, cappedMemory)."""

    physical: str | None = field(STRING, default=None)
    swap: str | None = field(STRING, default=None)


@document
class SolarisAnet(Document):
    """An automatically created network interface (config-solaris.md, Automatic Network)."""

    linkname: str | None = field(STRING, default=None)
    lower_link: str | None = field(STRING, default=None)
    allowed_address: str | None = field(STRING, default=None)
    configure_allowed_address: str | None = field(STRING, default=None)
    defrouter: str | None = field(STRING, default=None)
    mac_address: str | None = field(STRING, default=None)
    link_protection: str | None = field(STRING, default=None)


@document
class Solaris(Document):
    """The Solaris-specific configuration (config-solaris.md)."""

    milestone: str | None = field(STRING, default=None)
    limitpriv: str | None = field(STRING, default=None)
    max_shm_memory: str | None = field(STRING, default=None)
    capped_cpu: SolarisCappedCPU | None = field(Ref("solaris", "SolarisCappedCPU"), default=None)
    capped_memory: SolarisCappedMemory | None = field(Ref("solaris", "SolarisCappedMemory"), default=None)
    anet: tuple[SolarisAnet, ...] | None = field(ListOf(Ref("solaris", "SolarisAnet")), default=None)
