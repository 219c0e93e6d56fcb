"""A container's journal: what must be undone, written before it is done.

One JSON object per line, appended with one write(2) each: a header with the record of the container that is
being created, the container process once there is one, undo entries, and a mark for each entry that has been
undone. A runtime killed while it writes leaves a last line without its end: that act was never begun. Nothing
is synced to the disk, because nothing that an entry describes outlives a power cut.
"""

from __future__ import annotations

from orlop.store import jsontext
from orlop_hookspecs.errors import StoreError
from orlop_hookspecs.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orlop_hookspecs.kernel import Slot

FILE = "journal"
"""Name of the journal in a slot."""

_LAYOUT = 1
_BEGINNING = b'{"journal":%d,' % _LAYOUT


class Journal:
    """The writing side, handed to a platform's kernel; see :class:`orlop_hookspecs.kernel.Journal`."""

    __slots__ = ("_record", "_slot", "used")

    def __init__(self, slot: Slot, record: Record) -> None:
        """Begin the journal of a new container; nothing is written before the first entry."""
        self._slot = slot
        self._record = record
        self.used = False

    @classmethod
    def resume(cls, slot: Slot, record: Record) -> Journal:
        """Return the journal of a container that exists, to be continued."""
        repair(slot)
        made = cls(slot, record)
        made.used = bool(slot.read(FILE))
        return made

    def intend(self, undo: str, **data: Any) -> None:  # noqa: ANN401 - JSON primitives
        """Record that undo *undo* with *data* is due from now on.

        Raises:
            StoreError: It could not be recorded; the act must not be done.
        """
        self._append({"undo": undo, "data": data})

    def process(self) -> None:
        """Record the container process, and what the kernel has noted about the container so far."""
        record = self._record
        self._append({"pid": record.pid, "start_time": record.start_time, "kernel": record.kernel})

    def _append(self, item: dict[str, Any]) -> None:
        line = jsontext.dumps(item)
        if not self.used:
            header = jsontext.dumps({"journal": _LAYOUT, "record": self._record.to_data()})
            line = f"{header}\n{line}"
        self._slot.append(FILE, f"{line}\n".encode())
        self.used = True


class Entry:
    """One undo that is due."""

    __slots__ = ("data", "number", "undo")

    def __init__(self, number: int, undo: str, data: dict[str, Any]) -> None:
        """Keep the parts; *number* is the entry's place in the journal."""
        self.number = number
        self.undo = undo
        self.data = data


def _lines(slot: Slot, container: str) -> list[bytes]:
    """Return the whole lines of the journal, its header first; what was torn off at the end is left out."""
    content = slot.read(FILE)
    if not content:
        return []
    lines = content[: content.rfind(b"\n") + 1].splitlines()
    if lines and not lines[0].startswith(_BEGINNING):
        raise _malformed(slot, container)
    return lines


def _parse(line: bytes, slot: Slot, container: str) -> dict[str, Any]:
    try:
        item = jsontext.loads(line)
    except ValueError:
        item = None
    if not isinstance(item, dict):
        raise _malformed(slot, container)
    return item


def record_of(slot: Slot, container: str) -> Record | None:
    """Return the record of a container that is, or was, being created; ``None`` when nothing was made yet.

    Raises:
        StoreError: The journal is malformed; nothing of it is trusted then.
    """
    items = [_parse(line, slot, container) for line in _lines(slot, container)]
    if not items:
        return None
    data = items[0].get("record")
    if not isinstance(data, dict):
        raise _malformed(slot, container)
    for item in items:
        if "pid" in item:
            data.update(pid=item["pid"], start_time=item.get("start_time"), kernel=item.get("kernel"))
    return Record.from_data(data, expected_id=container, directory=slot.path)


def due(slot: Slot, container: str) -> list[Entry]:
    """Return the entries of *container* that are still due, newest first.

    Raises:
        StoreError: The journal is malformed; nothing of it is trusted then.
    """
    entries: dict[int, Entry] = {}
    for number, line in enumerate(_lines(slot, container)[1:]):
        item = _parse(line, slot, container)
        if "undone" in item:
            entries.pop(item["undone"], None)
        elif "undo" in item:
            undo, data = item["undo"], item.get("data")
            if not isinstance(undo, str) or not isinstance(data, dict):
                raise _malformed(slot, container)
            entries[number] = Entry(number, undo, data)
    return list(entries.values())[::-1]


def repair(slot: Slot) -> None:
    """Take off a torn last line, so that more can be appended."""
    content = slot.read(FILE)
    if content and not content.endswith(b"\n"):
        slot.write(FILE, content[: content.rfind(b"\n") + 1])


def mark_undone(slot: Slot, entry: Entry) -> None:
    """Record that *entry* has been undone: it is not due any more, whoever makes the same thing anew."""
    slot.append(FILE, b'{"undone":%d}\n' % entry.number)


def _malformed(slot: Slot, container: str) -> StoreError:
    return StoreError("the stored journal is not usable", container=container, path=slot.path)
