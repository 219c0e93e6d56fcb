"""Detection of cgroup hierarchies from mountinfo."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orlop_linux.kernel.cgroups.hierarchies import find_hierarchies, is_unified

if TYPE_CHECKING:
    from tests.unit.linux_kernel.conftest import Host


def test_v1_lists_each_hierarchy_with_its_controllers(host: Host) -> None:
    host.mount("cpu,cpuacct", "cpu,cpuacct", own="/pods/a")
    host.mount("systemd", "name=systemd", own="/user")
    found = {one.shown_as: one for one in find_hierarchies(proc=str(host.proc))}
    assert found["cpu,cpuacct"].controllers == ("cpu", "cpuacct")
    assert found["cpu,cpuacct"].own == ("pods", "a")
    assert found["systemd"].named
    assert not found["cpu,cpuacct"].named
    assert not is_unified(list(found.values()))


def test_v2_alone_is_unified(host: Host) -> None:
    host.mount("unified", own="/user.slice/session")
    (only,) = find_hierarchies(proc=str(host.proc))
    assert (only.version, only.own) == (2, ("user.slice", "session"))
    assert is_unified([only])


def test_v2_beside_a_named_v1_hierarchy_is_still_unified(host: Host) -> None:
    host.mount("unified")
    host.mount("systemd", "name=systemd")
    found = find_hierarchies(proc=str(host.proc))
    assert [one.version for one in found] == [1, 2]
    assert is_unified(found)


def test_hybrid_is_not_unified(host: Host) -> None:
    host.mount("unified")
    host.mount("pids", "pids")
    assert not is_unified(find_hierarchies(proc=str(host.proc)))


def test_a_hierarchy_that_is_mounted_twice_counts_once(host: Host) -> None:
    first = host.mount("pids", "pids")
    host.mount("again", "pids")
    assert [one.mount for one in find_hierarchies(proc=str(host.proc))] == [str(first)]


def test_a_mount_that_another_one_hides_is_passed_over(host: Host) -> None:
    hidden = host.mount("pids", "pids")
    text = (host.proc / "mountinfo").read_text()
    major_minor = text.splitlines()[-1].split()[2]
    (host.proc / "mountinfo").write_text(text.replace(f"{major_minor} / {hidden}", f"0:4095 / {hidden}"))
    assert find_hierarchies(proc=str(host.proc)) == []


def test_only_mounts_below_the_root_option_are_used(host: Host) -> None:
    host.mount("pids", "pids")
    inside = host.root / "mine"
    inside.mkdir()
    host.mount("mine/memory", "memory")
    assert [one.mount for one in find_hierarchies(str(inside), str(host.proc))] == [str(inside / "memory")]


def test_an_octal_escape_in_a_mount_point_is_undone(host: Host) -> None:
    place = host.mount("with space", "pids")
    assert [one.mount for one in find_hierarchies(proc=str(host.proc))] == [str(place)]


@pytest.mark.parametrize(
    ("own", "inside", "expected"),
    [
        ("/docker/abc", "/docker/abc", ()),
        ("/docker/abc/sub", "/docker/abc", ("sub",)),
        ("/docker/abcd", "/docker/abc", ()),
        ("/../other", "/", ()),
        ("/", "/..", ()),
    ],
)
def test_own_cgroup_is_relative_to_what_is_mounted(
    host: Host, own: str, inside: str, expected: tuple[str, ...]
) -> None:
    host.mount("pids", "pids", own=own, inside=inside)
    assert find_hierarchies(proc=str(host.proc))[0].own == expected
