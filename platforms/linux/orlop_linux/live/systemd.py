"""The scope of a container after it was made: which one it is, and its removal.

``Record.kernel["systemd"]`` is ``{"unit", "user", "invocation"}``: the name, whether the user's manager has
it, and what tells it from a later unit of that name (systemd.exec(5), INVOCATION_ID).
"""

from __future__ import annotations

from orlop_hookspecs.errors import OrlopError, StepError, StoreError
from orlop_linux.live.process import reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from orlop_hookspecs.record import Record

_UNIT_MAX = 255
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@")


class Unit:
    """A scope: its name, whose manager has it, and its invocation (empty: not known)."""

    __slots__ = ("invocation", "unit", "user")

    def __init__(self, unit: str, *, user: bool, invocation: str) -> None:
        """Keep the parts."""
        self.unit = unit
        self.user = user
        self.invocation = invocation


def _parse(data: Any, container: str) -> Unit:  # noqa: ANN401 - what a record or a journal holds
    if isinstance(data, dict):
        unit, user, invocation = data.get("unit"), data.get("user"), data.get("invocation", "")
        if (
            isinstance(unit, str)
            and unit.endswith(".scope")
            and len(unit) <= _UNIT_MAX
            and _LETTERS.issuperset(unit)
            and not unit.startswith("-")
            and isinstance(user, bool)
            and isinstance(invocation, str)
        ):
            return Unit(unit, user=user, invocation=invocation)
    raise StoreError("the stored state is not usable: unit is malformed", value=data, container=container)


def unit_of(record: Record) -> Unit | None:
    """Return the scope of a container; ``None`` when its cgroups were made without systemd.

    Raises:
        StoreError: What the record says is malformed.
    """
    data = record.kernel.get("systemd")
    return None if data is None else _parse(data, record.id)


def undo(record: Record, data: Mapping[str, Any]) -> None:
    """Undo a journal entry ``systemd``: ``{"unit", "user"}``. Idempotent.

    A unit that somebody else has made under this name meanwhile is left alone.
    """
    entry = _parse(data, record.id)
    if record.kernel.get("foreign_unit") == entry.unit:
        return
    known = unit_of(record)
    if known is not None and _is_gone(record):
        # The kernel told systemd that the last process has ended, and it has removed the scope.
        return
    from orlop_linux.kernel.systemd.manager import Manager

    try:
        manager = Manager(user=entry.user)
        try:
            if known is not None:
                identity = manager.get(entry.unit, "Unit", "InvocationID")
                ours = identity is not None and bytes(identity).hex() == known.invocation
            else:
                ours = manager.get(entry.unit, "Unit", "Description") == f"orlop container {record.id}"
            if ours:
                manager.stop(entry.unit)
        finally:
            manager.close()
    except OrlopError as error:
        error.act = error.act or "delete"
        raise
    except OSError as error:
        raise StepError(
            f"cannot stop {entry.unit}: {reason(error)}", errno=error.errno, act="delete", container=record.id
        ) from error


def _is_gone(record: Record) -> bool:
    """Tell whether the scope's cgroup is gone from the unified hierarchy, and with it the scope."""
    from orlop_linux.live.cgroups import exists_below, groups_of

    groups = [group for group in groups_of(record) if group.version == 2]
    return bool(groups) and not any(exists_below(group.mount, group.path) for group in groups)
