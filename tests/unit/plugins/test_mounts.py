"""Plugin mounts: destinations, options, kinds of mounts, id maps, remounts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.plugins.support import call, config, namespaces, objections, pointers, steps

from orlop_hookspecs.steps import MountBind, MountCgroup, MountFilesystem, MountProc, MountSysfs, Step
from orlop_linux.plugins.mount_options import ACCESS_TIMES, KNOWN, MountOptions

# The table of config.md, "Linux mount options" (1.3.0), and rnodev, which only features.md names.
TABLE = [
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "strictatime",
    "suid",
    "symfollow",
    "sync",
    "tmpcopyup",
    "unbindable",
    "idmap",
    "ridmap",
]

IDS = [{"containerID": 0, "hostID": 5, "size": 1}]


def mounted(*mounts: dict[str, Any], **linux: Any) -> list[Step]:
    return steps("mounts", config(mounts=list(mounts), linux=linux))


def refused(*mounts: dict[str, Any], **linux: Any) -> list[str]:
    return pointers("mounts", config(mounts=list(mounts), linux=linux))


def tmpfs(*options: str) -> MountFilesystem:
    (step,) = mounted({"destination": "/t", "type": "tmpfs", "options": list(options)})
    assert isinstance(step, MountFilesystem)
    return step


def bind(*options: str) -> MountBind:
    (step,) = mounted({"destination": "/b", "source": "/src", "options": list(options)})
    assert isinstance(step, MountBind)
    return step


def test_the_features_list_the_specifications_table() -> None:
    features = call("mounts", "orlop_features")
    assert list(features["mountOptions"]) == sorted(TABLE)
    assert features["linux.mountExtensions.idmap.enabled"] is True


def test_a_file_system() -> None:
    options = ["nosuid", "strictatime", "mode=755", "size=65536k"]
    planned = mounted({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": options})
    assert planned == [
        MountFilesystem(
            because="/mounts/0",
            destination="/dev",
            type="tmpfs",
            source="tmpfs",
            attributes=("nosuid", "strictatime"),
            data=("mode=755", "size=65536k"),
        )
    ]


def test_special_file_systems_have_their_own_steps() -> None:
    planned = mounted(
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["hidepid=2", "nosuid"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro", "rprivate"]},
        {
            "destination": "/sys/fs/cgroup",
            "type": "cgroup",
            "source": "cgroup",
            "options": ["ro", "relatime"],
        },
        namespaces=namespaces("network"),
    )
    assert planned == [
        MountProc(because="/mounts/0", destination="/proc", attributes=("nosuid",), data=("hidepid=2",)),
        MountSysfs(because="/mounts/1", destination="/sys", attributes=("ro",), propagation=("rprivate",)),
        MountCgroup(because="/mounts/2", destination="/sys/fs/cgroup", attributes=("ro", "relatime")),
    ]
    (own,) = mounted({"destination": "/c", "type": "cgroup"}, namespaces=namespaces("cgroup"))
    assert own == MountCgroup(because="/mounts/0", destination="/c", own_namespace=True)


def test_a_bind_mount() -> None:
    assert bind("rbind", "ro", "rslave") == MountBind(
        because="/mounts/0",
        destination="/b",
        source="/src",
        submounts=True,
        attributes=("ro",),
        propagation=("rslave",),
    )
    assert bind("bind").submounts is False
    assert bind("bind", "rbind").submounts is True
    assert bind("rbind", "bind").submounts is True


def test_sources_of_bind_mounts_are_relative_to_the_bundle() -> None:
    (step,) = mounted({"destination": "/b", "source": "a/../b", "type": "none", "options": ["bind"]})
    assert isinstance(step, MountBind)
    assert step.source == "/bundle/a/../b"
    (step,) = mounted({"destination": "/b", "source": "/abs", "type": "bind"})
    assert isinstance(step, MountBind)
    assert (step.source, step.submounts) == ("/abs", False)


@pytest.mark.parametrize(
    ("destination", "clean"),
    [
        ("/a/b", "/a/b"),
        ("a", "/a"),
        ("//a///b/", "/a/b"),
        ("/a/./b/../c", "/a/c"),
        ("/../a", "/a"),
        ("/" + "x" * 255, "/" + "x" * 255),
    ],
)
def test_destinations_are_cleaned(destination: str, clean: str) -> None:
    (step,) = mounted({"destination": destination, "type": "tmpfs"})
    assert isinstance(step, MountFilesystem)
    assert step.destination == clean


@pytest.mark.parametrize(
    "destination", ["", "/", ".", "..", "/a/..", "//", "/" + "x" * 256, "/" + "x/" * 2048, "/\u00e9" * 1400]
)
def test_destinations_that_cannot_be(destination: str) -> None:
    assert refused({"destination": destination, "type": "tmpfs"}) == ["/mounts/0/destination"]


@pytest.mark.parametrize(
    "mount",
    [
        {"destination": "/proc", "type": "tmpfs"},
        {"destination": "/proc", "type": "sysfs"},
        {"destination": "/dev/../proc", "type": "tmpfs"},
        {"destination": "proc//", "source": "/evil", "options": ["bind"]},
        {"destination": "/proc", "source": "proc", "options": ["bind"]},
        {"destination": "/proc", "source": "/proc/1", "options": ["rbind"]},
        {"destination": "/proc", "type": "proc", "source": "/evil", "options": ["rbind"]},
        {"destination": "/proc/self", "type": "tmpfs"},
        {"destination": "/proc/self/attr", "type": "tmpfs"},
        {"destination": "/proc//self/../1", "source": "/x", "options": ["bind"]},
        {"destination": "/proc/sys", "type": "proc"},
        {"destination": "/proc/cpuinfo/x", "type": "tmpfs"},
        {"destination": "/proc", "type": "cgroup"},
    ],
)
def test_the_procfs_stays_one(mount: dict[str, Any]) -> None:
    assert refused(mount) == ["/mounts/0/destination"]


@pytest.mark.parametrize(
    "mount",
    [
        {"destination": "/proc", "source": "/proc", "options": ["rbind", "nosuid"]},
        {"destination": "/proc", "source": "/proc/", "type": "bind"},
        {"destination": "/proc/cpuinfo", "source": "/lxcfs/cpuinfo", "options": ["bind"]},
        {"destination": "/proc/sys/kernel/ns_last_pid", "source": "/x", "options": ["bind"]},
        {"destination": "/processes", "type": "tmpfs"},
        {"destination": "/other/proc", "type": "proc"},
        {"destination": "/sys", "source": "/sys", "options": ["rbind", "ro"]},
    ],
)
def test_what_engines_do_with_procfs(mount: dict[str, Any]) -> None:
    assert len(mounted(mount)) == 1


@pytest.mark.parametrize(
    ("options", "attributes", "cleared"),
    [
        (["ro", "rw"], (), ("ro",)),
        (["rw", "ro"], ("ro",), ()),
        (["nosuid", "suid", "dev"], (), ("nosuid", "nodev")),
        (["noatime", "relatime"], ("relatime",), ()),
        (["strictatime", "noatime", "atime"], (), ("noatime",)),
        (["norelatime"], (), ("relatime",)),
        (["nosymfollow", "symfollow"], (), ("nosymfollow",)),
        (["defaults"], (), ()),
        (["", "ro", ""], ("ro",), ()),
    ],
)
def test_the_last_of_contradicting_options_counts(
    options: list[str], attributes: tuple[str, ...], cleared: tuple[str, ...]
) -> None:
    for step in (tmpfs(*options), bind("bind", *options)):
        assert (step.attributes, step.cleared) == (attributes, cleared)


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        (["sync", "dirsync"], ("sync", "dirsync")),
        (["sync", "async"], ()),
        (["lazytime", "mand", "iversion", "silent"], ("lazytime", "mand", "iversion", "silent")),
        (["lazytime", "nolazytime", "nomand", "noiversion", "loud"], ()),
    ],
)
def test_flags_of_the_superblock(options: list[str], flags: tuple[str, ...]) -> None:
    assert tmpfs(*options).superblock == flags


def test_read_only_is_the_superblocks_where_there_is_a_medium() -> None:
    (disk,) = mounted({"destination": "/d", "type": "ext4", "source": "/dev/sda1", "options": ["ro", "acl"]})
    assert disk == MountFilesystem(
        because="/mounts/0",
        destination="/d",
        type="ext4",
        source="/dev/sda1",
        attributes=("ro",),
        superblock=("ro",),
        data=("acl",),
    )
    assert tmpfs("ro").superblock == ()


@pytest.mark.parametrize(
    ("options", "recursive"),
    [
        (["rro"], (("ro", True),)),
        (["rro", "rrw"], (("ro", False),)),
        (["rnosuid", "rnodev", "rnoexec"], (("nosuid", True), ("nodev", True), ("noexec", True))),
        (["rsuid", "rdev", "rexec"], (("nosuid", False), ("nodev", False), ("noexec", False))),
        (["rnoatime", "rstrictatime"], (("strictatime", True),)),
        (["ratime", "rdiratime"], (("noatime", False), ("nodiratime", False))),
        (["rrelatime", "rnorelatime", "rnostrictatime"], (("relatime", False), ("strictatime", False))),
        (["rnosymfollow", "rsymfollow", "rnodiratime"], (("nosymfollow", False), ("nodiratime", True))),
    ],
)
def test_recursive_attributes(options: list[str], recursive: tuple[tuple[str, bool], ...]) -> None:
    assert bind("rbind", *options).recursive == recursive
    assert tmpfs(*options).recursive == recursive


@pytest.mark.parametrize(
    "option",
    ["private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable"],
)
def test_propagation(option: str) -> None:
    assert bind("bind", option).propagation == (option,)
    assert tmpfs("slave", option).propagation == ("slave", option)


def test_options_that_a_bind_mount_does_not_know() -> None:
    wrong = ["nosuchthing", "nosuid=1", "idmap=uids=0-0-1", "context=system_u", "=1"]
    mount = {"destination": "/b", "source": "/s", "options": ["bind", "", *wrong]}
    assert refused(mount) == [f"/mounts/0/options/{index}" for index in range(2, 7)]
    assert refused({"destination": "/b", "options": ["bind"]}) == ["/mounts/0/source"]
    assert refused({"destination": "/b", "source": "", "options": ["bind"]}) == ["/mounts/0/source"]


def test_what_a_bind_mount_ignores_is_no_error() -> None:
    """Config.md: unknown options are data of mount(2); mount(2): a bind mount ignores the data."""
    assert bind("bind", "ro", "mode=755", "size=1k") == bind("bind", "ro")


def test_file_systems_that_cannot_be() -> None:
    assert refused({"destination": "/b", "source": "/s"}) == ["/mounts/0/type"]
    assert refused({"destination": "/b", "source": "/s", "type": "none"}) == ["/mounts/0/type"]
    assert refused({"destination": "/c", "type": "cgroup", "options": ["memory"]}) == ["/mounts/0/options/0"]
    assert refused({"destination": "/c", "type": "cgroup2"}) == ["/mounts/0/type"]
    assert mounted({"destination": "/c", "type": "cgroup2"}, namespaces=namespaces("cgroup")) != []


def test_tmpcopyup_is_for_tmpfs() -> None:
    assert tmpfs("tmpcopyup").tmpcopyup is True
    assert refused({"destination": "/p", "type": "ramfs", "options": ["tmpcopyup"]}) == ["/mounts/0/options"]
    mount = {"destination": "/b", "source": "/s", "options": ["bind", "tmpcopyup"]}
    assert refused(mount) == ["/mounts/0/options"]


@pytest.mark.parametrize(
    ("options", "recursive"),
    [(["idmap"], False), (["ridmap"], True), (["ridmap", "idmap"], True), ([], False)],
)
def test_id_maps_of_a_mount(options: list[str], recursive: bool) -> None:
    mount = {
        "destination": "/b",
        "source": "/s",
        "options": ["bind", *options],
        "uidMappings": IDS,
        "gidMappings": IDS,
    }
    (step,) = mounted(mount)
    assert isinstance(step, MountBind)
    assert step.idmap == {"recursive": recursive, "uid": ((0, 5, 1),), "gid": ((0, 5, 1),)}


def test_id_maps_of_the_containers_user_namespace() -> None:
    mount = {"destination": "/b", "source": "/s", "options": ["rbind", "ridmap"]}
    for entries in (namespaces("user"), namespaces(user="/run/ns/u")):
        (step,) = mounted(mount, namespaces=entries)
        assert isinstance(step, MountBind)
        assert step.idmap == {"recursive": True, "uid": (), "gid": ()}
    assert refused(mount) == ["/mounts/0/options"]


def test_id_maps_that_cannot_be() -> None:
    base = {"destination": "/b", "source": "/s", "options": ["bind", "idmap"]}
    assert refused({**base, "uidMappings": IDS}) == ["/mounts/0/gidMappings"]
    assert refused({**base, "gidMappings": IDS}) == ["/mounts/0/uidMappings"]
    wrong = [{"containerID": 0, "hostID": 0, "size": 0}]
    both = {**base, "uidMappings": wrong, "gidMappings": IDS}
    assert refused(both) == ["/mounts/0/uidMappings/0/size"]
    proc = {
        "destination": "/proc",
        "type": "proc",
        "options": ["idmap"],
        "uidMappings": IDS,
        "gidMappings": IDS,
    }
    assert refused(proc) == ["/mounts/0/type"]


def test_a_remount_changes_the_mount_that_is_there() -> None:
    planned = mounted(
        {"destination": "/t", "type": "tmpfs", "options": ["nosuid"]},
        {"destination": "/b", "source": "/s", "options": ["rbind"]},
        {"destination": "/t/", "options": ["remount", "ro", "suid", "size=1m"]},
        {"destination": "/b", "options": ["remount", "bind", "ro"]},
    )
    assert planned == [
        MountFilesystem(
            because="/mounts/0",
            destination="/t",
            type="tmpfs",
            source="tmpfs",
            attributes=("ro",),
            cleared=("nosuid",),
            data=("size=1m",),
        ),
        MountBind(because="/mounts/1", destination="/b", source="/s", submounts=True, attributes=("ro",)),
    ]


def test_remounts_that_cannot_be() -> None:
    first = {"destination": "/b", "source": "/s", "options": ["bind"]}
    assert refused(first, {"destination": "/b", "options": ["remount", "size=1"]}) == ["/mounts/1/options/1"]
    ids = {"destination": "/b", "options": ["remount"], "uidMappings": IDS, "gidMappings": IDS}
    assert refused(first, ids) == ["/mounts/1"]
    assert refused({"destination": "/t", "options": ["remount", "ro"]}) == ["/mounts/0/type"]


def test_mounts_need_a_mount_namespace_that_can_be_changed() -> None:
    mounts = [{"destination": "/t", "type": "tmpfs"}]
    for entries in ([], [{"type": "mount", "path": "/run/ns/m"}]):
        shared = [*entries, {"type": "user"}]
        (problem,) = objections("mounts", config(mounts=mounts, linux={"namespaces": shared}))
        assert problem.pointer == "/mounts"
        assert objections("mounts", config(mounts=mounts, linux={"namespaces": entries})) == []
        assert len(steps("mounts", config(mounts=mounts, linux={"namespaces": entries}))) == 1
    assert steps("mounts", config(mounts=[], linux={"namespaces": []})) == []


@given(st.lists(st.sampled_from(sorted(KNOWN)), max_size=12))
def test_known_options_never_become_data(options: list[str]) -> None:
    parsed = MountOptions()
    parsed.add(options)
    assert parsed.data == []
    assert not set(parsed.attributes) & set(parsed.cleared)
    assert len(ACCESS_TIMES & set(parsed.attributes)) <= 1
    assert len([name for name, value in parsed.recursive if value and name in ACCESS_TIMES]) <= 1
    again = MountOptions()
    again.add([*options, *options])
    assert again.attributes == parsed.attributes or set(again.attributes) == set(parsed.attributes)
    assert set(again.superblock) == set(parsed.superblock)
    assert (again.bind, again.idmap, again.tmpcopyup) == (parsed.bind, parsed.idmap, parsed.tmpcopyup)


@given(st.lists(st.sampled_from(sorted(KNOWN - {"remount"})), max_size=8))
def test_every_combination_is_planned_or_refused_with_a_reason(options: list[str]) -> None:
    for mount in (
        {"destination": "/x", "type": "tmpfs", "source": "/s", "options": options},
        {"destination": "/x", "type": "bind", "source": "/s", "options": options},
    ):
        wanted = config(mounts=[mount])
        found = objections("mounts", wanted)
        if not found:
            assert len(steps("mounts", wanted)) == 1
        else:
            assert {problem.pointer for problem in found} <= {"/mounts/0/options"}
            assert {"tmpcopyup", "idmap", "ridmap"} & set(options)


def test_ten_thousand_mounts_are_planned_in_no_time() -> None:
    mounts = [{"destination": f"/m/{n}", "type": "tmpfs", "options": ["ro", "size=1"]} for n in range(10_000)]
    assert len(steps("mounts", config(mounts=mounts))) == 10_000
