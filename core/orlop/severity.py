"""How much a finding matters, wherever findings are told."""

from __future__ import annotations

ERROR, WARNING, NOTE = "error", "warning", "note"
"""It breaks a rule or loses protection; it misleads or loses something else; it is worth knowing."""

SEVERITIES = (ERROR, WARNING, NOTE)
"""From the most to the least important."""
