"""Making and removing the container's cgroups, on a model of cgroupfs."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from tests.unit.linux_kernel.conftest import fill

from orlop_hookspecs.errors import PlatformError, StepError, StoreError
from orlop_hookspecs.steps import CreateCgroup, CreateScope
from orlop_linux.kernel.cgroups import create
from orlop_linux.kernel.cgroups.create import Cgroups
from orlop_linux.kernel.cgroups.hierarchies import find_hierarchies
from orlop_linux.live.cgroups import parse_group
from orlop_linux.live.process import Ends
from orlop_linux.live.undo import undo

if TYPE_CHECKING:
    from tests.unit.linux_kernel.conftest import Entries, Host

    from orlop_hookspecs.record import Record


def run(  # noqa: PLR0913 - what a creation depends on
    host: Host,
    record: Record,
    journal: Entries,
    path: str,
    controllers: tuple[str, ...] = (),
    *,
    explicit: bool = True,
    unprivileged: bool = False,
) -> Cgroups:
    cgroups = Cgroups(find_hierarchies(proc=str(host.proc)))
    step = CreateCgroup(because="/linux/cgroupsPath", path=path, explicit=explicit)
    try:
        cgroups.create(step, "cgroups", record, journal, controllers=controllers, unprivileged=unprivileged)
    except BaseException:
        cgroups.close()
        raise
    return cgroups


def undo_all(record: Record, journal: Entries) -> None:
    for kind, data in reversed(journal):
        undo(record, kind, data, Ends())


def test_it_is_made_in_every_hierarchy_and_removed_with_its_parents(
    host: Host, record: Record, journal: Entries
) -> None:
    places = [host.mount("pids", "pids"), host.mount("memory", "memory"), host.mount("unified")]
    cgroups = run(host, record, journal, "/pods/web")
    assert all((place / "pods/web").is_dir() for place in places)
    assert [one["path"] for one in record.kernel["cgroups"]] == ["/pods/web"] * 3
    assert [(name, aliases) for name, _, aliases in cgroups.mounts()] == [
        ("pids", ()),
        ("memory", ()),
        ("unified", ()),
    ]
    cgroups.close()
    undo_all(record, journal)
    undo_all(record, journal)
    assert not any((place / "pods").exists() for place in places)


def test_the_journal_knows_before_anything_is_made(host: Host, record: Record, journal: Entries) -> None:
    place = host.mount("pids", "pids")
    seen: list[bool] = []
    entries = journal

    class Watching:
        def intend(self, undo: str, **data: object) -> None:
            seen.append((place / "web").exists())
            entries.intend(undo, **data)

    cgroups = Cgroups(find_hierarchies(proc=str(host.proc)))
    step = CreateCgroup(because="", path="/web")
    cgroups.create(step, "", record, Watching(), controllers=(), unprivileged=False)
    cgroups.close()
    assert seen == [False]
    assert (place / "web").exists()


def test_parents_that_were_there_stay(host: Host, record: Record, journal: Entries) -> None:
    place = host.mount("pids", "pids")
    (place / "pods").mkdir()
    (place / "pods/cgroup.procs").write_text("")
    run(host, record, journal, "/pods/a/web").close()
    undo_all(record, journal)
    assert (place / "pods").is_dir()
    assert not (place / "pods/a").exists()


def test_a_parent_that_somebody_else_uses_stays(host: Host, record: Record, journal: Entries) -> None:
    place = host.mount("pids", "pids")
    run(host, record, journal, "/pods/web").close()
    (place / "pods/neighbour").mkdir()
    undo_all(record, journal)
    assert (place / "pods/neighbour").is_dir()
    assert not (place / "pods/web").exists()


def test_a_cgroup_that_was_there_is_used_but_not_removed(
    host: Host, record: Record, journal: Entries
) -> None:
    place = host.mount("pids", "pids")
    (place / "web").mkdir()
    (place / "web/cgroup.procs").write_text("")
    run(host, record, journal, "/web").close()
    assert journal == []
    assert record.kernel["cgroups"][0]["path"] == "/web"


def test_a_cgroup_with_processes_is_refused(host: Host, record: Record, journal: Entries) -> None:
    place = host.mount("pids", "pids")
    (place / "web").mkdir()
    (place / "web/cgroup.procs").write_text("41\n42\n")
    with pytest.raises(StepError, match="in use by 2 processes"):
        run(host, record, journal, "/web")
    assert journal == []


def test_processes_below_count_as_well(host: Host, record: Record, journal: Entries) -> None:
    place = host.mount("pids", "pids")
    (place / "web/below").mkdir(parents=True)
    (place / "web/cgroup.procs").write_text("")
    (place / "web/below/cgroup.procs").write_text("41\n")
    with pytest.raises(StepError, match="in use by 1 processes, such as 41"):
        run(host, record, journal, "/web")


def test_parent_that_disappears_is_made_again(
    host: Host, record: Record, journal: Entries, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = host.mount("pids", "pids")
    made = create.make_directory
    missing = [True]

    def make(name: str, mode: int, *, dir_fd: int) -> None:
        if missing and name == "web":
            missing.clear()
            raise FileNotFoundError(2, "gone")
        made(name, mode, dir_fd=dir_fd)

    monkeypatch.setattr(create, "make_directory", make)
    run(host, record, journal, "/pods/web").close()
    assert (place / "pods/web").is_dir()
    undo_all(record, journal)
    assert not (place / "pods").exists()


@pytest.mark.parametrize(
    "path", ["/", "//", "/..", "/a/../b", "a/../../b", ".", "/a/./b", "/a\nb", "/a\0b", "/" + "x" * 300]
)
def test_impossible_paths_are_refused(host: Host, record: Record, journal: Entries, path: str) -> None:
    place = host.mount("pids", "pids")
    before = sorted(place.iterdir())
    with pytest.raises(StepError):
        run(host, record, journal, path)
    undo_all(record, journal)
    assert sorted(place.iterdir()) == before


def test_a_link_in_the_path_is_refused(host: Host, record: Record, journal: Entries) -> None:
    place = host.mount("pids", "pids")
    (host.root / "elsewhere").mkdir()
    (place / "pods").symlink_to(host.root / "elsewhere")
    with pytest.raises(StepError):
        run(host, record, journal, "/pods/web")
    assert list((host.root / "elsewhere").iterdir()) == []


def test_relative_and_default_paths_are_below_the_callers_own_cgroup_on_v1(
    host: Host, record: Record, journal: Entries
) -> None:
    place = host.mount("pids", "pids", own="/user/me")
    run(host, record, journal, "", explicit=False).close()
    assert (place / "user/me/web").is_dir()
    run(host, record, journal, "sub/other").close()
    assert (place / "user/me/sub/other").is_dir()


def test_default_path_is_beside_the_callers_own_cgroup_on_v2(
    host: Host, record: Record, journal: Entries
) -> None:
    place = host.mount("unified", own="/user/me")
    (mounted,) = run(host, record, journal, "", explicit=False).mounts()
    assert mounted == ("", str(place / "user/web"), ())


def test_v2_enables_only_what_the_plan_limits(host: Host, record: Record, journal: Entries) -> None:
    place = host.mount("unified")
    run(host, record, journal, "/pods/web", ("pids", "rdma")).close()
    assert (place / "cgroup.subtree_control").read_text() == "+pids"
    assert (place / "pods/cgroup.subtree_control").read_text() == "+pids"
    assert (place / "pods/web/cgroup.subtree_control").read_text() == ""


def test_v2_enables_everything_below_parents_that_were_made_for_containers(
    host: Host, record: Record, journal: Entries
) -> None:
    place = host.mount("unified")
    (place / "cgroup.subtree_control").write_text("cpu memory pids")
    run(host, record, journal, "/pods/web").close()
    assert (place / "cgroup.subtree_control").read_text() == "cpu memory pids"
    assert (place / "pods/cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    assert (place / "pods/web/cgroup.subtree_control").read_text() == ""


def test_v2_enables_nothing_more_below_a_parent_of_somebody_else(
    host: Host, record: Record, journal: Entries
) -> None:
    place = host.mount("unified")
    (place / "theirs").mkdir()
    for name, text in (("cgroup.controllers", "cpu pids"), ("cgroup.subtree_control", "")):
        (place / "theirs" / name).write_text(text)
    run(host, record, journal, "/theirs/web", ("pids",)).close()
    assert (place / "theirs/cgroup.subtree_control").read_text() == "+pids"


def test_hybrid_enables_what_no_v1_hierarchy_has(host: Host, record: Record, journal: Entries) -> None:
    host.mount("pids", "pids")
    place = host.mount("unified")
    run(host, record, journal, "/web", ("pids", "memory")).close()
    assert (place / "cgroup.subtree_control").read_text() == "+memory"


def test_v2_names_the_rule_when_a_parent_has_processes(
    host: Host, record: Record, journal: Entries, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.mount("unified")

    def refuse(directory: int, name: str, text: str) -> None:
        raise OSError(16, "busy")

    monkeypatch.setattr("orlop_linux.kernel.cgroups.create.write_file", refuse)
    with pytest.raises(StepError, match="only where there are none") as caught:
        run(host, record, journal, "/web", ("pids",))
    assert caught.value.errno == 16


def test_a_v1_cpuset_inherits_what_it_lacks(host: Host, record: Record, journal: Entries) -> None:
    place = host.mount("cpuset", "cpuset")
    (place / "cpuset.cpus").write_text("0-3\n")
    (place / "cpuset.mems").write_text("0\n")
    run(host, record, journal, "/pods/web").close()
    assert (place / "pods/web/cpuset.cpus").read_text() == "0-3"
    assert (place / "pods/web/cpuset.mems").read_text() == "0"


def test_modes_do_not_depend_on_the_umask(host: Host, record: Record, journal: Entries) -> None:
    import os

    place = host.mount("pids", "pids")
    old = os.umask(0o077)
    try:
        run(host, record, journal, "/web").close()
    finally:
        os.umask(old)
    assert (place / "web").stat().st_mode & 0o777 == 0o755


def test_no_hierarchy_is_an_error_unless_unprivileged_without_a_path(
    host: Host, record: Record, journal: Entries
) -> None:
    host.write()
    with pytest.raises(PlatformError, match="no cgroup hierarchy is mounted"):
        run(host, record, journal, "/web")
    with pytest.raises(PlatformError):
        run(host, record, journal, "", explicit=False)
    run(host, record, journal, "", explicit=False, unprivileged=True).close()
    assert "cgroups" not in record.kernel


def test_denied_cgroups_are_tolerated_only_without_an_explicit_path(
    host: Host, record: Record, journal: Entries, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.mount("unified")

    def deny(name: str, mode: int, *, dir_fd: int) -> None:
        raise PermissionError(13, "denied")

    monkeypatch.setattr("orlop_linux.kernel.cgroups.create.make_directory", deny)
    run(host, record, journal, "", explicit=False, unprivileged=True).close()
    assert record.kernel["cgroups"] == []
    with pytest.raises(StepError, match="permission denied"):
        run(host, record, journal, "/web", unprivileged=True)


def adopt(host: Host, record: Record, journal: Entries) -> Cgroups:
    cgroups = Cgroups(find_hierarchies(proc=str(host.proc)))
    step = CreateScope(because="/linux/cgroupsPath", unit="web.scope")
    path = "/system.slice/web.scope"
    cgroups.adopt(step, path, "cgroups", record, journal, controllers=("memory",), carrier=7)
    return cgroups


def test_a_scopes_cgroup_is_taken_as_it_is(host: Host, record: Record, journal: Entries) -> None:
    top = host.mount("unified")
    for place in (top / "system.slice", top / "system.slice/web.scope"):
        place.mkdir()
        fill(place, unified=(place.parent / "cgroup.controllers").exists())
    (top / "system.slice/web.scope/cgroup.procs").write_text("7\n")
    with closing(adopt(host, record, journal)) as made:
        assert made.unified is not None
        assert made.unified.group.path == "/system.slice/web.scope"
    assert journal == []
    assert (top / "cgroup.subtree_control").read_text() == "+memory"
    assert [one["path"] for one in record.kernel["cgroups"]] == ["/system.slice/web.scope"]


def test_what_systemd_does_not_make_is_made_beside_it(host: Host, record: Record, journal: Entries) -> None:
    pids, named = host.mount("pids", "pids"), host.mount("systemd", "name=systemd")
    for place in (named / "system.slice", named / "system.slice/web.scope"):
        place.mkdir()
        fill(place, unified=(place.parent / "cgroup.controllers").exists())
    (named / "system.slice/web.scope/cgroup.procs").write_text("7\n")
    adopt(host, record, journal).close()
    assert (pids / "system.slice/web.scope").is_dir()
    ((kind, data),) = journal
    assert kind == "cgroup"
    assert [tree["mount"] for tree in data["trees"]] == [str(pids)]


def test_a_scope_with_others_in_it_is_refused(host: Host, record: Record, journal: Entries) -> None:
    top = host.mount("unified")
    for place in (top / "system.slice", top / "system.slice/web.scope"):
        place.mkdir()
        fill(place, unified=(place.parent / "cgroup.controllers").exists())
    (top / "system.slice/web.scope/cgroup.procs").write_text("7\n8\n")
    with pytest.raises(StepError, match="in use by 1 processes, such as 8"):
        adopt(host, record, journal)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {"mount": "/sys/fs/cgroup/pids", "path": "/", "version": 1},
        {"mount": "/sys/fs/cgroup/pids", "path": "/..", "version": 1},
        {"mount": "/sys/fs/cgroup/pids", "path": "/a/../b", "version": 1},
        {"mount": "/sys/fs/cgroup/pids", "path": "a", "version": 1},
        {"mount": "/sys/fs/cgroup/pids", "path": "/a\0", "version": 1},
        {"mount": "/sys/../etc", "path": "/a", "version": 1},
        {"mount": "/", "path": "/a", "version": 1},
        {"mount": "/sys/fs/cgroup/pids", "path": "/a", "version": 3},
        {"mount": "/sys/fs/cgroup/pids", "path": "/a", "version": 1, "controllers": [1]},
        {"mount": 5, "path": "/a", "version": 1},
    ],
)
def test_forged_cgroups_are_refused(data: object) -> None:
    with pytest.raises(StoreError):
        parse_group(data)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("cgroup", {}),
        ("cgroup", {"trees": [{"mount": "/x", "path": "/", "version": 1, "kept": 0}]}),
        ("cgroup", {"trees": [{"mount": "/x", "path": "/a", "version": 1, "kept": -1}]}),
        ("cgroup", {"trees": [{"mount": "/x", "path": "/a", "version": 1}]}),
        ("process", {"pid": "1", "start_time": 0}),
        ("process", {"pid": True, "start_time": 0}),
        ("rm -rf", {"path": "/"}),
        ("resctrl", {"root": "relative", "group": ["a"]}),
        ("resctrl", {"root": "/sys/../etc", "group": ["a"]}),
        ("resctrl", {"root": "/sys/fs/resctrl", "group": ["info"]}),
        ("resctrl", {"root": "/sys/fs/resctrl", "group": ["a", "b"]}),
        ("resctrl", {"root": "/sys/fs/resctrl", "group": ["a", "mon_groups", ".."]}),
        ("resctrl", {"root": "/sys/fs/resctrl", "group": ["../a"]}),
        ("resctrl", {"root": "/sys/fs/resctrl", "group": []}),
    ],
)
def test_forged_journal_entries_are_refused(record: Record, kind: str, data: dict[str, object]) -> None:
    with pytest.raises(StoreError):
        undo(record, kind, data, Ends())


def test_a_directory_that_is_no_cgroup_is_never_removed(host: Host, record: Record) -> None:
    (host.root / "home/precious").mkdir(parents=True)
    data = {"trees": [{"mount": str(host.root / "home"), "path": "/precious", "version": 1, "kept": 0}]}
    with pytest.raises(StoreError, match="no cgroup"):
        undo(record, "cgroup", data, Ends())
    assert (host.root / "home/precious").is_dir()


def test_an_absolute_path_is_absolute_also_when_the_plan_chose_it(
    host: Host, record: Record, journal: Entries
) -> None:
    place = host.mount("pids", "pids", own="/user/me")
    run(host, record, journal, "/orlop/web", explicit=False).close()
    assert (place / "orlop/web").is_dir()
