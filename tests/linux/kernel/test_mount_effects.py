"""Mounts of real containers, on hosts with mounts of their own: recursion, propagation, layers, no pivot."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.linux.faults.points import run
from tests.linux.faults.rig import PATIENCE, Rig, mounts, opened
from tests.linux.init.forked import in_child

from orlop_linux.init import mounts as child
from orlop_linux.init import syscalls

PROC = {"destination": "/proc", "type": "proc", "source": "proc"}
DEV = {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with opened(Rig, tmp_path) as made:
        yield made


def outcome(rig: Rig, config: dict[str, Any], *flags: str, between: Callable[[], None] | None = None) -> str:
    """Return the output of a container; *between* its creation and its start something may happen."""
    rig.write(config)
    created = run(rig, "create", "--bundle", str(rig.bundle), *flags, "box")
    assert created.status == 0, created
    if between is not None:
        between()
    pid = run(rig, "state", "box").state["pid"]
    fd = os.pidfd_open(pid)
    started = run(rig, "start", "box")
    assert started.status == 0, started
    os.waitid(os.P_PIDFD, fd, os.WEXITED | os.WNOWAIT) if pid in _own() else _ended(fd)
    os.close(fd)
    assert run(rig, "delete", "--force", "box").status == 0
    return created.text()


def _own() -> set[int]:
    return set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))


def _ended(fd: int) -> None:
    import select

    poller = select.poll()
    poller.register(fd, select.POLLIN)
    assert poller.poll(PATIENCE * 1000)


def shell(rig: Rig, script: str, *more: dict[str, Any], **changes: Any) -> dict[str, Any]:
    # With devices of its own: the image may be where the host allows none.
    return rig.config("/bin/busybox", "sh", "-c", script, mounts=[PROC, *more, DEV], **changes)


def tree(place: Path, *, shared: bool = False) -> None:
    """Mount a tmpfs at *place* and another one at ``below``; each has a file of user 0."""
    place.mkdir(exist_ok=True)
    for name in ("top", "below"):
        at = place if name == "top" else place / "below"
        mount = child.new_filesystem("tmpfs", name, ("mode=0755",))
        syscalls.move_mount(mount, os.open(at, os.O_PATH))
        if shared:
            syscalls.mount_setattr(mount, propagation=syscalls.MS_SHARED)
        (at / "below").mkdir()
        (at / "file").touch()


def on_a_host(rig: Rig, act: Callable[[], Any]) -> Any:
    """Return what *act* returns on a host whose mounts are its own."""

    def inside() -> Any:
        rig._mounts = mounts()
        return act()

    return in_child(inside)


IDS = [{"containerID": 0, "hostID": 1000, "size": 1}]


@pytest.mark.parametrize(
    ("options", "owners"),
    [
        (["rbind"], ["1000", "0"]),
        (["rbind", "idmap"], ["1000", "0"]),
        (["rbind", "ridmap"], ["1000", "1000"]),
        (["bind", "ridmap"], ["1000"]),
        (["bind", "idmap", "ridmap"], ["1000"]),
    ],
)
def test_id_maps_are_recursive_only_if_asked_for(rig: Rig, options: list[str], owners: list[str]) -> None:
    mount = {
        "destination": "/data",
        "source": str(rig.place / "source"),
        "options": options,
        "uidMappings": IDS,
        "gidMappings": IDS,
    }
    config = shell(rig, "busybox stat -c %u /data/file /data/below/file 2>/dev/null", mount)

    def act() -> Any:
        tree(rig.place / "source")
        return outcome(rig, config)

    assert on_a_host(rig, act).split() == owners


def test_a_mount_below_that_cannot_be_mapped_refuses_the_whole(rig: Rig) -> None:
    mount = {
        "destination": "/data",
        "source": "/proc",
        "options": ["rbind", "ridmap"],
        "uidMappings": IDS,
        "gidMappings": IDS,
    }
    rig.write(shell(rig, "true", mount))
    refused = run(rig, "create", "--bundle", str(rig.bundle), "box")
    assert refused.status == 1
    assert "/mounts/1: cannot mount /proc at /data: it cannot be id-mapped: invalid argument" in refused.err
    assert "not every file system can be id-mapped" in refused.err


@pytest.mark.parametrize(
    ("options", "writable"),
    [
        (["rbind", "ro"], ["below"]),
        (["rbind", "rro"], []),
        (["rbind"], ["top", "below"]),
        (["rbind", "ro", "rrw"], ["top", "below"]),
        (["bind", "ro"], []),
        (["bind", "rw"], ["top"]),
    ],
)
def test_read_only_is_recursive_only_if_asked_for(rig: Rig, options: list[str], writable: list[str]) -> None:
    mount = {"destination": "/data", "source": str(rig.place / "source"), "options": options}
    script = """
        (echo x >/data/file) 2>/dev/null && echo top
        [ -e /data/below/file ] && (echo x >/data/below/file) 2>/dev/null && echo below
        true
    """

    def act() -> Any:
        tree(rig.place / "source")
        return outcome(rig, shell(rig, script, mount))

    assert on_a_host(rig, act).split() == writable


@pytest.mark.parametrize(
    ("root", "volume", "seen"),
    [
        (None, ["rbind"], "yes"),
        (None, ["rbind", "rprivate"], "no"),
        (None, ["rbind", "rslave"], "yes"),
        ("private", ["rbind"], "no"),
        ("private", ["rbind", "rslave"], "no"),
        ("slave", ["rbind"], "yes"),
        ("shared", ["rbind", "rshared"], "yes"),
        ("shared", ["rbind", "rprivate"], "no"),
        ("unbindable", ["rbind"], "no"),
    ],
)
def test_what_the_host_mounts_later(rig: Rig, root: str | None, volume: list[str], seen: str) -> None:
    """In a volume that the host shares, after the container was created."""
    place = rig.place / "source"
    mount = {"destination": "/data", "source": str(place), "options": volume}
    linux = {} if root is None else {"rootfsPropagation": root}
    config = shell(rig, "[ -e /data/below/below/late ] && echo yes || echo no", mount, linux=linux)

    def later() -> None:
        made = child.new_filesystem("tmpfs", "late", ())
        os.mkdir("late", dir_fd=made)
        syscalls.move_mount(made, os.open(place / "below/below", os.O_PATH))

    def act() -> Any:
        tree(place, shared=True)
        text = outcome(rig, config, between=later)
        os.chdir(place / "below/below")
        syscalls.umount2(b".", syscalls.MNT_DETACH)
        os.chdir("/")
        return text

    assert on_a_host(rig, act).strip() == seen


@pytest.mark.parametrize("root", ["slave", "private", "shared", "unbindable", None])
def test_what_the_host_mounts_later_in_the_root(rig: Rig, root: str | None) -> None:
    """config-linux.md: only the slave listens; without the property the root is one."""
    linux = {} if root is None else {"rootfsPropagation": root}
    config = shell(rig, "[ -e /tmp/late ] && echo yes || echo no", linux=linux)

    def later() -> None:
        made = child.new_filesystem("tmpfs", "late", ())
        os.mkdir("late", dir_fd=made)
        syscalls.move_mount(made, os.open(rig.rootfs / "tmp", os.O_PATH))

    def act() -> Any:
        top = os.open("/", os.O_PATH)
        syscalls.mount_setattr(top, propagation=syscalls.MS_SHARED, recursive=True)
        rig._mounts = mounts()
        text = outcome(rig, config, between=later)
        os.chdir(rig.rootfs / "tmp")
        syscalls.umount2(b".", syscalls.MNT_DETACH)
        os.chdir("/")
        return text

    assert on_a_host(rig, act).strip() == ("yes" if root in {"slave", None} else "no")


def test_what_a_container_mounts_in_a_shared_volume_reaches_the_host(rig: Rig) -> None:
    """And only there: with rootfsPropagation shared and the volume rshared, as engines ask for it."""
    place = rig.place / "source"
    volume = {"destination": "/data", "source": str(place), "options": ["rbind", "rshared"]}
    config = shell(
        rig,
        "busybox mount -t tmpfs inner /data/below/below && busybox mount -t tmpfs inner /tmp && echo done",
        volume,
        linux={"rootfsPropagation": "shared"},
    )
    sets = ("bounding", "effective", "permitted")
    config["process"]["capabilities"] = {name: ["CAP_SYS_ADMIN"] for name in sets}

    def act() -> Any:
        tree(place, shared=True)
        before = mounts()
        text = outcome(rig, config)
        added = sorted(line.split()[1] for line in mounts() - before)
        os.chdir(place / "below/below")
        syscalls.umount2(b".", syscalls.MNT_DETACH)
        os.chdir("/")
        return [text, added]

    text, added = on_a_host(rig, act)
    assert (text, added) == ("done\n", [f"{place}/below/below"])


@pytest.mark.parametrize("flags", [[], ["--no-pivot"]])
def test_a_writable_overlay(rig: Rig, flags: list[str]) -> None:
    for name in ("lower", "upper", "work"):
        (rig.place / name).mkdir()
    (rig.place / "lower/file").write_text("below\n")
    options = [f"{name}dir={rig.place}/{name}" for name in ("lower", "upper", "work")]
    mount = {"destination": "/data", "type": "overlay", "source": "overlay", "options": options}
    script = "cat /data/file; echo above >/data/file; cat /data/file"
    assert outcome(rig, shell(rig, f"PATH=/bin; alias cat='busybox cat'; {script}", mount), *flags) == (
        "below\nabove\n"
    )
    assert (rig.place / "lower/file").read_text() == "below\n"
    assert (rig.place / "upper/file").read_text() == "above\n"


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize("propagation", ["slave", "private", "shared", "unbindable"])
def test_without_pivot_root_all_is_the_same(rig: Rig, propagation: str, readonly: bool) -> None:
    found = []
    script = """
        (echo x >/file) 2>/dev/null && echo written
        busybox ls /
        busybox awk '$5 == "/" { print $7 }' /proc/self/mountinfo
    """
    for flags in ([], ["--no-pivot"]):
        config = shell(rig, script, linux={"rootfsPropagation": propagation})
        config["root"]["readonly"] = readonly
        text = outcome(rig, config, *flags)
        found.append([line.partition(":")[0] for line in text.splitlines()])
        (rig.rootfs / "file").unlink(missing_ok=True)
    assert ("written" in found[0]) != readonly
    last = {"slave": found[0][-1], "private": "-", "shared": "shared", "unbindable": "unbindable"}[
        propagation
    ]
    # A slave shows only where the host's mount is shared.
    assert found[0][-1] == last in {"-", "master", "shared", "unbindable"}
    # Below a root that was moved the old one stays, where no path leads to it.
    assert found[1][: len(found[0]) - 1] == found[0][:-1]
    assert last in found[1]


def test_a_created_container_keeps_no_mount_open(rig: Rig) -> None:
    rig.write(shell(rig, "true", {"destination": "/data", "source": str(rig.place), "options": ["bind"]}))
    rig.create()
    pid = run(rig, "state", "box").state["pid"]
    links = [os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()]
    assert [link for link in links if os.path.isdir(link)] == []
    rig.destroy()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[str]:
    """Return a block device with an ext4."""
    image = tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    try:
        subprocess.run(["mkfs.ext4", "-q", str(image)], check=True, capture_output=True)
        found = subprocess.run(
            ["losetup", "--find", "--show", str(image)], check=True, capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs mkfs.ext4(8), losetup(8) and loop devices: {error}")
    yield found.stdout.strip()
    subprocess.run(["losetup", "--detach", found.stdout.strip()], check=True)


@pytest.mark.parametrize(
    ("options", "shown", "written"),
    [
        ([], {"rw"}, True),
        (["ro", "noatime"], {"ro", "noatime"}, False),
        (["rro"], {"ro"}, False),
        (["sync", "nodev", "data=ordered"], {"rw", "sync", "nodev"}, True),
        (["idmap"], {"rw"}, True),
    ],
)
def test_a_disk_is_mounted_whatever_the_device_rules_say(
    rig: Rig, disk: str, options: list[str], shown: set[str], written: bool
) -> None:
    """The container may not open the device; who configures the mount may."""
    mount: dict[str, Any] = {"destination": "/data", "type": "ext4", "source": disk, "options": options}
    if "idmap" in options:
        ids = [{"containerID": 0, "hostID": 0, "size": 5}]
        mount |= {"uidMappings": ids, "gidMappings": ids}
    remount = {"destination": "/data", "options": ["remount", "nosuid"]}
    script = f"""
        busybox awk '$5 == "/data" {{ print $6 "," $NF }}' /proc/self/mountinfo
        (echo x >/data/file) 2>/dev/null && echo written
        busybox mknod /tmp/disk b $(busybox stat -c '0x%t 0x%T' {disk} 2>/dev/null || echo 7 0) 2>/dev/null
        busybox head -c 1 /tmp/disk 2>/dev/null || echo forbidden
    """
    lines = outcome(rig, shell(rig, script, mount, remount)).splitlines()
    assert shown | {"nosuid"} <= set(lines[0].split(","))
    assert ("written" in lines) == written
    assert lines[-1] == "forbidden"


def test_what_is_no_disk_is_refused(rig: Rig, disk: str) -> None:
    for mount, words in (
        ({"type": "xfs", "source": disk}, ["/mounts/1", "type xfs"]),
        ({"type": "ext4", "source": f"{disk}-absent"}, ["/mounts/1", "no such file or directory"]),
        ({"type": "ext4", "source": str(rig.bundle)}, ["/mounts/1", "block device required"]),
        ({"type": "ext4", "source": disk, "options": ["data=bogus"]}, ["option 'data=bogus'"]),
    ):
        rig.write(shell(rig, "true", {"destination": "/data", **mount}))
        refused = run(rig, "create", "--bundle", str(rig.bundle), "box")
        assert refused.status == 1
        for word in words:
            assert word in refused.err
