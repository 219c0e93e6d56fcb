"""Rules of single mounts: destinations, kinds of sources, options, id maps (config.md, Mounts)."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.rules.world import BASE, World, rule

from orlop_hookspecs.errors import OrlopError

SPACES = ("pid", "mount", "uts", "ipc", "network")
IDS = [{"containerID": 0, "hostID": 100_000, "size": 65_536}]


def _with(*mounts: dict[str, Any], **linux: Any) -> dict[str, Any]:
    return {"mounts": [*BASE["mounts"], *mounts], "linux": linux}


def _tmpfs(destination: str, *options: str, **more: Any) -> dict[str, Any]:
    return {
        "destination": destination,
        "type": "tmpfs",
        "source": "tmpfs",
        "options": list(options),
        **more,
    }


def _bind(source: Path | str, destination: str, *options: str, **more: Any) -> dict[str, Any]:
    return {"destination": destination, "source": str(source), "options": ["bind", *options], **more}


def _mapped(first: int, size: int = 1) -> dict[str, Any]:
    ids = [{"containerID": 0, "hostID": first, "size": size}]
    return {"uidMappings": ids, "gidMappings": ids}


def _source(w: World) -> Path:
    source = w.place / "source"
    source.mkdir()
    (source / "file").write_text("from the host\n")
    return source


def _in_user_namespace(*kinds: str, **linux: Any) -> dict[str, Any]:
    spaces = [{"type": kind} for kind in (*kinds, "user")]
    return {"namespaces": spaces, "uidMappings": IDS, "gidMappings": IDS, **linux}


def _refused(w: World, *mounts: dict[str, Any], **linux: Any) -> OrlopError:
    with pytest.raises(OrlopError) as caught:
        w.create("c", change=_with(*mounts, **linux))
    assert "\n" not in str(caught.value)
    assert w.left() == []
    return caught.value


@rule
def an_empty_file_system_has_the_mode_of_its_options(w: World) -> None:
    mount = _tmpfs("/data", "mode=0711", "uid=3", "gid=4")
    assert w.run("/bin/owners", "/data", change=_with(mount))[1] == "/data: 3:4\n"


@rule
def a_destination_may_be_spelled_in_many_ways(w: World) -> None:
    for spelling in ("tmp/x", "/tmp/x/", "//tmp///x", "/tmp/./x", "/tmp/y/../x", "/../tmp/x"):
        status, text = w.run("/bin/mounted", "/tmp/x", change=_with(_tmpfs(spelling)))
        assert (status, text.split()[1:3]) == (0, ["/tmp/x", "tmpfs"]), spelling


@rule
def mounts_are_made_in_the_listed_order(w: World) -> None:
    source = _source(w)
    (source / "sub").mkdir()
    over, under = _tmpfs("/data"), _bind(source, "/data/sub")
    assert w.run("/bin/show", "/data/sub/file", change=_with(over, under))[1] == "from the host\n"
    assert w.run("/bin/kinds", "/data/sub/file", change=_with(under, over))[1] == "/data/sub/file: missing\n"


@rule
def the_later_of_two_mounts_at_one_place_covers_the_earlier(w: World) -> None:
    source = _source(w)
    mounts = (_tmpfs("/data", "ro"), _bind(source, "/data"))
    assert w.run("/bin/show", "/data/file", change=_with(*mounts))[1] == "from the host\n"
    assert w.run("/bin/names", "/data", change=_with(*reversed(mounts)))[1] == ""


@rule
def a_remount_adds_options(w: World) -> None:
    remount = {"destination": "/data/", "options": ["remount", "ro", "noexec"]}
    _, text = w.run("/bin/mounted", "/data", change=_with(_tmpfs("/data", "nosuid"), remount))
    assert {"ro", "nosuid", "noexec"} <= set(text.split()[3].split(","))


@rule
def sources_of_every_kind_can_be_bound(w: World) -> None:
    source = _source(w)
    os.mkfifo(source / "fifo")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(source / "socket"))
    os.symlink("file", source / "link")
    kinds = {"file": "regular file", "fifo": "fifo", "socket": "socket", "link": "regular file"}
    mounts = [_bind(source / name, f"/data/{name}") for name in kinds]
    mounts.append(_bind("/dev/zero", "/data/device"))
    paths = [*(f"/data/{name}" for name in kinds), "/data/device"]
    _, text = w.run("/bin/kinds", *paths, change=_with(*mounts))
    assert text == "".join(
        f"/data/{name}: {kind}\n" for name, kind in {**kinds, "device": "character special file"}.items()
    )


@rule
def a_file_and_a_directory_do_not_fit(w: World) -> None:
    source = _source(w)
    for mount in (_bind(source / "file", "/data"), _bind(source, "/etc/os-release"), _tmpfs("/etc/plain")):
        error = _refused(w, mount)
        assert (error.pointer, error.errno) == ("/mounts/4", errno.ENOTDIR)


@rule
def a_missing_source_is_named(w: World) -> None:
    for options in ((), ("ro", "rprivate")):
        error = _refused(w, _bind("/nonexistent/source", "/data", *options))
        assert (error.pointer, error.errno) == ("/mounts/4/source", errno.ENOENT)
        assert "/nonexistent/source" in str(error)


@rule
def a_file_is_mounted_where_a_link_leads(w: World) -> None:
    source = _source(w)
    bundle = w.bundle("/bin/show", "/etc/plain", change=_with(_bind(source / "file", "/etc/link")))
    (bundle / "rootfs/etc/link").symlink_to("/etc/plain")
    w.create("c", bundle=bundle).start()
    w.settle("c")
    assert w.output("c") == "from the host\n"


def _refused_behind_a_link(w: World, destination: str, to: str) -> int | None:
    """Return the error of a mount whose *destination* begins with a link that the image has."""
    bundle = w.bundle(change=_with(_tmpfs(destination)))
    (bundle / "rootfs" / destination.split("/")[1]).symlink_to(to)
    with pytest.raises(OrlopError) as caught:
        w.create("c", bundle=bundle)
    assert caught.value.pointer == "/mounts/4"
    return caught.value.errno


@rule
def nothing_is_mounted_over_the_root(w: World) -> None:
    assert _refused_behind_a_link(w, "/self", "/") == errno.EBUSY


@rule
def nothing_hides_the_procfs_by_a_detour(w: World) -> None:
    assert _refused_behind_a_link(w, "/detour/sys", "proc") == errno.EPERM


@rule
def a_recursively_read_only_dev_is_furnished_first(w: World) -> None:
    for option in ("ro", "rro"):
        mounts = [*BASE["mounts"]]
        mounts[1] = _tmpfs("/dev", "nosuid", "mode=755", option)
        _, text = w.run("/bin/try-write", "/dev/x", "/dev/null", change={"mounts": mounts})
        assert text == "/dev/x: refused\n/dev/null: written\n", option


@rule
def an_option_in_r_form_counts_more(w: World) -> None:
    for options, outcome in (
        (("ro", "rrw"), "written"),
        (("rrw", "ro"), "written"),
        (("rw", "rro"), "refused"),
    ):
        _, text = w.run("/bin/try-write", "/data/x", change=_with(_tmpfs("/data", *options)))
        assert text == f"/data/x: {outcome}\n", options


@rule
def a_recursively_read_only_bind_refuses_writes(w: World) -> None:
    source = _source(w)
    _, text = w.run("/bin/try-write", "/data/file", change=_with(_bind(source, "/data", "rbind", "rro")))
    assert text == "/data/file: refused\n"


@rule
def no_mount_point_is_made_in_a_read_only_bind(w: World) -> None:
    source = _source(w)
    for option in ("ro", "rro"):
        error = _refused(w, _bind(source, "/data", option), _tmpfs("/data/absent"))
        assert (error.pointer, error.errno) == ("/mounts/5", errno.EROFS)
    assert os.listdir(source) == ["file"]


@rule
def tmpcopyup_shows_what_the_image_has(w: World) -> None:
    for options in ((), ("ro",), ("rro",), ("size=1m",)):
        change = _with(_tmpfs("/etc", "tmpcopyup", *options))
        assert w.run("/bin/show", "/etc/os-release", change=change) == (0, "ID=rules\n"), options


@rule
def what_is_written_after_tmpcopyup_stays_in_the_container(w: World) -> None:
    bundle = w.bundle("/bin/try-write", "/etc/os-release", change=_with(_tmpfs("/etc", "tmpcopyup")))
    w.create("c", bundle=bundle).start()
    w.settle("c")
    assert w.output("c") == "/etc/os-release: written\n"
    assert (bundle / "rootfs/etc/os-release").read_text() == "ID=rules\n"


@rule
def a_mount_with_id_maps_shows_other_owners(w: World) -> None:
    source = _source(w)
    for options in ((), ("idmap",), ("rbind", "ridmap")):
        mount = _bind(source, "/data", *options, **_mapped(1000))
        _, text = w.run("/bin/owners", "/data", "/data/file", change=_with(mount))
        assert text == "/data: 1000:1000\n/data/file: 1000:1000\n", options


@rule
def owners_without_a_map_are_nobody(w: World) -> None:
    source = _source(w)
    ids = [{"containerID": 7, "hostID": 1000, "size": 1}]
    mount = _bind(source, "/data", "idmap", uidMappings=ids, gidMappings=ids)
    _, text = w.run("/bin/owners", "/data", "/etc", change=_with(mount))
    assert text == "/data: 65534:65534\n/etc: 0:0\n"


@rule
def nothing_is_made_where_the_own_id_has_no_map(w: World) -> None:
    mount = _tmpfs("/data", "idmap", **_mapped(1000))
    _, text = w.run("/bin/try-write", "/data/x", "/tmp/x", change=_with(mount))
    assert text == "/data/x: refused\n/tmp/x: written\n"


@rule
def a_new_file_system_can_have_id_maps(w: World) -> None:
    mount = _tmpfs("/data", "idmap", "mode=0755", **_mapped(1000))
    assert w.run("/bin/owners", "/data", change=_with(mount))[1] == "/data: 1000:1000\n"


@rule
def id_maps_default_to_those_of_the_containers_user_namespace(w: World) -> None:
    source = _source(w)
    bind, tmpfs = _bind(source, "/data", "idmap"), _tmpfs("/tmp", "idmap", "mode=0755")
    change = _with(bind, tmpfs, **_in_user_namespace(*SPACES))
    _, text = w.run("/bin/owners", "/data/file", "/tmp", change=change)
    assert text == "/data/file: 0:0\n/tmp: 0:0\n"
    _, text = w.run("/bin/try-write", "/data/file", "/tmp/x", change=change)
    assert text == "/data/file: written\n/tmp/x: written\n"


@rule
def id_maps_of_the_mount_count_more_than_the_user_namespace(w: World) -> None:
    source = _source(w)
    mounts = (
        _bind(source, "/data", "idmap", **_mapped(100_005)),
        _tmpfs("/tmp", "ridmap", **_mapped(100_007)),
    )
    change = _with(*mounts, **_in_user_namespace(*SPACES))
    _, text = w.run("/bin/owners", "/data/file", "/tmp", change=change)
    assert text == "/data/file: 5:5\n/tmp: 7:7\n"


@rule
def a_file_system_without_id_maps_refuses_them(w: World) -> None:
    for kind in ("ramfs", "overlay"):
        layers = [f"lowerdir={_other(w)}:{_other(w)}"] if kind == "overlay" else []
        mount = {"destination": "/data", "type": kind, "options": ["idmap", *layers], **_mapped(1000)}
        error = _refused(w, mount)
        assert (error.pointer, error.errno) == ("/mounts/4", errno.EINVAL)


def _other(w: World) -> Path:
    path = w.place / f"directory{len(os.listdir(w.place))}"
    path.mkdir()
    (path / path.name).write_text("")
    return path


@rule
def layers_are_shown_on_top_of_each_other(w: World) -> None:
    for length in (1, 250):
        lower = [_other(w), _other(w)]
        long = w.place / ("x" * length) / "z"
        long.mkdir(parents=True)
        layers = ":".join(str(path) for path in (*lower, long))
        mount = {
            "destination": "/data",
            "type": "overlay",
            "source": "overlay",
            "options": [f"lowerdir={layers}"],
        }
        assert w.run("/bin/mounted", "/data", change=_with(mount))[1].split()[1:3] == ["/data", "overlay"]


@rule
def a_sysfs_needs_no_network_namespace(w: World) -> None:
    spaces = [{"type": kind} for kind in SPACES if kind != "network"]
    for change in (_with(namespaces=spaces), _with(**_in_user_namespace("pid", "mount", "uts", "ipc"))):
        _, text = w.run("/bin/mounted", "/sys", change=change)
        fields = text.split()
        assert (len(text.splitlines()), fields[2]) == (1, "sysfs")
        assert {"ro", "nosuid", "nodev", "noexec"} <= set(fields[3].split(","))


@rule
def a_user_namespace_mounts_only_what_it_owns(w: World) -> None:
    for kind, mount in (("pid", BASE["mounts"][0]), ("ipc", {"destination": "/data", "type": "mqueue"})):
        spaces = [one for one in SPACES if one != kind]
        with pytest.raises(OrlopError) as caught:
            w.create("c", change={"mounts": [mount], "linux": _in_user_namespace(*spaces)})
        assert caught.value.pointer == "/mounts/0/type", kind
        assert kind in str(caught.value)
    assert w.left() == []


@rule
def every_propagation_of_the_root_is_applied(w: World) -> None:
    for value in ("shared", "rshared", "slave", "rslave", "private", "rprivate", "unbindable", "runbindable"):
        assert w.run("/bin/exiter", "0", change={"linux": {"rootfsPropagation": value}})[0] == 0, value


@rule
def what_the_file_system_refuses_is_named(w: World) -> None:
    error = _refused(w, _tmpfs("/data", "size=1m", "nosuchoption=1"))
    assert (error.pointer, error.errno) == ("/mounts/4", errno.EINVAL)
    assert "nosuchoption=1" in str(error)


@rule
def more_options_than_mount_takes_are_refused(w: World) -> None:
    layers = ":".join([f"/{'l' * 200}"] * 25)
    mount = {
        "destination": "/data",
        "type": "overlay",
        "source": "overlay",
        "options": [f"lowerdir={layers}"],
    }
    error = _refused(w, mount)
    assert error.pointer == "/mounts/4/options"
    assert "4095" in str(error)
