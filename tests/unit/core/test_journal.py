"""The journal, and the JSON of the engine's own files."""

from __future__ import annotations

import errno
import functools
import subprocess
import sys
from typing import TYPE_CHECKING, Any, cast

import pytest

from orlop.lifecycle import delete
from orlop.store import journal, jsontext
from orlop.store.directory import DirectorySlot, DirectoryStore
from orlop_hookspecs.errors import (
    StoreError,
)
from orlop_hookspecs.record import Record

if TYPE_CHECKING:
    from orlop_hookspecs.kernel import LiveKernel


@pytest.fixture
def store(root: str) -> DirectoryStore:
    return DirectoryStore(root)


def record(**fields: Any) -> Record:
    values = {"id": "box", "bundle": "/b", "phase": "creating", "creator": [2, 3], "platform": "stub"}
    return Record(**{**values, **fields})


def test_the_journal_is_replayed_newest_first_and_marks_what_is_undone(store: DirectoryStore) -> None:
    with store.create("box") as slot:
        one = journal.Journal(slot, record())
        assert not one.used
        assert journal.record_of(slot, "box") is None
        one.intend("cgroup", path="/a")
        one.intend("mount", path="/b", flags=[1, None, True])
        entries = journal.due(slot, "box")
        assert [(entry.undo, entry.data) for entry in entries] == [
            ("mount", {"path": "/b", "flags": [1, None, True]}),
            ("cgroup", {"path": "/a"}),
        ]
        journal.mark_undone(slot, entries[0])
        assert [entry.undo for entry in journal.due(slot, "box")] == ["cgroup"]
        assert len((slot.read("journal") or b"").splitlines()) == 4


def test_the_header_is_the_record_and_the_process_completes_it(store: DirectoryStore) -> None:
    with store.create("box") as slot:
        mine = record()
        one = journal.Journal(slot, mine)
        one.intend("cgroup", path="/a")
        mine.pid, mine.start_time, mine.kernel = 42, 7, {"cgroups": []}
        one.process()
        found = journal.record_of(slot, "box")
        assert found is not None
        assert (found.id, found.pid, found.start_time, found.kernel) == ("box", 42, 7, {"cgroups": []})
        assert found.directory == slot.path


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_torn_last_line_is_an_act_that_was_never_begun(store: DirectoryStore, cut: int) -> None:
    with store.create("box") as slot:
        one = journal.Journal(slot, record())
        one.intend("cgroup", path="/a")
        one.intend("mount", path="/a/b/c/d/e/f/g/h")
        content = slot.read("journal") or b""
        slot.write("journal", content[:-cut])
        assert [entry.undo for entry in journal.due(slot, "box")] == ["cgroup"]
        journal.repair(slot)
        (entry,) = journal.due(slot, "box")
        journal.mark_undone(slot, entry)
        assert journal.due(slot, "box") == []


@pytest.mark.parametrize(
    "content",
    [
        b"nonsense\n",
        b"{}\n",
        b'{"journal":2,"record":{}}\n',
        b'{"journal":1,"record":7}\n',
        b'{"journal":1,"record":{}}\n[]\n',
        b'{"journal":1,"record":{}}\n{"undo":7,"data":{}}\n',
        b'{"journal":1,"record":{}}\n{"undo":"x"}\n',
        b'{"journal":1,"record":{}}\nx\n',
        b'{"journal":1,"record":{}}\n\xff\n',
        b'{"journal":1,' + b"[" * 100_000 + b"\n",
    ],
)
def test_a_forged_journal_is_not_trusted(store: DirectoryStore, content: bytes) -> None:
    with store.create("box") as slot:
        slot.write("journal", content)
        refused = 0
        for read in (journal.due, journal.record_of):
            try:
                read(slot, "box")
            except StoreError:
                refused += 1
        assert refused


class Full:
    """The slot of a container on a disk that takes no more, after so many writes."""

    def __init__(self, slot: DirectorySlot, room: int, number: int) -> None:
        self._slot, self._room, self._number = slot, room, number

    def __getattr__(self, name: str) -> Any:
        return getattr(self._slot, name)

    def _take(self) -> None:
        if not self._room:
            raise StoreError("cannot write", errno=self._number)
        self._room -= 1

    def write(self, name: str, data: bytes) -> None:
        self._take()
        self._slot.write(name, data)

    def append(self, name: str, data: bytes) -> None:
        self._take()
        self._slot.append(name, data)


class Undoing:
    """A kernel that notes what it is told to undo."""

    def __init__(self) -> None:
        self.undone: list[str] = []

    def undo(self, record: Record, undo: str, data: dict[str, Any]) -> None:
        self.undone.append(undo)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
@pytest.mark.parametrize("room", [0, 1, 2])
@pytest.mark.parametrize("torn", [False, True])
def test_all_is_undone_on_a_full_disk(store: DirectoryStore, number: int, room: int, torn: bool) -> None:
    with store.create("box") as slot:
        one = journal.Journal(slot, record())
        for undo in ("one", "two", "three"):
            one.intend(undo)
        if torn:
            slot.append("journal", b'{"undo":"fo')
        kernel = Undoing()
        full: Any = Full(slot, room, number)
        act = functools.partial(delete.undo, full, record(), cast("LiveKernel", kernel))
        if number == errno.EROFS:  # that does not get better with what is undone
            with pytest.raises(StoreError):
                act()
            return
        act()
        assert kernel.undone == ["three", "two", "one"]
        # What could be marked is, in order; a torn line that is still there takes no mark behind it.
        due = [entry.undo for entry in journal.due(slot, "box")]
        assert due == ["three", "two", "one"][max(0, room - torn) :]


@pytest.mark.parametrize("pair", [jsontext._with_c, jsontext._with_package])
def test_json_both_ways(pair: Any) -> None:
    load, dump = pair()
    value = {"a": [1, -2, 1.5, None, True, False, 'é\n"\\ '], "b": {}, "c": 2**70}
    text = dump(value)
    assert text.isascii()
    assert "\n" not in text
    assert load(text) == value
    assert load(' {"a" : [ ] }\n') == {"a": []}
    for bad in ("", "{", "[1,]", "{} {}", "NaN", "[Infinity]", "'x'", '{"a":}', "\ufeff{}"):
        with pytest.raises(ValueError):  # noqa: PT011 - the texts of the two differ
            load(bad)
    with pytest.raises(TypeError):
        dump({"a": object()})
    with pytest.raises(ValueError, match="not JSON compliant"):
        dump(float("nan"))


@pytest.mark.parametrize("bad", ["{", "[1,]", '{"a":}', '{"a', "'x'", '"\\u12"'])
def test_malformed_json_is_told_without_the_package(bad: str) -> None:
    # A command has not imported json, and in this process it may be.
    program = (
        "import sys; sys.path[:] = sys.argv[2:]\n"
        "from orlop.store import jsontext\n"
        "assert 'json' not in sys.modules\n"
        "try: jsontext.loads(sys.argv[1])\n"
        "except ValueError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, bad, *sys.path],
        capture_output=True,
        text=True,
        check=False,
    )
    # Newer interpreters find the words of the package, older ones have ours.
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1


def test_json_of_hostile_files() -> None:
    assert jsontext.loads(b'{"a": 1}') == {"a": 1}
    for bad in (b"\xff", b"[" * 200_000, b"\0"):
        with pytest.raises(ValueError):  # noqa: PT011 - every refusal is one
            jsontext.loads(bad)
