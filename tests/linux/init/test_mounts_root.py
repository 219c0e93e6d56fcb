"""The root is entered by its descriptor, the old one is gone, and the host's mounts stay as they are."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from tests.linux.init.forked import (
    RefusedError,
    bind,
    clone,
    errno_of,
    filesystem,
    furnish,
    in_child,
    mount_table,
    names,
    open_fds,
    switch,
)

from orlop_linux.init import mounts, root, syscalls
from orlop_linux.init.context import Context

pytestmark = pytest.mark.usefixtures("unchanged_host")


@pytest.fixture
def marked(rootfs: Path) -> Path:
    (rootfs / "mark").touch()
    (rootfs / "proc").mkdir()
    return rootfs


@pytest.mark.parametrize("method", ["pivot", "move"])
def test_the_new_root_is_all_that_is_left(marked: Path, method: str) -> None:
    def run() -> Any:
        context = furnish(marked)
        switch(context, method)
        found = [
            sorted(os.listdir("/")),
            os.getcwd(),
            os.path.exists("/../../etc"),
            os.path.exists("/dev/null"),
        ]
        return [found, names(mount_table(context))]

    found, points = in_child(run)
    assert found == [["mark", "proc"], "/", False, False]
    if method == "pivot":
        assert points == ["/"]


def test_no_procfs_or_sysfs_stays_below_a_moved_root(marked: Path) -> None:
    def run() -> Any:
        context = furnish(marked)
        mounts.mount_proc(context, filesystem("/proc"), 0)
        os.fchdir(context.root_fd)  # the old root is still the root here, so both trees show
        root.switch_root(context, {"method": "move"}, 0)
        fd = os.open("/proc/self/mountinfo", os.O_RDONLY)
        with os.fdopen(fd) as file:
            return [line.split()[4] for line in file if " - proc " in line or " - sysfs " in line]

    assert in_child(run) == ["/proc"]


def test_without_a_mount_namespace_the_root_is_entered_by_chroot(marked: Path) -> None:
    def run() -> Any:
        context = Context(trees={"root": os.open(marked, os.O_PATH | os.O_DIRECTORY)})
        root.prepare_root(
            context, {"path": "", "propagation": "rslave", "own_namespace": False, "bound": False}, 0
        )
        switch(context, "chroot")
        return sorted(os.listdir("/"))

    assert in_child(run, namespaces=0) == ["mark", "proc"]


def test_a_root_that_is_no_directory_is_refused(marked: Path) -> None:
    def run() -> None:
        furnish(marked / "mark")

    with pytest.raises(RefusedError) as caught:
        in_child(run)
    assert caught.value.errno == errno.ENOTDIR


def test_a_missing_tree_is_an_error() -> None:
    def run() -> int:
        fields = {"path": "/", "propagation": "rslave", "own_namespace": True}
        return errno_of(root.prepare_root, Context(), fields, 0)

    assert in_child(run) == errno.EBADF


@pytest.mark.parametrize("propagation", ["rslave", "rprivate", "rshared", "shared", "slave", "private"])
def test_nothing_reaches_a_host_that_shares_its_mounts(
    marked: Path, tmp_path: Path, propagation: str
) -> None:
    """The outer process plays a host whose mounts are all shared, as systemd leaves them."""
    volume = tmp_path / "volume"
    (volume / "below").mkdir(parents=True)

    def container() -> Any:
        flag = {"r": 0}.get(propagation[0], 0)
        flag = {"rslave": syscalls.MS_SLAVE, "slave": syscalls.MS_SLAVE}.get(propagation, flag)
        if "private" in propagation:
            flag = syscalls.MS_PRIVATE
        trees = {"root": clone(marked, propagation=flag), "mount:1": clone(volume, propagation=flag)}
        if not flag:
            syscalls.mount_setattr(trees["root"], propagation=syscalls.MS_PRIVATE)
        syscalls.unshare(syscalls.CLONE_NEWNS)
        context = Context(proc_fd=os.open("/proc", os.O_PATH), trees=trees)
        root.prepare_root(context, {"path": "", "propagation": propagation, "own_namespace": True}, 0)
        mounts.mount_filesystem(context, filesystem("/tmpfs"), 0)
        mounts.mount_bind(context, bind("/volume"), 1)
        if flag:
            mounts.mount_filesystem(context, filesystem("/volume/below"), 2)
        switch(context)
        root.set_root_propagation(context, {"propagation": propagation}, 0)
        root.make_root_readonly(context, {}, 0)
        return sorted(names(mount_table(context)))

    def outer() -> Any:
        top = os.open("/", os.O_PATH)
        syscalls.mount_setattr(top, propagation=syscalls.MS_SHARED, recursive=True)
        volume_fd = os.open(volume, os.O_PATH)
        share = mounts.new_filesystem("tmpfs", "share", ())
        os.mkdir("below", dir_fd=share)
        syscalls.move_mount(share, volume_fd)
        syscalls.mount_setattr(share, propagation=syscalls.MS_SHARED)
        before = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
        found = in_child(container, namespaces=0)
        return [found, before == Path("/proc/self/mountinfo").read_text(encoding="utf-8")]

    found, same = in_child(outer)
    expected = ["/", "/tmpfs", "/volume"]
    if propagation in {"rslave", "slave", "rprivate", "private"}:
        expected.append("/volume/below")
    assert found == expected
    assert same


@pytest.mark.parametrize(
    ("name", "option"), [("shared", "shared:"), ("private", ""), ("rslave", ""), ("unbindable", "unbindable")]
)
def test_the_propagation_of_the_root(marked: Path, name: str, option: str) -> None:
    def run() -> Any:
        context = furnish(marked)
        switch(context)
        root.set_root_propagation(context, {"propagation": name}, 0)
        return mount_table(context)[0][2]

    options = [word for word in in_child(run) if word.startswith(("shared", "master", "unbindable"))]
    assert bool(options) == bool(option)
    assert all(word.startswith(option) for word in options)


def test_only_the_root_becomes_read_only(marked: Path) -> None:
    def run() -> Any:
        context = furnish(marked)
        mounts.mount_filesystem(context, filesystem("/tmp"), 0)
        switch(context)
        root.make_root_readonly(context, {}, 0)
        os.mkdir("/tmp/new")
        return errno_of(os.mkdir, "/new")

    assert in_child(run) == errno.EROFS
    (marked / "still-writable").touch()


def test_nothing_stays_open(marked: Path) -> None:
    def run() -> Any:
        before = open_fds()
        context = furnish(marked)
        mounts.mount_filesystem(context, filesystem("/tmp", attributes=("ro",)), 0)
        switch(context)
        context.end_of_phase("container")
        context.end_of_phase("confined")
        return [sorted(before), sorted(open_fds())]

    before, after = in_child(run)
    assert before == after
