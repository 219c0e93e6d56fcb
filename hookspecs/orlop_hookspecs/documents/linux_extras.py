"""The parts of the ``linux`` section that few configs set (config-linux.md)."""

from __future__ import annotations

from orlop_hookspecs.documents import vocabulary
from orlop_hookspecs.documents.base import Document, document, field
from orlop_hookspecs.documents.kinds import BOOL, INT64, STRING, STRINGS, UINT32, Choice, ListOf, Text


@document
class TimeOffset(Document):
    """The offset of a clock, in seconds and nanoseconds (config-linux.md, Offset for Time Namespace)."""

    secs: int | None = field(INT64, default=None)
    nanosecs: int | None = field(UINT32, default=None)


@document
class NetDevice(Document):
    """A network device moved into the container, and its name there (config-linux.md, Network Devices)."""

    name: str | None = field(STRING, default=None)


@document
class IntelRdt(Document):
    """The resctrl group of the container (config-linux.md, IntelRdt)."""

    clos_id: str | None = field(STRING, default=None)
    schemata: tuple[str, ...] | None = field(STRINGS, default=None)
    l3_cache_schema: str | None = field(STRING, default=None)
    mem_bw_schema: str | None = field(
        Text("MB:[^\\n]*", "one line that starts with MB:"),
        default=None,
    )
    enable_monitoring: bool | None = field(BOOL, default=None)
    enable_cmt: bool | None = field(BOOL, default=None)
    """Of versions 1.1.0 to 1.2.1 only."""
    enable_mbm: bool | None = field(BOOL, default=None)
    """Of versions 1.1.0 to 1.2.1 only."""


@document
class MemoryPolicy(Document):
    """The NUMA memory policy, see set_mempolicy(2) (config-linux.md, Memory policy).

    ``mode`` is required by the prose, but not by the schema.
    """

    mode: str | None = field(Choice(vocabulary.MEMORY_POLICY_MODES), default=None)
    nodes: str | None = field(STRING, default=None)
    flags: tuple[str, ...] | None = field(ListOf(Choice(vocabulary.MEMORY_POLICY_FLAGS)), default=None)


@document
class Personality(Document):
    """The execution domain, see personality(2) (config-linux.md, Personality).

    ``domain`` is required by the prose, but not by the schema.
    """

    domain: str | None = field(Choice(vocabulary.PERSONALITY_DOMAINS), default=None)
    flags: tuple[str, ...] | None = field(STRINGS, default=None)
