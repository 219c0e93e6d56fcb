"""Objects that more than one section of the documents uses."""

from __future__ import annotations

from orlop_hookspecs.documents.base import Document, document, field
from orlop_hookspecs.documents.kinds import UINT32, ListOf, Ref


@document
class IDMapping(Document):
    """A range of ids, mapped from the container to the host (config-linux.md, User namespace mappings)."""

    container_id: int = field(UINT32)
    host_id: int = field(UINT32)
    size: int = field(UINT32)


ID_MAPPINGS = ListOf(Ref("common", "IDMapping"))
