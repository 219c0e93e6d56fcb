"""The state of a container, as ``state`` prints it and hooks read it (runtime.md, State)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.documents import vocabulary
from orlop_hookspecs.documents.base import Document, document, field
from orlop_hookspecs.documents.kinds import STRING, STRING_MAP, STRINGS, Choice, Integer, Ref

if TYPE_CHECKING:
    from collections.abc import Mapping

_PID = Integer(0, (1 << 31) - 1)


@document
class State(Document):
    """The state of a container (runtime.md, State).

    ``oci_version`` is the version that the state document itself complies with. ``pid`` is present while the
    status is ``created`` or ``running``.
    """

    oci_version: str = field(STRING)
    id: str = field(STRING)
    status: str = field(Choice(vocabulary.STATUSES))
    pid: int | None = field(_PID, default=None)
    bundle: str = field(STRING)
    annotations: Mapping[str, str] | None = field(STRING_MAP, default=None)


@document
class ContainerProcessState(Document):
    """What a seccomp agent receives (config-linux.md, The Container Process State)."""

    oci_version: str = field(STRING)
    fds: tuple[str, ...] | None = field(STRINGS, default=None)
    pid: int = field(_PID)
    metadata: str | None = field(STRING, default=None)
    state: State = field(Ref("state", "State"))
