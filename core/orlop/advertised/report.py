"""What was found in a features document, as data and as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.severity import ERROR
from orlop_hookspecs.errors import UNSET, printable, shorten
from orlop_hookspecs.frozen import Frozen, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping


@frozen
class Remark(Frozen):
    """One thing that was found."""

    severity: str
    """One of :data:`orlop.severity.SEVERITIES`."""
    rule: str
    """Stable name of what was examined, such as ``version-gate``."""
    pointer: str
    """JSON pointer of the property; empty for the whole document."""
    message: str
    """What is wrong, in lower case."""
    value: Any = UNSET
    hint: str = ""
    """What would be right."""

    def as_data(self) -> dict[str, Any]:
        """Return the remark as JSON data; empty parts are left out."""
        data: dict[str, Any] = {
            "severity": self.severity,
            "rule": self.rule,
            "pointer": self.pointer,
            "message": self.message,
        }
        if self.value is not UNSET:
            data["value"] = shorten(self.value)
        if self.hint:
            data["hint"] = self.hint
        return data

    def as_text(self) -> str:
        """Return the remark as one line."""
        text = f"{self.severity:7} {self.pointer or 'the document'}: {self.message}"
        if self.value is not UNSET:
            text += f" (value: {shorten(self.value)})"
        if self.hint:
            text += f"; {self.hint}"
        return printable(f"{text} [{self.rule}]")


@frozen
class Report(Frozen):
    """Everything that was found in one features document."""

    runtime: str
    """Who made it, as far as it says: ``runc 1.1.5``; empty when it does not say."""
    document: Mapping[str, Any]
    """The document as it was read."""
    remarks: tuple[Remark, ...]
    """Errors first."""

    @property
    def valid(self) -> bool:
        """Whether no rule of the specification is broken."""
        return not any(one.severity == ERROR for one in self.remarks)

    def as_data(self) -> dict[str, Any]:
        """Return the report as JSON data."""
        return {
            "valid": self.valid,
            "runtime": self.runtime or None,
            "remarks": [one.as_data() for one in self.remarks],
        }

    def as_text(self) -> str:
        """Return the report as lines for people."""
        whose = f": features document of {printable(self.runtime)}" if self.runtime else ""
        head = ("valid" if self.valid else "invalid") + whose
        return "\n".join([head, *(f"  {one.as_text()}" for one in self.remarks)])
