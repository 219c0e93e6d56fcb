"""Namespaces of all eight kinds: new ones, joined ones, and what is not a namespace."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.linux.child.support import PATIENCE, Box, environment_of, fds_of, namespaces_of, status_of

import orlop
from orlop_linux.kernel.cgroups.session import Session

ALL = ("cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts")
FILES = {kind: {"mount": "mnt", "network": "net"}.get(kind, kind) for kind in ALL}
MAPPING = [{"containerID": 0, "hostID": 100000, "size": 65536}]


def listed(*kinds: str, **paths: str) -> list[dict[str, str]]:
    """Return ``linux.namespaces`` with new *kinds* and joined *paths*."""
    new = [{"type": kind} for kind in kinds]
    return [*new, *({"type": kind, "path": path} for kind, path in paths.items())]


def namespaces(*kinds: str, **paths: str) -> dict[str, Any]:
    """Return the ``linux`` object for these namespaces; a new user namespace gets mappings."""
    made: dict[str, Any] = {"namespaces": listed(*kinds, **paths)}
    if "user" in kinds:
        made |= {"uidMappings": MAPPING, "gidMappings": MAPPING}
    return made


@pytest.fixture
def owner(box: Box) -> Iterator[int]:
    """Return a process that has namespaces of its own of every kind but user."""
    made = box.start(box.config(linux=namespaces(*(kind for kind in ALL if kind != "user"))), "owner")
    yield made.pid
    made.delete(force=True)


@pytest.mark.parametrize("kind", ALL)
def test_new_one(box: Box, kind: str) -> None:
    if kind == "user":
        os.chmod(box.place, 0o755)  # noqa: S103 - the mapped root has to reach the bundle
    pid = box.start(box.config(linux=namespaces(*{"mount", "pid", kind}))).pid
    mine, its = namespaces_of("self"), namespaces_of(pid)
    changed = {name for name in mine if mine[name] != its[name]}
    assert changed == {FILES[one] for one in ("mount", "pid", kind)}


def test_all_at_once(box: Box) -> None:
    linux = namespaces(*ALL) | {"timeOffsets": {"boottime": {"secs": 1000}}}
    pid = box.start(box.config(linux=linux)).pid
    mine, its = namespaces_of("self"), namespaces_of(pid)
    assert [name for name in mine if mine[name] == its[name]] == []
    assert status_of(pid)["NSpid"].split() == [str(pid), "1"]


def test_network_has_a_loopback_that_is_up(box: Box) -> None:
    ended = box.run(box.script("busybox ip addr show lo", linux=namespaces("pid", "mount", "network")))
    assert "UP" in ended.output
    assert "127.0.0.1/8" in ended.output


def test_user_mappings(box: Box) -> None:
    pid = box.start(box.config(process={"user": {"uid": 7, "gid": 8}}, linux=namespaces(*ALL))).pid
    for name in ("uid_map", "gid_map"):
        assert Path(f"/proc/{pid}/{name}").read_text().split() == ["0", "100000", "65536"]
    assert status_of(pid)["Uid"].split() == ["100007"] * 4
    assert status_of(pid)["Gid"].split() == ["100008"] * 4


def test_two_mappings(box: Box) -> None:
    maps = [
        {"containerID": 0, "hostID": 100000, "size": 10},
        {"containerID": 1000, "hostID": 300000, "size": 5},
    ]
    linux = namespaces("pid", "mount", "user") | {"uidMappings": maps, "gidMappings": maps}
    pid = box.start(box.config(process={"user": {"uid": 1004, "gid": 1001}}, linux=linux)).pid
    assert status_of(pid)["Uid"].split() == ["300004"] * 4
    assert status_of(pid)["Gid"].split() == ["300001"] * 4


def test_time_offsets_are_visible(box: Box) -> None:
    offsets = {"boottime": {"secs": 500_000_000}, "monotonic": {"secs": 400_000_000, "nanosecs": 5}}
    linux = namespaces("pid", "mount", "time") | {"timeOffsets": offsets}
    made = box.start(box.config(linux=linux))
    text = Path(f"/proc/{made.pid}/timens_offsets").read_text().split()
    assert text == ["monotonic", "400000000", "5", "boottime", "500000000", "0"]
    made.delete(force=True)
    ended = box.run(box.script("cat /proc/uptime", linux=linux))
    assert float(ended.output.split()[0]) > 500_000_000


def test_cgroup_namespace_is_rooted_at_the_containers_cgroup(box: Box) -> None:
    ended = box.run(box.script("cat /proc/self/cgroup", linux=namespaces("pid", "mount", "cgroup")))
    assert {line.split(":", 2)[2] for line in ended.output.splitlines()} == {"/"}


@pytest.mark.every_lane
def test_without_a_cgroup_namespace_the_path_is_the_hosts(box: Box) -> None:
    ended = box.run(box.script("cat /proc/self/cgroup"))
    paths = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in ended.output.splitlines()}
    assert paths["pids" if "pids" in paths else ""] == f"{box.cgroup}/box"


@pytest.mark.every_lane
def test_a_joined_cgroup_namespace_beside_a_new_user_namespace(box: Box, owner: int) -> None:
    os.chmod(box.place, 0o755)  # noqa: S103 - the mapped root has to reach the bundle
    linux = namespaces("mount", "pid", "user", cgroup=f"/proc/{owner}/ns/cgroup")
    made = box.start(box.config(linux=linux), "joined")
    assert namespaces_of(made.pid)["cgroup"] == namespaces_of(owner)["cgroup"]
    groups = Path(f"/proc/{made.pid}/cgroup").read_text()
    assert f"{box.cgroup}/joined" in groups
    assert made.processes() == [made.pid]
    made.delete(force=True)


_EVERY_LANE = {"cgroup": [pytest.mark.every_lane]}


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=_EVERY_LANE.get(kind, [])) for kind in ALL if kind not in {"mount", "user"}],
)
def test_joined(box: Box, owner: int, kind: str) -> None:
    new = [one for one in ("mount", "pid") if one != kind]
    linux = namespaces(*new, **{kind: f"/proc/{owner}/ns/{FILES[kind]}"})
    made = box.start(box.config(linux=linux), "joined")
    mine, its = namespaces_of(owner), namespaces_of(made.pid)
    assert its[FILES[kind]] == mine[FILES[kind]]
    assert {name for name in mine if mine[name] == its[name]} - set(same_as_the_host(made.pid)) == {
        FILES[kind]
    }
    made.delete(force=True)


def same_as_the_host(pid: int) -> list[str]:
    mine, its = namespaces_of("self"), namespaces_of(pid)
    return [name for name in mine if mine[name] == its[name]]


@pytest.mark.every_lane
def test_joined_all_together_in_any_order(box: Box, owner: int) -> None:
    kinds = ("uts", "time", "pid", "network", "ipc", "cgroup")
    paths = {kind: f"/proc/{owner}/ns/{FILES[kind]}" for kind in kinds}
    made = box.start(box.config(linux=namespaces("mount", **paths)), "b")
    mine, its = namespaces_of(owner), namespaces_of(made.pid)
    assert {name for name in mine if mine[name] != its[name]} == {"mnt"}
    made.delete(force=True)


def test_joined_user_namespace_with_those_it_owns(box: Box) -> None:
    owner = box.start(box.config(linux=namespaces(*ALL)), "owner")
    kinds = ("user", "network", "ipc", "uts", "pid")
    paths = {kind: f"/proc/{owner.pid}/ns/{FILES[kind]}" for kind in kinds}
    linux = namespaces("mount", **paths)
    config = box.config(process={"user": {"uid": 3, "gid": 4}}, linux=linux)
    made = box.start(config, "b")
    mine, its = namespaces_of(owner.pid), namespaces_of(made.pid)
    assert {name for name in mine if mine[name] == its[name]} >= {FILES[kind] for kind in kinds}
    assert status_of(made.pid)["Uid"].split()[0] == "100003"
    made.delete(force=True)


def test_joined_mount_namespace(box: Box, owner: int) -> None:
    paths = {"mount": f"/proc/{owner}/ns/mnt", "pid": f"/proc/{owner}/ns/pid"}
    config = box.config(mounts=[], linux=namespaces(**paths))
    try:
        made = box.start(config, "b")
    except orlop.ConfigError:
        pytest.skip("the planners refuse to join a mount namespace")
    assert namespaces_of(made.pid)["mnt"] == namespaces_of(owner)["mnt"]
    made.delete(force=True)


def test_joined_pid_namespace_is_killed_as_a_whole(box: Box, owner: int) -> None:
    linux = namespaces("mount", pid=f"/proc/{owner}/ns/pid")
    made = box.start(box.script("sleep 1000 & echo; sleep 1000", linux=linux), "b")
    assert status_of(made.pid)["NSpid"].split()[-1] != "1"
    made.kill(signal.SIGKILL)
    made.wait(PATIENCE)
    made.delete()
    assert box.runtime.get("owner").status == "running"


WRONG = {
    "another kind": ("/proc/self/ns/ipc", "another kind"),
    "regular file": ("{place}/file", "not a namespace"),
    "fifo": ("{place}/fifo", "not a namespace"),
    "directory": ("{place}", "not a namespace"),
    "missing": ("{place}/missing", "no such file"),
    "procfs file": ("/proc/self/status", "not a namespace"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_path_that_is_no_such_namespace(box: Box, tmp_path: Path, case: str) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo")
    path, text = WRONG[case]
    path = path.format(place=tmp_path)
    with pytest.raises(orlop.StepError, match=text) as caught:
        box.create(box.config(linux=namespaces("mount", "pid", network=path)))
    assert caught.value.pointer == "/linux/namespaces/2"
    assert caught.value.plugin == "namespaces"
    assert path in str(caught.value)
    assert box.left() == []


def test_what_is_no_namespace_is_not_even_opened(box: Box, tmp_path: Path) -> None:
    """Whoever opens a FIFO for reading lets a writer go on: nobody may be woken by a config."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(orlop.StepError, match="not a namespace"):
        box.create(box.config(linux=namespaces("mount", "pid", ipc=str(fifo))))
    with pytest.raises(OSError, match="No such device"):
        os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    with pytest.raises(orlop.StepError, match="not a namespace"):
        box.create(box.config(linux=namespaces("mount", "pid", ipc="/dev/tty")))
    assert box.left() == []


def test_a_link_to_a_namespace_is_one(box: Box, owner: int, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(f"/proc/{owner}/ns/ipc")
    made = box.start(box.config(linux=namespaces("mount", "pid", ipc=str(tmp_path / "link"))), "b")
    assert namespaces_of(made.pid)["ipc"] == namespaces_of(owner)["ipc"]
    made.delete(force=True)


@pytest.mark.parametrize("kind", ["ipc", "network"])
def test_what_was_verified_is_what_is_joined(
    box: Box, owner: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The path is of something else by the time the process is made."""
    link, other = tmp_path / "link", tmp_path / "other"
    link.symlink_to(f"/proc/{owner}/ns/{FILES[kind]}")
    other.symlink_to("/dev/null")
    birth = Session.birth

    def exchange(session: Session) -> tuple[int | None, list[int]]:
        other.replace(link)
        return birth(session)

    monkeypatch.setattr(Session, "birth", exchange)
    before = fds_of("self")
    made = box.start(box.config(linux=namespaces("mount", "pid", **{kind: str(link)})), "b")
    assert os.readlink(link) == "/dev/null"
    assert namespaces_of(made.pid)[FILES[kind]] == namespaces_of(owner)[FILES[kind]]
    made.delete(force=True)
    assert fds_of("self") == before


def test_a_refused_creation_keeps_no_namespace_open(box: Box, owner: int) -> None:
    before, left = fds_of("self"), box.left()
    paths = {"ipc": f"/proc/{owner}/ns/ipc", "network": f"/proc/{owner}/ns/uts"}
    with pytest.raises(orlop.StepError, match="cannot join the network namespace"):
        box.create(box.config(linux=namespaces("mount", "pid", **paths)))
    changes = namespaces("mount", "pid", ipc=paths["ipc"], uts=f"/proc/{os.getpid()}/ns/uts")
    with pytest.raises(orlop.StepError, match="is the runtime's own"):
        box.create(box.config(linux=changes, hostname="taken"))
    assert fds_of("self") == before
    assert box.left() == left


def test_namespaces_of_a_process_that_is_gone(box: Box) -> None:
    made = box.start(box.config(linux=namespaces("mount", "pid")), "gone")
    path = f"/proc/{made.pid}/ns/pid"
    with open(path, "rb") as kept:
        made.delete(force=True)
        with pytest.raises(orlop.StepError, match="no such file"):
            box.create(box.config(linux=namespaces("mount", pid=path)))
        still = f"/proc/{os.getpid()}/fd/{kept.fileno()}"
        with pytest.raises(orlop.StepError, match="cannot allocate memory") as caught:
            box.create(box.config(linux=namespaces("mount", pid=still)))
    assert "whose first process has ended" in caught.value.hint
    assert box.left() == []


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind != "mount"])
def test_a_path_of_the_runtimes_own_namespace_is_as_no_entry(box: Box, kind: str) -> None:
    path = f"/proc/{os.getpid()}/ns/{FILES[kind]}"
    new = [one for one in ("mount", "pid") if one != kind]
    made = box.start(box.config(linux=namespaces(*new, **{kind: path})), "own")
    assert namespaces_of(made.pid)[FILES[kind]] == namespaces_of("self")[FILES[kind]]
    made.delete(force=True)


CHANGES: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "hostname": ("uts", {"hostname": "taken"}, {}, "/hostname"),
    "domainname": ("uts", {"domainname": "taken"}, {}, "/domainname"),
    "ipc parameter": ("ipc", {}, {"sysctl": {"kernel.msgmax": "4321"}}, "/linux/sysctl/kernel.msgmax"),
    "network parameter": (
        "network",
        {},
        {"sysctl": {"net.ipv4.ip_forward": "1"}},
        "/linux/sysctl/net.ipv4.ip_forward",
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_nothing_of_the_runtimes_own_namespaces_is_changed(box: Box, case: str) -> None:
    """Not by any path to them: this one does not look like the host's."""
    kind, top, linux, pointer = CHANGES[case]
    names = ("/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/msgmax", "/proc/sys/kernel/domainname")
    before = [os.uname().nodename, *(Path(name).read_text() for name in names)]
    path = f"/proc/{os.getpid()}/ns/{FILES[kind]}"
    config = box.config(linux=namespaces("mount", "pid", **{kind: path}) | linux)
    with pytest.raises(orlop.StepError, match="the runtime's own") as caught:
        box.create(config | top)
    assert caught.value.pointer == pointer
    assert [os.uname().nodename, *(Path(name).read_text() for name in names)] == before
    assert box.left() == []


def test_names_and_parameters_of_a_namespace_that_is_shared(box: Box, owner: int) -> None:
    paths = {kind: f"/proc/{owner}/ns/{FILES[kind]}" for kind in ("uts", "ipc")}
    linux = namespaces("mount", "pid", **paths) | {"sysctl": {"kernel.msgmax": "4321"}}
    made = box.start(box.config(linux=linux) | {"hostname": "shared"}, "b")
    assert Path(f"/proc/{made.pid}/root/proc/sys/kernel/hostname").exists()
    made.delete(force=True)
    shown = box.run(
        box.script("hostname; cat /proc/sys/kernel/msgmax", linux=namespaces("mount", "pid", **paths))
    )
    assert shown.output.split() == ["shared", "4321"]
    assert os.uname().nodename != "shared"


def test_a_joined_user_namespace_with_new_ones_that_it_owns(box: Box) -> None:
    owner = box.start(box.config(linux=namespaces("user", "mount", "pid")), "owner")
    new = ("mount", "pid", "network", "ipc", "uts", "cgroup", "time")
    linux = namespaces(*new, user=f"/proc/{owner.pid}/ns/user")
    made = box.start(box.config(linux=linux) | {"hostname": "inner"}, "b")
    mine, its = namespaces_of(owner.pid), namespaces_of(made.pid)
    assert {name for name in mine if mine[name] == its[name]} == {"user"}
    assert status_of(made.pid)["Uid"].split()[0] == "100000"
    made.delete(force=True)


def test_two_containers_share_what_one_has(box: Box) -> None:
    """As the containers of a pod do: network, ipc and uts are shared, processes and mounts are not."""
    first = box.start(box.config(linux=namespaces(*NEW)) | {"hostname": "pod"}, "first")
    kinds = ("network", "ipc", "uts")
    paths = {kind: f"/proc/{first.pid}/ns/{FILES[kind]}" for kind in kinds}
    second = box.start(box.config(linux=namespaces("mount", "pid", **paths)), "second")
    first.delete(force=True)
    assert second.status == "running"
    third = {kind: f"/proc/{second.pid}/ns/{FILES[kind]}" for kind in kinds}
    shown = box.run(box.script("hostname", linux=namespaces("mount", "pid", **third)))
    assert shown.output.split() == ["pod"]
    second.delete(force=True)


NEW = ("mount", "pid", "network", "ipc", "uts")


def test_mappings_without_a_root(box: Box) -> None:
    maps = [{"containerID": 1000, "hostID": 100000, "size": 10}]
    linux = namespaces("mount", "pid") | {"uidMappings": maps, "gidMappings": maps}
    linux["namespaces"].append({"type": "user"})
    config = box.script("id -u; id -g; echo x >/tmp/x; stat -c %u:%g /tmp/x", linux=linux)
    config["process"]["user"] = {"uid": 1003, "gid": 1004}
    config["mounts"].append(
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]}
    )
    assert box.run(config).output.split() == ["1003", "1004", "1003:1004"]


def test_as_many_mappings_as_the_kernel_takes(box: Box) -> None:
    maps = [{"containerID": number, "hostID": 100000 + 2 * number, "size": 1} for number in range(240)]
    linux = namespaces("mount", "pid") | {"uidMappings": maps, "gidMappings": maps}
    linux["namespaces"].append({"type": "user"})
    pid = box.start(box.config(linux=linux)).pid
    assert len(Path(f"/proc/{pid}/uid_map").read_text().splitlines()) == 240
    many = [one | {"hostID": 4_000_000_000 + 2 * number} for number, one in enumerate(maps * 2)][:340]
    for number, one in enumerate(many):
        one["containerID"] = 1_000_000_000 + 2 * number if number else 0
    linux["uidMappings"] = many
    with pytest.raises(orlop.StepError, match="cannot write uid_map") as caught:
        box.create(box.config(linux=linux), "many")
    assert "less than" in caught.value.hint


def test_a_mapping_that_the_kernel_refuses(box: Box) -> None:
    maps = [{"containerID": 0, "hostID": 4294967294, "size": 5}]
    linux = namespaces("pid", "mount", "user") | {"uidMappings": maps}
    with pytest.raises(orlop.OrlopError) as caught:
        box.create(box.config(linux=linux))
    assert caught.value.pointer.startswith("/linux/uidMappings")
    assert box.left() == []


def test_environment_of_the_waiting_child_is_empty_of_the_runtimes(box: Box) -> None:
    os.environ["ORLOP_CANARY"] = "runtime"
    try:
        made = box.create()
        assert not any("CANARY" in entry for entry in environment_of(made.pid))
    finally:
        del os.environ["ORLOP_CANARY"]
