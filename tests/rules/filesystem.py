"""Rules of the root file system and the mounts (config.md, Root and Mounts; config-linux.md)."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from tests.rules.world import BASE, World, rule

from orlop_hookspecs.errors import OrlopError, StepError


def _with(*mounts: dict[str, Any]) -> dict[str, Any]:
    return {"mounts": [*BASE["mounts"], *mounts]}


def _lines(text: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in text.splitlines())


@rule
def the_program_sees_the_image(w: World) -> None:
    assert w.run("/bin/show", "/etc/os-release") == (0, "ID=rules\n")


@rule
def the_root_is_writable_unless_read_only(w: World) -> None:
    assert w.run("/bin/try-write", "/data/x")[1] == "/data/x: written\n"
    assert w.run("/bin/try-write", "/data/x", change={"root": {"readonly": True}})[1] == "/data/x: refused\n"


@rule
def a_read_only_root_leaves_other_mounts_writable(w: World) -> None:
    mount = {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}
    _, text = w.run(
        "/bin/try-write", "/tmp/x", "/data/x", change={"root": {"readonly": True}, **_with(mount)}
    )
    assert _lines(text) == {"/tmp/x": "written", "/data/x": "refused"}


@rule
def a_read_only_mount_refuses_writes(w: World) -> None:
    mount = {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["ro"]}
    _, text = w.run("/bin/try-write", "/tmp/x", "/data/x", change=_with(mount))
    assert _lines(text) == {"/tmp/x": "refused", "/data/x": "written"}


@rule
def a_bind_mount_shows_its_source(w: World) -> None:
    source = w.place / "source"
    source.mkdir()
    (source / "file").write_text("from the host\n")
    mount = {"destination": "/data", "source": str(source), "options": ["bind"]}
    bundle = w.bundle("/bin/show", "/data/file", change=_with(mount))
    c = w.create("c", bundle=bundle)
    c.start()
    w.settle("c")
    assert w.output("c") == "from the host\n"


@rule
def a_relative_bind_source_is_below_the_bundle(w: World) -> None:
    bundle = w.bundle(
        "/bin/show",
        "/data/file",
        change=_with({"destination": "/data", "source": "data", "options": ["bind"]}),
    )
    (bundle / "data").mkdir()
    (bundle / "data/file").write_text("from the bundle\n")
    w.create("c", bundle=bundle).start()
    w.settle("c")
    assert w.output("c") == "from the bundle\n"


@rule
def a_read_only_bind_mount_refuses_writes(w: World) -> None:
    source = w.place / "source"
    source.mkdir()
    mount = {"destination": "/data", "source": str(source), "options": ["rbind", "ro"]}
    assert w.run("/bin/try-write", "/data/x", change=_with(mount))[1] == "/data/x: refused\n"
    assert list(source.iterdir()) == []


@rule
def a_missing_bind_source_is_refused(w: World) -> None:
    mount = {"destination": "/data", "source": "/nonexistent/source", "options": ["bind"]}
    with pytest.raises(OrlopError, match="no such file or directory"):
        w.create("c", change=_with(mount))
    assert w.left() == []


@rule
def a_missing_mount_point_is_made(w: World) -> None:
    mount = {"destination": "/new/place", "type": "tmpfs", "source": "tmpfs"}
    assert w.run("/bin/kinds", "/new/place", change=_with(mount))[1] == "/new/place: directory\n"


@rule
def a_mount_point_behind_a_link_stays_inside(w: World) -> None:
    bundle = w.bundle(
        "/bin/kinds",
        "/etc/inside",
        change=_with({"destination": "/escape/inside", "type": "tmpfs", "source": "t"}),
    )
    (bundle / "rootfs/escape").symlink_to("/etc")
    w.create("c", bundle=bundle).start()
    w.settle("c")
    assert w.output("c") == "/etc/inside: directory\n"


@rule
def a_linked_proc_is_refused(w: World) -> None:
    bundle = w.bundle()
    (bundle / "rootfs/proc").rmdir()
    (bundle / "rootfs/proc").symlink_to("/tmp")
    with pytest.raises(OrlopError):
        w.create("c", bundle=bundle)
    assert w.left() == []


@rule
def an_unknown_file_system_type_is_refused(w: World) -> None:
    mount = {"destination": "/data", "type": "nosuchfs", "source": "none"}
    with pytest.raises(OrlopError):
        w.create("c", change=_with(mount))
    assert w.left() == []


@rule
def an_unknown_tmpfs_option_is_refused(w: World) -> None:
    mount = {"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["nosuchoption=1"]}
    with pytest.raises(OrlopError):
        w.create("c", change=_with(mount))
    assert w.left() == []


@rule
def a_tmpfs_has_the_mode_of_the_directory_that_it_covers(w: World) -> None:
    mounts = [
        {"destination": place, "type": "tmpfs", "source": "tmpfs", "options": options}
        for place, options in (
            ("/data", []),
            ("/new", []),
            ("/other", ["mode=0777"]),
            ("/copy", ["tmpcopyup"]),
        )
    ]
    change = {**_with(*mounts), "process": {"user": {"uid": 12, "gid": 12}}}
    places = ["/data/x", "/new/x", "/other/x", "/copy/x"]
    bundle = w.bundle("/bin/try-write", *places, change=change)
    for name in ("data", "other", "copy"):
        (bundle / "rootfs" / name).mkdir(exist_ok=True)
        (bundle / "rootfs" / name).chmod(0o755)
    w.create("c", bundle=bundle).start()
    w.settle("c")
    # What the kernel gives a tmpfs by itself is for everybody.
    wanted = dict.fromkeys(places, "refused") | {"/new/x": "written", "/other/x": "written"}
    assert _lines(w.output("c")) == wanted


@rule
def a_missing_root_is_refused(w: World) -> None:
    for path in ("absent", "/nonexistent/rootfs"):
        with pytest.raises(OrlopError, match="no such file or directory"):
            w.create("c", change={"root": {"path": path}})
    assert w.left() == []


@rule
def a_root_that_is_a_file_is_refused(w: World) -> None:
    bundle = w.bundle(change={"root": {"path": "file"}})
    (bundle / "file").write_text("")
    with pytest.raises(OrlopError, match="not a directory"):
        w.create("c", bundle=bundle)
    assert w.left() == []


@rule
def masked_paths_are_empty(w: World) -> None:
    change = {"linux": {"maskedPaths": ["/etc/os-release", "/usr", "/nonexistent"]}}
    _, text = w.run("/bin/show", "/etc/os-release", change=change)
    assert text in ("", "/etc/os-release: refused\n")
    assert w.run("/bin/names", "/usr", change=change)[1] == ""
    assert w.run("/bin/names", "/usr")[1] == "bin\n"


@rule
def masked_directories_are_read_only(w: World) -> None:
    change = {"linux": {"maskedPaths": ["/data"]}}
    assert w.run("/bin/try-write", "/data/x", change=change)[1] == "/data/x: refused\n"


@rule
def readonly_paths_refuse_writes(w: World) -> None:
    change = {"linux": {"readonlyPaths": ["/data", "/nonexistent"]}}
    _, text = w.run("/bin/try-write", "/data/x", "/tmp/x", change=change)
    assert _lines(text) == {"/data/x": "refused", "/tmp/x": "written"}


@rule
def the_default_devices_are_there(w: World) -> None:
    names = ("null", "zero", "full", "random", "urandom", "tty")
    _, text = w.run("/bin/kinds", *(f"/dev/{name}" for name in names), "/dev/fd", "/dev/ptmx", "/dev/stdin")
    kinds = _lines(text)
    for name in names:
        assert kinds[f"/dev/{name}"] == "character special file"
    assert {kinds[path] for path in ("/dev/fd", "/dev/ptmx", "/dev/stdin")} == {"symbolic link"}


def _without_dev(w: World, *mappings: dict[str, int]) -> Path:
    """Return a bundle whose image holds the devices itself, perhaps with a user namespace."""
    namespaces = [*BASE["linux"]["namespaces"], *([{"type": "user"}] if mappings else ())]
    linux = {"namespaces": namespaces, "uidMappings": list(mappings), "gidMappings": list(mappings)}
    mounts = [mount for mount in BASE["mounts"] if mount["destination"] == "/proc"]
    return w.bundle("/bin/kinds", "/dev/null", change={"mounts": mounts, "linux": linux if mappings else {}})


@rule
def mount_points_of_devices_that_a_user_namespace_left_do_not_matter(w: World) -> None:
    for mappings in (({"containerID": 0, "hostID": 0, "size": 65536},), ()):
        bundle = _without_dev(w, *mappings)
        if not mappings:
            w.put_file(bundle, "dev/null")
        w.create(f"c{len(mappings)}", bundle=bundle).start()
        w.settle(f"c{len(mappings)}")
        assert w.output(f"c{len(mappings)}") == "/dev/null: character special file\n"


@rule
def a_file_in_place_of_a_default_device_is_refused(w: World) -> None:
    bundle = _without_dev(w)
    w.put_file(bundle, "dev/null", "something")
    with pytest.raises(OrlopError, match="file exists"):
        w.create("c", bundle=bundle)
    assert w.left() == []


@rule
def devices_of_the_config_are_made(w: World) -> None:
    device = {"path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666, "uid": 0, "gid": 0}
    assert w.run("/bin/kinds", "/dev/mine", change={"linux": {"devices": [device]}})[1] == (
        "/dev/mine: character special file\n"
    )


@rule
def devices_of_the_config_have_its_owner_also_in_a_user_namespace(w: World) -> None:
    namespaces = [*BASE["linux"]["namespaces"], {"type": "user"}]
    ids = [{"containerID": 0, "hostID": 100000, "size": 100}]
    linux = {"namespaces": namespaces, "uidMappings": ids, "gidMappings": ids}
    null = {"path": "/dev/null", "type": "c", "major": 1, "minor": 3}
    mine = {"path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}
    places = ("/dev/null", "/dev/mine")
    devices = [null | {"uid": 7, "gid": 0}, mine | {"uid": 8, "gid": 9}]
    _, text = w.run("/bin/owners", *places, change={"linux": {**linux, "devices": devices}})
    assert text == "/dev/null: 7:0\n/dev/mine: 8:9\n"
    with pytest.raises(StepError, match="the id is not mapped into the container's user namespace") as caught:
        w.create("c", change={"linux": {**linux, "devices": [null | {"gid": 100}]}})
    assert (caught.value.pointer, caught.value.errno) == ("/linux/devices/0/gid", errno.EINVAL)
    assert w.left() == []


@rule
def null_can_be_written_to(w: World) -> None:
    assert w.run("/bin/try-write", "/dev/null")[1] == "/dev/null: written\n"


@rule
def proc_shows_the_containers_processes_only(w: World) -> None:
    _, text = w.run("/bin/names", "/proc")
    numbers = [name for name in text.split() if name.isdigit()]
    assert "1" in numbers
    assert len(numbers) <= 3


@rule
def sysfs_is_mounted_read_only(w: World) -> None:
    _, text = w.run("/bin/mounted", "/sys", "/proc", "/dev")
    mounts = {line.split()[1]: line.split() for line in text.splitlines()}
    assert mounts["/sys"][2] == "sysfs"
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(mounts["/sys"][3].split(","))
    assert mounts["/proc"][2] == "proc"
    assert (mounts["/dev"][2], "nosuid" in mounts["/dev"][3]) == ("tmpfs", True)


@rule
def a_sysctl_is_set_in_the_container(w: World) -> None:
    change = {"linux": {"sysctl": {"kernel.shm_rmid_forced": "1"}}}
    assert w.run("/bin/show", "/proc/sys/kernel/shm_rmid_forced", change=change)[1] == "1\n"
    assert w.run("/bin/show", "/proc/sys/kernel/shm_rmid_forced")[1] == "0\n"


@rule
def an_unknown_sysctl_is_refused(w: World) -> None:
    with pytest.raises(OrlopError):
        w.create("c", change={"linux": {"sysctl": {"net.no_such.key": "1"}}})
    assert w.left() == []


@rule
def mounts_are_listed_in_the_order_of_the_config(w: World) -> None:
    """Config.md, Mounts: they MUST be mounted in the listed order, whatever kind each of them is."""
    source = w.place / "source"
    source.mkdir()
    bound: dict[str, Any] = {"source": str(source), "options": ["bind"]}
    fresh: dict[str, Any] = {"type": "tmpfs", "source": "tmpfs"}
    places = ("/tmp/a", "/tmp/b", "/tmp/c", "/tmp/d", "/tmp/d/e")
    entries = [
        {"destination": place, **kind}
        for place, kind in zip(places, (bound, fresh, bound, fresh, fresh), strict=True)
    ]
    status, text = w.run("/bin/show", "/proc/self/mounts", change=_with(*entries))
    assert status == 0
    points = [line.split()[1] for line in text.splitlines()]
    assert [point for point in points if point in places] == list(places)


def _shared() -> dict[str, Any]:
    """Return a change that leaves the mount namespace out: the container inherits the runtime's."""
    entries = [entry for entry in BASE["linux"]["namespaces"] if entry["type"] != "mount"]
    return {"linux": {"namespaces": entries}}


@rule
def without_a_mount_namespace_the_mounts_are_made_and_come_off_again(w: World) -> None:
    """Config-linux.md, Namespaces: a type that is not listed is inherited; the mounts do not change."""
    mount = {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["ro"]}
    change = {**_shared(), **_with(mount), "root": {"readonly": True}}
    _, text = w.run("/bin/try-write", "/tmp/x", "/data/x", "/dev/x", change=change)
    assert _lines(text) == {"/tmp/x": "refused", "/data/x": "refused", "/dev/x": "written"}
    assert w.left() == []


@rule
def a_failed_creation_without_a_mount_namespace_leaves_nothing_mounted(w: World) -> None:
    mount = {"destination": "/tmp", "type": "nosuchfilesystem"}
    with pytest.raises(OrlopError):
        w.create("c", change={**_shared(), **_with(mount)})
    assert w.left() == []
