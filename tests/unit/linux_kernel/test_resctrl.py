"""Classes of service and monitoring groups on a model of resctrl."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from orlop_hookspecs.errors import PlatformError, StepError, StoreError
from orlop_hookspecs.steps import CreateResctrlGroup, JoinResctrlGroup, WriteSchemata
from orlop_linux.kernel import resctrl, resctrlfs
from orlop_linux.kernel.resctrl import Resctrl
from orlop_linux.kernel.resctrl_stats import read_stats
from orlop_linux.kernel.resctrlfs import parse_schemata
from orlop_linux.kernel.update import apply
from orlop_linux.live import resctrl as live
from orlop_linux.live.process import Ends
from orlop_linux.live.undo import undo

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.linux_kernel.conftest import Entries

    from orlop_hookspecs.record import Record

DEFAULT = "    L3:0=fffff;1=fffff\n    MB:0=100;1=100\n"


def fill(group: Path) -> None:
    (group / "schemata").write_text(DEFAULT)
    (group / "tasks").write_text("")
    (group / "mon_groups").mkdir()


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory that behaves like a mounted resctrl."""
    root = tmp_path / "resctrl"
    (root / "info/L3_MON").mkdir(parents=True)
    (root / "info/MB").mkdir()
    (root / "info/L3_MON/mon_features").write_text("llc_occupancy\nmbm_total_bytes\n")
    (root / "info/MB/bandwidth_gran").write_text("10\n")
    (root / "info/last_cmd_status").write_text("ok\n")
    fill(root)

    def make(name: str, mode: int, *, dir_fd: int) -> None:
        os.mkdir(name, mode, dir_fd=dir_fd)
        group = tmp_path / os.readlink(f"/proc/self/fd/{dir_fd}") / name
        if group.parent.name == "mon_groups":
            (group / "tasks").write_text("")
        else:
            fill(group)

    def remove(name: str, *, dir_fd: int) -> None:
        group = tmp_path / os.readlink(f"/proc/self/fd/{dir_fd}") / name
        for file in ("schemata", "tasks"):
            (group / file).unlink(missing_ok=True)
        if (group / "mon_groups").is_dir():
            (group / "mon_groups").rmdir()
        group.rmdir()

    monkeypatch.setattr(resctrl, "make_directory", make)
    monkeypatch.setattr(live, "remove_directory", remove)
    return root


def create(tree: Path, record: Record, journal: Entries, clos_id: str, **fields: Any) -> Resctrl:
    groups = Resctrl(str(tree), record)
    step = CreateResctrlGroup(because="/linux/intelRdt", clos_id=clos_id, **fields)
    groups.create(step, "intel-rdt", journal)
    return groups


def schemata(clos_id: str, *lines: str) -> WriteSchemata:
    return WriteSchemata(because="/linux/intelRdt/schemata", clos_id=clos_id, lines=lines)


def undo_all(record: Record, journal: Entries) -> None:
    for kind, data in reversed(journal):
        undo(record, kind, data, Ends())


def test_an_own_class_is_made_and_removed(tree: Path, record: Record, journal: Entries) -> None:
    groups = create(tree, record, journal, "web", may_exist=False, monitoring=True)
    groups.write(schemata("web", "MB:0=20"), "intel-rdt")
    groups.join(JoinResctrlGroup(because="", clos_id="web", monitoring=True), "intel-rdt", 4242)
    assert (tree / "web/tasks").read_text() == "4242"
    assert (tree / "web/mon_groups/web/tasks").read_text() == "4242"
    assert (tree / "web/schemata").read_text().startswith("MB:0=20\n")
    record.phase = "created"
    undo_all(record, journal)
    undo_all(record, journal)
    assert not (tree / "web").exists()
    assert (tree / "tasks").exists()


def test_a_class_with_a_closid_outlives_the_container(tree: Path, record: Record, journal: Entries) -> None:
    create(tree, record, journal, "gold", monitoring=True)
    record.phase = "created"
    undo_all(record, journal)
    assert (tree / "gold").is_dir()
    assert not (tree / "gold/mon_groups/web").exists()


def test_but_not_a_creation_that_failed(tree: Path, record: Record, journal: Entries) -> None:
    create(tree, record, journal, "gold")
    undo_all(record, journal)
    assert not (tree / "gold").exists()


def test_unless_somebody_else_joined_it_meanwhile(tree: Path, record: Record, journal: Entries) -> None:
    create(tree, record, journal, "gold")
    (tree / "gold/tasks").write_text("7\n")
    undo_all(record, journal)
    assert (tree / "gold").is_dir()


def test_a_class_that_was_there_is_compared_not_written(tree: Path, record: Record, journal: Entries) -> None:
    (tree / "gold").mkdir()
    fill(tree / "gold")
    groups = create(tree, record, journal, "gold")
    assert journal == []
    groups.write(schemata("gold", "L3:0=0fffff;1=FFFFF", "MB:1=100"), "intel-rdt")
    assert (tree / "gold/schemata").read_text() == DEFAULT
    with pytest.raises(StepError, match="another MB") as caught:
        groups.write(schemata("gold", "MB:0=20"), "intel-rdt")
    assert caught.value.pointer == "/linux/intelRdt/schemata"
    with pytest.raises(StepError, match="another L2: not there"):
        groups.write(schemata("gold", "L2:0=f"), "intel-rdt")


def test_the_root_class_is_never_made(tree: Path, record: Record, journal: Entries) -> None:
    groups = create(tree, record, journal, "/", monitoring=True)
    groups.join(JoinResctrlGroup(because="", clos_id="/", monitoring=True), "intel-rdt", 4242)
    assert (tree / "tasks").read_text() == "4242"
    assert (tree / "mon_groups/web/tasks").read_text() == "4242"
    with pytest.raises(StepError, match="another MB"):
        groups.write(schemata("/", "MB:0=20"), "intel-rdt")
    assert (tree / "schemata").read_text() == DEFAULT
    record.phase = "created"
    undo_all(record, journal)
    assert list((tree / "mon_groups").iterdir()) == []


def test_a_class_that_must_be_there_and_is_not_is_an_error(
    tree: Path, record: Record, journal: Entries
) -> None:
    with pytest.raises(StepError, match="does not exist"):
        create(tree, record, journal, "gold", create=False)
    assert journal == []


def test_a_class_that_may_not_be_there_and_is_is_an_error(
    tree: Path, record: Record, journal: Entries
) -> None:
    (tree / "web").mkdir()
    with pytest.raises(StepError, match="exists already"):
        create(tree, record, journal, "web", may_exist=False)
    undo_all(record, journal)
    assert (tree / "web").is_dir()


def test_a_monitoring_group_of_somebody_else_is_an_error_and_stays(
    tree: Path, record: Record, journal: Entries
) -> None:
    (tree / "mon_groups/web").mkdir()
    with pytest.raises(StepError, match="monitoring group exists already"):
        create(tree, record, journal, "/", monitoring=True)
    undo_all(record, journal)
    assert (tree / "mon_groups/web").is_dir()


@pytest.mark.parametrize(
    ("clos_id", "may_exist", "taken"),
    [("gold", True, "gold"), ("web", False, "web"), ("/", True, "mon_groups/web")],
)
def test_a_group_that_somebody_makes_without_the_lock_stays(  # noqa: PLR0913, PLR0917 - the case and its place
    tree: Path,
    record: Record,
    journal: Entries,
    monkeypatch: pytest.MonkeyPatch,
    clos_id: str,
    may_exist: bool,
    taken: str,
) -> None:
    made = resctrl.make_directory

    def race(name: str, mode: int, *, dir_fd: int) -> None:
        made(name, mode, dir_fd=dir_fd)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(resctrl, "make_directory", race)
    refused = pytest.raises(StepError, match="exists")
    with nullcontext() if clos_id == "gold" else refused:
        create(tree, record, journal, clos_id, may_exist=may_exist, monitoring=clos_id == "/")
    undo_all(record, journal)
    assert (tree / taken).is_dir()


@pytest.mark.parametrize("clos_id", ["", ".", "..", "../x", "a/b", "info", "mon_groups", "a\0b", "a\nb"])
def test_names_that_are_no_groups_are_refused(
    tree: Path, record: Record, journal: Entries, clos_id: str
) -> None:
    before = sorted(tree.iterdir())
    with pytest.raises(StepError):
        create(tree, record, journal, clos_id)
    assert sorted(tree.iterdir()) == before


def test_a_link_is_no_class(tree: Path, record: Record, journal: Entries, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tree / "gold").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StepError):
        create(tree, record, journal, "gold")


def test_a_directory_that_is_not_resctrl_is_a_platform_error(
    tmp_path: Path, record: Record, journal: Entries
) -> None:
    with pytest.raises(PlatformError, match="no resctrl file system is mounted"):
        create(tmp_path, record, journal, "gold")
    with pytest.raises(PlatformError):
        create(tmp_path / "missing", record, journal, "gold")


def test_the_kernels_own_words_are_in_the_error(
    tree: Path, record: Record, journal: Entries, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = create(tree, record, journal, "web", may_exist=False)
    (tree / "info/last_cmd_status").write_text("Invalid domain 9\n")

    def refuse(directory: int, name: str, text: str) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(resctrlfs, "write", refuse)
    with pytest.raises(StepError, match="resctrl says 'Invalid domain 9'"):
        groups.write(schemata("web", "MB:9=20"), "intel-rdt")


def test_schemata_are_compared_by_value() -> None:
    assert parse_schemata(["  L3:0=00f;1=0A", "MB:0=020", "noise", "L3:1=b"]) == {
        "L3": {"0": "f", "1": "b"},
        "MB": {"0": "20"},
    }


def test_a_bandwidth_is_compared_as_the_kernel_rounds_it(
    tree: Path, record: Record, journal: Entries
) -> None:
    (tree / "gold").mkdir()
    fill(tree / "gold")
    (tree / "gold/schemata").write_text("MB:0=20;1=100\n")
    groups = create(tree, record, journal, "gold")
    groups.write(schemata("gold", "MB:0=11"), "intel-rdt")
    with pytest.raises(StepError, match="another MB"):
        groups.write(schemata("gold", "MB:0=21"), "intel-rdt")
    (tree / "info/MB/bandwidth_gran").unlink()
    with pytest.raises(StepError, match="another MB"):
        groups.write(schemata("gold", "MB:0=11"), "intel-rdt")


def test_a_later_line_counts_when_schemata_are_compared(tree: Path, record: Record, journal: Entries) -> None:
    (tree / "gold").mkdir()
    fill(tree / "gold")
    create(tree, record, journal, "gold").write(schemata("gold", "MB:0=20", "MB:0=100"), "intel-rdt")


def test_events_that_the_processor_cannot_count_are_refused(
    tree: Path, record: Record, journal: Entries
) -> None:
    create(tree, record, journal, "/", monitoring=True, events=("llc_occupancy",))
    undo_all(record, journal)
    journal.clear()
    with pytest.raises(StepError, match="cannot monitor mbm_local_bytes") as caught:
        create(tree, record, journal, "/", monitoring=True, events=("mbm_total_bytes", "mbm_local_bytes"))
    assert caught.value.errno == errno.EOPNOTSUPP
    assert "it can monitor llc_occupancy, mbm_total_bytes" in str(caught.value)
    assert journal == []


@pytest.mark.parametrize(
    ("clos_id", "fields", "message"),
    [
        ("gold", {"create": False}, "does not exist"),
        ("silver", {"may_exist": False}, "exists already"),
        ("silver", {"events": ("mbm_local_bytes",)}, "cannot monitor"),
        ("..", {}, "cannot name"),
    ],
)
def test_what_cannot_be_is_known_before_anything_is_touched(
    tree: Path, record: Record, clos_id: str, fields: dict[str, Any], message: str
) -> None:
    (tree / "silver").mkdir()
    step = CreateResctrlGroup(because="/linux/intelRdt", clos_id=clos_id, **fields)
    with pytest.raises(StepError, match=message):
        Resctrl(str(tree), record).check(step, "intel-rdt")
    assert record.kernel == {}


def test_nobody_else_looks_at_a_class_before_its_schemata_are_written(
    tree: Path, record: Record, journal: Entries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "PATIENCE", 0.01)
    groups = Resctrl(str(tree), record)
    step = CreateResctrlGroup(because="", clos_id="gold")
    groups.create(step, "intel-rdt", journal, more=True)
    other = Resctrl(str(tree), record)
    with pytest.raises(StepError, match="another program has locked resctrl"):
        other.create(step, "intel-rdt", journal)
    with pytest.raises(StepError, match="another program has locked resctrl"):
        undo_all(record, journal)
    groups.write(schemata("gold", "MB:0=20"), "intel-rdt")
    other.create(step, "intel-rdt", journal)
    undo_all(record, journal)
    assert not (tree / "gold").exists()


def test_a_failure_releases_the_lock(tree: Path, record: Record, journal: Entries) -> None:
    groups = Resctrl(str(tree), record)
    with pytest.raises(StepError):
        groups.create(
            CreateResctrlGroup(because="", clos_id="gold", monitoring=True, events=("none",)),
            "intel-rdt",
            journal,
            more=True,
        )
    fd = os.open(tree, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(fd)


def test_an_update_that_is_refused_is_taken_back(
    tree: Path, record: Record, journal: Entries, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(tree, record, journal, "gold")
    record.kernel["cgroups"] = []
    written: list[str] = []

    def write(directory: int, name: str, text: str) -> None:
        written.append(text)
        if "9=" in text:
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(resctrlfs, "write", write)
    with pytest.raises(StepError, match="cannot write 'MB:9=20'"):
        apply(record, [schemata("", "L3:0=f", "MB:9=20")])
    assert written == ["L3:0=f\n", "MB:9=20\n", "L3:0=fffff;1=fffff\n", "MB:0=100;1=100\n"]


def test_a_container_without_a_class_cannot_be_given_one(tree: Path, record: Record) -> None:
    (tree / "gold").mkdir()
    fill(tree / "gold")
    with pytest.raises(PlatformError, match="is not the container's"):
        apply(record, [schemata("gold", "MB:0=20")])
    with pytest.raises(PlatformError, match="the container has no class of service of its own"):
        apply(record, [schemata("", "MB:0=20")])
    record.kernel["resctrl"] = {"root": str(tree), "clos": "silver"}
    with pytest.raises(PlatformError, match="is not the container's"):
        apply(record, [schemata("gold", "MB:0=20")])
    record.kernel["resctrl"] = {"root": str(tree), "clos": "gold", "existed": True}
    with pytest.raises(PlatformError, match="gold was there before the container"):
        apply(record, [schemata("", "MB:0=20")])
    assert (tree / "gold/schemata").read_text() == DEFAULT


def count(group: Path, **events: str) -> None:
    (group / "mon_data/mon_L3_00").mkdir(parents=True)
    for name, text in events.items():
        (group / "mon_data/mon_L3_00" / name).write_text(text)


def test_what_is_counted_for_a_container(tree: Path, record: Record, journal: Entries) -> None:
    create(tree, record, journal, "gold", monitoring=True)
    count(tree / "gold", llc_occupancy="999\n")
    count(tree / "gold/mon_groups/web", llc_occupancy="4096\n", mbm_total_bytes="Unavailable\n")
    numbers = {"L3": {"0": {"llc_occupancy": 4096}}}
    assert read_stats(record) == {"resctrl": {"clos": "gold", "monitoring": numbers}}
    record.kernel["resctrl"]["monitoring"] = False
    assert read_stats(record) == {"resctrl": {"clos": "gold"}}
    assert read_stats(type(record)(id="other")) == {}


def test_an_own_class_is_a_monitoring_group_as_well(tree: Path, record: Record, journal: Entries) -> None:
    create(tree, record, journal, "web", may_exist=False)
    assert read_stats(record) == {"resctrl": {"clos": "web"}}
    count(tree / "web", llc_occupancy="7\n")
    assert read_stats(record)["resctrl"]["monitoring"] == {"L3": {"0": {"llc_occupancy": 7}}}


@pytest.mark.parametrize(
    "known",
    [7, {}, {"root": "/x", "clos": "../y"}, {"root": "x", "clos": "y"}, {"root": "/a/../b", "clos": "/"}],
)
def test_a_malformed_record_is_refused(record: Record, known: Any) -> None:
    record.kernel["resctrl"] = known
    with pytest.raises(StoreError, match="resctrl is malformed"):
        read_stats(record)
