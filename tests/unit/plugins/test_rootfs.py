"""Plugins rootfs, paths and devices."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.plugins.support import config, namespaces, objections, pointers, steps

from orlop_hookspecs.steps import (
    CreateDevice,
    CreateSymlink,
    MakeRootReadonly,
    MaskPath,
    PrepareRoot,
    ReadonlyPath,
    SetRootPropagation,
    SwitchRoot,
)
from orlop_linux.plugins import rootfs
from orlop_linux.plugins.shared import clean_path

NO_MOUNT = [{"type": "pid"}]
JOINED = [{"type": "mount", "path": "/run/ns/m"}]
USER = {"type": "user"}
DEFAULT_DEVICES = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"]


def test_the_root_is_prepared_and_entered() -> None:
    assert steps("rootfs", config()) == [
        PrepareRoot(because="/root/path", path="/bundle/rootfs", propagation="rslave"),
        SwitchRoot(because="/root/path", method="pivot"),
    ]
    assert steps("rootfs", config(), no_pivot=True)[1] == SwitchRoot(because="/root/path", method="move")
    assert steps("rootfs", config(root={"readonly": True}))[-1] == MakeRootReadonly(because="/root/readonly")


@pytest.mark.parametrize("entries", [NO_MOUNT, JOINED])
def test_in_a_shared_mount_namespace_the_root_is_entered_by_chroot(entries: list[Any]) -> None:
    assert steps("rootfs", config(mounts=[], linux={"namespaces": entries})) == [
        PrepareRoot(because="/root/path", path="/bundle/rootfs", own_namespace=False),
        SwitchRoot(because="/root/path", method="chroot"),
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"mounts": [{"destination": "/t", "type": "tmpfs"}]},
        {"root": {"readonly": True}},
        {"linux": {"maskedPaths": ["/a"]}},
        {"linux": {"readonlyPaths": ["/a"]}},
        {"linux": {"devices": [{"type": "p", "path": "/x"}]}},
        {"process": {"terminal": True}},
    ],
)
@pytest.mark.parametrize("entries", [NO_MOUNT, JOINED])
def test_what_is_mounted_in_a_shared_mount_namespace_is_below_a_mount_of_its_own(
    entries: list[Any], change: dict[str, Any]
) -> None:
    linux = {"namespaces": entries, **change.get("linux", {})}
    wanted = config(**{"mounts": [], **change, "linux": linux})
    first, second, *rest = steps("rootfs", wanted)
    assert first == PrepareRoot(because="/root/path", path="/bundle/rootfs", own_namespace=False, bound=True)
    assert second == SwitchRoot(because="/root/path", method="chroot")
    assert rest == ([MakeRootReadonly(because="/root/readonly")] if "root" in change else [])


@pytest.mark.parametrize("entries", [NO_MOUNT, JOINED])
def test_the_propagation_of_the_root_needs_a_mount_namespace(entries: list[Any]) -> None:
    linux = {"namespaces": entries, "rootfsPropagation": "private"}
    assert pointers("rootfs", config(linux=linux)) == ["/linux/rootfsPropagation"]


@pytest.mark.parametrize("entries", [NO_MOUNT, JOINED])
@pytest.mark.parametrize("user", [USER, {**USER, "path": "/run/ns/u"}])
def test_a_user_namespace_cannot_mount_in_somebody_elses_mount_namespace(
    entries: list[Any], user: dict[str, Any]
) -> None:
    wanted = config(root={"readonly": True}, linux={"namespaces": [*entries, user]})
    assert pointers("rootfs", wanted) == ["/root/readonly"]
    assert steps("rootfs", config(linux={"namespaces": [*entries, user]}))[0] == PrepareRoot(
        because="/root/path", path="/bundle/rootfs", own_namespace=False
    )


@pytest.mark.parametrize(
    ("value", "first", "last"),
    [
        ("private", "rprivate", None),
        ("slave", "rslave", "slave"),
        ("shared", "shared", "shared"),
        ("unbindable", "rprivate", "unbindable"),
        ("rprivate", "rprivate", None),
        ("rslave", "rslave", "rslave"),
        ("rshared", "rshared", "rshared"),
        ("runbindable", "rprivate", "runbindable"),
    ],
)
def test_propagation(value: str, first: str, last: str | None) -> None:
    planned = steps("rootfs", config(linux={"rootfsPropagation": value}))
    assert planned[0] == PrepareRoot(because="/root/path", path="/bundle/rootfs", propagation=first)
    after = [SetRootPropagation(because="/linux/rootfsPropagation", propagation=last)] if last else []
    assert planned[2:] == after


def test_every_accepted_propagation_begins_with_one_that_prepare_root_knows() -> None:
    known = {"rslave", "rprivate", "rshared", "slave", "private", "shared", "unbindable"}
    assert set(rootfs.PROPAGATIONS.values()) <= known
    assert {"private", "shared", "slave", "unbindable"} <= set(rootfs.PROPAGATIONS)


def test_a_root_is_required() -> None:
    assert pointers("rootfs", config(root=None)) == ["/root"]
    assert pointers("rootfs", config(root={"path": ""})) == ["/root/path"]


def test_masked_and_readonly_paths_are_clean_and_unique() -> None:
    linux = {
        "maskedPaths": ["/proc/kcore", "/proc//kcore/", "/sys/../proc/x"],
        "readonlyPaths": ["/proc/sys"],
    }
    assert steps("paths", config(linux=linux)) == [
        ReadonlyPath(because="/linux/readonlyPaths/0", path="/proc/sys"),
        MaskPath(because="/linux/maskedPaths/0", path="/proc/kcore"),
        MaskPath(because="/linux/maskedPaths/2", path="/proc/x"),
    ]


@pytest.mark.parametrize("name", ["maskedPaths", "readonlyPaths"])
@pytest.mark.parametrize("path", ["", "proc/kcore", "..", "/", "/..", "/a/../..", "//", "/" + "x" * 256])
def test_odd_paths_are_refused(name: str, path: str) -> None:
    assert pointers("paths", config(linux={name: ["/ok", path]})) == [f"/linux/{name}/1"]


@pytest.mark.parametrize("entries", [NO_MOUNT, JOINED])
def test_paths_need_a_mount_namespace(entries: list[Any]) -> None:
    linux: dict[str, Any] = {"namespaces": [*entries, USER], "maskedPaths": ["/a"], "readonlyPaths": ["/b"]}
    assert pointers("paths", config(linux=linux)) == ["/linux/readonlyPaths", "/linux/maskedPaths"]
    linux["namespaces"] = entries
    assert pointers("paths", config(linux=linux)) == []
    assert steps("paths", config(linux={"namespaces": entries, "maskedPaths": []})) == []


@given(st.text(alphabet="ab./", max_size=20))
def test_a_clean_path_is_absolute_and_clean(path: str) -> None:
    clean = clean_path(path)
    assert clean.startswith("/")
    assert clean == clean_path(clean)
    assert clean == "/" or not {"", ".", ".."} & set(clean[1:].split("/"))


def test_default_devices_and_links() -> None:
    planned = steps("devices", config())
    because = "/linux/devices"
    devices = [step for step in planned if isinstance(step, CreateDevice)]
    assert [step.path for step in devices] == DEFAULT_DEVICES
    assert [(d.type, d.major, d.minor, d.mode, d.uid, d.gid) for d in devices] == [
        ("c", 1, 3, 0o666, 0, 0),
        ("c", 1, 5, 0o666, 0, 0),
        ("c", 1, 7, 0o666, 0, 0),
        ("c", 1, 8, 0o666, 0, 0),
        ("c", 1, 9, 0o666, 0, 0),
        ("c", 5, 0, 0o666, 0, 0),
    ]
    assert planned[len(devices) :] == [
        CreateSymlink(because=because, path="/dev/fd", target="/proc/self/fd"),
        CreateSymlink(because=because, path="/dev/stdin", target="/proc/self/fd/0"),
        CreateSymlink(because=because, path="/dev/stdout", target="/proc/self/fd/1"),
        CreateSymlink(because=because, path="/dev/stderr", target="/proc/self/fd/2"),
        CreateSymlink(because=because, path="/dev/ptmx", target="pts/ptmx", replace=True),
    ]


def test_configured_devices() -> None:
    devices = [
        {"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229, "fileMode": 0o600, "uid": 1, "gid": 2},
        {"type": "u", "path": "/odd//tty", "major": 5, "minor": 0},
        {"type": "b", "path": "/dev/sda", "major": 8, "minor": 0},
        {"type": "p", "path": "/dev/fifo"},
        {"type": "c", "path": "/dev/null", "major": 1, "minor": 3, "fileMode": 0o600},
        {"type": "c", "path": "/dev/ptmx", "major": 5, "minor": 2},
        {"type": "b", "path": "/dev/./sda", "major": 8, "minor": 0},
    ]
    planned = steps("devices", config(linux={"devices": devices}))
    made = {step.path: step for step in planned if isinstance(step, CreateDevice)}
    assert list(made) == [
        *(path for path in DEFAULT_DEVICES if path != "/dev/null"),
        "/dev/fuse",
        "/odd/tty",
        "/dev/sda",
        "/dev/fifo",
        "/dev/null",
    ]
    assert made["/dev/fuse"] == CreateDevice(
        because="/linux/devices/0",
        path="/dev/fuse",
        type="c",
        major=10,
        minor=229,
        mode=0o600,
        uid=1,
        gid=2,
        exact=("mode", "uid", "gid"),
    )
    assert made["/odd/tty"].type == "c"
    assert made["/dev/fifo"] == CreateDevice(because="/linux/devices/3", path="/dev/fifo", type="p")
    assert (made["/dev/null"].mode, made["/dev/null"].exact) == (0o600, ("mode",))
    assert isinstance(planned[-1], CreateSymlink)


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ({"type": "c", "path": "/dev/x", "minor": 1}, "/major"),
        ({"type": "b", "path": "/dev/x", "major": 1}, "/minor"),
        ({"type": "c", "path": "/dev/x", "major": -1, "minor": 1}, "/major"),
        ({"type": "c", "path": "/dev/x", "major": 1 << 12, "minor": 1}, "/major"),
        ({"type": "c", "path": "/dev/x", "major": 1, "minor": 1 << 20}, "/minor"),
        ({"type": "c", "path": "/dev/x", "major": 1, "minor": 1, "fileMode": 0o60600}, "/fileMode"),
        ({"type": "p", "path": "/dev/x", "fileMode": 0o110000}, "/fileMode"),
        ({"type": "p", "path": "dev/x"}, "/path"),
        ({"type": "p", "path": "/dev/.."}, "/path"),
        ({"type": "p", "path": "/dev/x", "uid": 0xFFFFFFFF}, "/uid"),
        ({"type": "p", "path": "/dev/x", "gid": 0xFFFFFFFF}, "/gid"),
    ],
)
def test_devices_that_cannot_be(device: dict[str, Any], expected: str) -> None:
    assert pointers("devices", config(linux={"devices": [device]})) == [f"/linux/devices/0{expected}"]


@pytest.mark.parametrize(("kind", "mode"), [("c", 0o20644), ("u", 0o20644), ("b", 0o60644), ("p", 0o10644)])
def test_a_mode_may_say_what_the_device_is(kind: str, mode: int) -> None:
    device = {"type": kind, "path": "/x", "major": 1, "minor": 1, "fileMode": mode}
    made = steps("devices", config(linux={"devices": [device]}))[len(DEFAULT_DEVICES)]
    assert made.as_data()["mode"] == 0o644


def test_two_devices_at_one_path() -> None:
    devices = [{"type": "p", "path": "/x"}, {"type": "p", "path": "/y/../x", "fileMode": 0}]
    (problem,) = objections("devices", config(linux={"devices": devices}))
    assert problem.pointer == "/linux/devices/1/path"
    assert "devices/0" in problem.message


@pytest.mark.parametrize(
    "mount",
    [
        {"destination": "/dev", "source": "/dev", "options": ["rbind"]},
        {"destination": "dev/", "source": "/dev", "options": ["bind"]},
        {"destination": "/dev", "type": "bind", "source": "/dev"},
    ],
)
def test_nothing_is_made_in_a_dev_that_is_somebody_elses(mount: dict[str, Any]) -> None:
    devices = [{"type": "p", "path": "/dev/x"}, {"type": "p", "path": "/y"}]
    planned = steps("devices", config(mounts=[mount], linux={"devices": devices}))
    assert planned == [CreateDevice(because="/linux/devices/1", path="/y", type="p")]


def test_a_later_tmpfs_on_dev_is_the_containers_own() -> None:
    mounts = [
        {"destination": "/dev", "source": "/dev", "options": ["bind"]},
        {"destination": "/dev", "type": "tmpfs"},
    ]
    assert len(steps("devices", config(mounts=mounts))) == 11


@pytest.mark.parametrize("entries", [NO_MOUNT, JOINED])
def test_devices_need_a_mount_namespace(entries: list[Any]) -> None:
    assert steps("devices", config(mounts=[], linux={"namespaces": entries})) == []
    linux: dict[str, Any] = {"namespaces": entries, "devices": [{"type": "p", "path": "/x"}]}
    assert pointers("devices", config(linux=linux)) == []
    linux["namespaces"] = [*entries, USER]
    assert pointers("devices", config(linux=linux)) == ["/linux/devices"]


def test_the_base_has_a_mount_namespace() -> None:
    assert {"type": "mount"} in namespaces()
