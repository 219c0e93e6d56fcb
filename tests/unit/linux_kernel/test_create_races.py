"""Two creations that ask for one cgroup, at the same moment or one by one, on a model of cgroupfs."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest
from tests.unit.linux_kernel.conftest import fill
from tests.unit.linux_kernel.test_create import run, undo_all

from orlop_hookspecs.errors import StepError
from orlop_hookspecs.steps import JoinCgroup
from orlop_linux.kernel.cgroups import create, marks

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.linux_kernel.conftest import Entries, Host

    from orlop_hookspecs.record import Record


def test_lost_race_is_not_undone(
    host: Host, record: Record, journal: Entries, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = host.mount("pids", "pids")

    def make(name: str, mode: int, *, dir_fd: int) -> None:
        (place / "web").mkdir()
        (place / "web/cgroup.procs").write_text("")
        raise FileExistsError(17, "File exists")

    monkeypatch.setattr("orlop_linux.kernel.cgroups.create.make_directory", make)
    with pytest.raises(StepError, match="file exists"):
        run(host, record, journal, "/web")
    undo_all(record, journal)
    assert (place / "web").is_dir()


def test_who_loses_a_race_leaves_the_winner_alone_in_every_hierarchy(
    host: Host, record: Record, journal: Entries, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [host.mount("pids", "pids"), host.mount("memory", "memory"), host.mount("unified")]
    made = create.make_directory

    def race(name: str, mode: int, *, dir_fd: int) -> None:
        monkeypatch.setattr(create, "make_directory", made)
        for number, place in enumerate(places):
            (place / name).mkdir(mode)
            fill(place / name, unified=number == 2)
        made(name, mode, dir_fd=dir_fd)

    monkeypatch.setattr(create, "make_directory", race)
    with pytest.raises(StepError, match="file exists"):
        run(host, record, journal, "/web")
    undo_all(record, journal)
    assert all((place / "web").is_dir() for place in places)


def test_what_a_race_leaves_behind_between_two_tries_is_the_winners(
    host: Host, record: Record, journal: Entries, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = host.mount("pids", "pids"), host.mount("memory", "memory")
    made = create.make_directory
    calls = []

    def race(name: str, mode: int, *, dir_fd: int) -> None:
        calls.append(name)
        if len(calls) == 2:
            (second / name).mkdir(mode)
            fill(second / name, unified=False)
            raise FileNotFoundError(2, "No such file or directory")
        made(name, mode, dir_fd=dir_fd)

    monkeypatch.setattr(create, "make_directory", race)
    run(host, record, journal, "/web").close()
    undo_all(record, journal)
    assert not (first / "web").exists()
    assert (second / "web").is_dir()


def test_a_cgroup_of_another_container_is_refused_until_that_one_is_gone(
    host: Host, record: Record, journal: Entries, tmp_path: Path
) -> None:
    place = host.mount("pids", "pids")
    record.directory = str(tmp_path / "first")
    (tmp_path / "first").mkdir()
    run(host, record, journal, "/web").close()
    run(host, record, journal, "/web").close()
    record.directory = str(tmp_path / "second")
    with pytest.raises(StepError, match="the cgroup is that of the container first") as caught:
        run(host, record, journal, "/web")
    assert (caught.value.errno, caught.value.pointer) == (errno.EBUSY, "/linux/cgroupsPath")
    (tmp_path / "first").rmdir()
    run(host, record, journal, "/web").close()
    assert (place / "web").is_dir()


def test_a_killed_creation_leaves_alone_what_another_one_has_made_since(
    host: Host, record: Record, journal: Entries, tmp_path: Path
) -> None:
    place = host.mount("pids", "pids")
    record.directory = str(tmp_path / "killed")
    run(host, record, journal, "/web").close()
    (tmp_path / "other").mkdir()
    fd = os.open(place / "web", os.O_RDONLY)
    marks.mark_owner(fd, str(tmp_path / "other"))
    os.close(fd)
    record.phase = "creating"
    undo_all(record, journal)
    assert (place / "web").is_dir()
    (tmp_path / "other").rmdir()
    undo_all(record, journal)
    assert not (place / "web").exists()


def test_a_cgroup_that_was_made_after_a_look_is_refused_once_the_process_is_in_it(
    host: Host, record: Record, journal: Entries, tmp_path: Path
) -> None:
    place = host.mount("pids", "pids")
    (place / "web").mkdir()
    fill(place / "web", unified=False)
    cgroups = run(host, record, journal, "/web")
    step = JoinCgroup(because="/linux/cgroupsPath")
    cgroups.require_own(step, "cgroups", record)
    (tmp_path / "other").mkdir()
    marks.mark_owner(cgroups.open_groups[0].fd, str(tmp_path / "other"))
    with pytest.raises(StepError, match="the cgroup is that of the container other"):
        cgroups.require_own(step, "cgroups", record)
    cgroups.close()
