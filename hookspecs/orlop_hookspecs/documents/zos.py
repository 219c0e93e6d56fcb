"""The ``zos`` section of config.json (config-zos.md)."""

from __future__ import annotations

from orlop_hookspecs.documents import vocabulary
from orlop_hookspecs.documents.base import Document, document, field
from orlop_hookspecs.documents.kinds import STRING, Choice, ListOf, Ref


@document
class ZOSNamespace(Document):
    """A namespace to create, or with ``path`` to join (config-zos.md, Namespaces)."""

    type: str = field(Choice(vocabulary.ZOS_NAMESPACE_TYPES))
    path: str | None = field(STRING, default=None)


@document
class ZOS(Document):
    """The z/OS-specific configuration (config-zos.md)."""

    namespaces: tuple[ZOSNamespace, ...] | None = field(
        ListOf(Ref("zos", "ZOSNamespace")),
        default=None,
    )
