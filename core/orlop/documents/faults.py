"""What is wrong with a document: faults with JSON pointers, and the error that carries them."""

from __future__ import annotations

from orlop_hookspecs.errors import UNSET, DocumentError, shorten

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FAULT_LIMIT = 20
"""How many faults of one document are collected before reading stops."""

_NAMED = 3


def pointer(path: Iterable[str | int]) -> str:
    """Return *path* as a JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


class Fault:
    """One thing that is wrong: where, what was expected and, unless something is missing, the value found."""

    __slots__ = ("message", "path", "value")

    def __init__(self, message: str, value: object = UNSET, path: tuple[str | int, ...] = ()) -> None:
        """Keep the parts; *path* is the place below the value that is being decoded."""
        self.message = message
        self.value = value
        self.path = path

    @property
    def pointer(self) -> str:
        """The JSON pointer of the property."""
        return pointer(self.path)

    def __repr__(self) -> str:
        """Return the fault as one line."""
        found = "" if self.value is UNSET else f" (value: {shorten(self.value)})"
        return f"<Fault {self.pointer}: {self.message}{found}>"


class Mismatch(Exception):  # noqa: N818 - internal to the codec, turned into an error at its edge
    """Raised while decoding: the faults found so far, relative to the value that was being decoded."""

    def __init__(self, faults: list[Fault]) -> None:
        """Keep the *faults*."""
        super().__init__(faults)
        self.faults = faults

    def under(self, key: str | int, faults: list[Fault] | None) -> list[Fault]:
        """Append the faults to *faults*, as seen from one level up, where the value stands at *key*."""
        found = [] if faults is None else faults
        for fault in self.faults:
            fault.path = (key, *fault.path)
            found.append(fault)
        return found


class InvalidDocumentError(DocumentError):
    """A document with faults: up to :data:`FAULT_LIMIT` in :attr:`faults`, the first in the message."""

    def __init__(self, faults: Sequence[Fault], *, path: str = "") -> None:
        """Name the first fault, and where the next ones are."""
        first, *rest = faults
        message = first.message
        if rest:
            places = ", ".join(fault.pointer or "the document" for fault in rest[:_NAMED])
            more = ", ..." if len(rest) > _NAMED else ""
            count = f"{len(rest)}+" if len(faults) >= FAULT_LIMIT else str(len(rest))
            message += f"; and {count} more: {places}{more}"
        super().__init__(message, pointer=first.pointer, value=first.value, path=path)
        self.faults = tuple(faults)
