"""Masked paths read empty, read-only paths stay readable, and both cover what the container would reach."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.linux.init.forked import (
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

from orlop_linux.init import devices, mounts, procfs, protect, root, syscalls
from orlop_linux.init.context import Context

pytestmark = pytest.mark.usefixtures("unchanged_host")


def confined(rootfs: Path, function: Callable[[Context], Any]) -> Any:
    """Return what *function* says in a child that has *rootfs* as its root."""

    def run() -> Any:
        context = furnish(rootfs)
        switch(context)
        context.end_of_phase("container")
        return function(context)

    return in_child(run)


def mask(context: Context, *paths: str) -> None:
    for path in paths:
        protect.mask_path(context, {"path": path}, 0)


@pytest.fixture
def image(rootfs: Path, host: Path) -> Path:
    for name in ("one", "two"):
        (rootfs / name).mkdir()
        (rootfs / name / "inside").write_text("inside", encoding="utf-8")
        (rootfs / f"{name}.file").write_text("text", encoding="utf-8")
    (rootfs / "link").symlink_to("/two.file")
    (rootfs / "out").symlink_to(host)
    (rootfs / "loop").symlink_to("loop")
    os.mkfifo(rootfs / "fifo")
    return rootfs


class TestMask:
    def test_directories_and_files(self, image: Path) -> None:
        def look(context: Context) -> Any:
            mask(context, "/one", "/two", "/one.file", "/link", "/fifo")
            fds = open_fds()
            mask(context, "/two/../one")
            assert open_fds() == fds
            found: list[Any] = [os.listdir("/one"), os.listdir("/two"), errno_of(os.mkdir, "/one/x")]
            for path in ("/one.file", "/two.file", "/link", "/fifo"):
                fd = os.open(path, os.O_RDWR)
                info = os.fstat(fd)
                found.append([os.read(fd, 10).decode(), os.major(info.st_rdev), os.minor(info.st_rdev)])
                os.close(fd)
            return found

        assert confined(image, look) == [[], [], errno.EROFS, *[["", 1, 3]] * 4]

    def test_what_is_missing_is_skipped_and_everything_else_is_an_error(self, image: Path) -> None:
        def look(context: Context) -> Any:
            paths = (
                "/missing",
                "/missing/x",
                "/one.file/x",
                "/out/secret",
                "/loop",
                "/",
                "/..",
                "/" + "x" * 256,
            )
            found = [errno_of(mask, context, path) for path in paths]
            return [found, names(mount_table(context))]

        found, points = confined(image, look)
        assert found == [0, 0, 0, 0, errno.ELOOP, errno.EBUSY, errno.EBUSY, errno.ENAMETOOLONG]
        assert points == ["/"]

    @pytest.mark.parametrize("kind", ["link", "file", "directory", "zero", "fifo", "missing"])
    def test_the_images_null_device_does_not_matter(self, image: Path, kind: str) -> None:
        (image / "dev").mkdir()
        null = image / "dev/null"
        make: dict[str, Callable[[], Any]] = {
            "link": lambda: null.symlink_to("/proc/sys/kernel/core_pattern"),
            "file": lambda: null.write_text("evil", encoding="utf-8"),
            "directory": null.mkdir,
            "zero": lambda: os.mknod(null, stat.S_IFCHR | 0o666, os.makedev(1, 5)),
            "fifo": lambda: os.mkfifo(null),
            "missing": lambda: None,
        }
        make[kind]()

        def look(context: Context) -> Any:
            mask(context, "/one.file", "/two.file")
            return [Path(path).read_text(encoding="utf-8") for path in ("/one.file", "/two.file")]

        assert confined(image, look) == ["", ""]

    def test_kernels_that_clone_only_what_is_attached(
        self, image: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = syscalls.open_tree
        attached: set[int] = set()

        def move(from_fd: int, to_fd: int, real_move: Any = syscalls.move_mount) -> None:
            real_move(from_fd, to_fd)
            attached.add(from_fd)

        def old(dirfd: int, path: bytes, flags: int) -> int:
            if dirfd not in attached:
                raise OSError(errno.EINVAL, "")
            return real(dirfd, path, flags)

        def look(context: Context) -> Any:
            monkeypatch.setattr(syscalls, "move_mount", move)
            monkeypatch.setattr(syscalls, "open_tree", old)
            mask(context, "/one", "/two", "/one.file", "/two.file", "/fifo")
            return sorted(names(mount_table(context)))

        assert confined(image, look) == ["/", "/fifo", "/one", "/one.file", "/two", "/two.file"]

    def test_a_host_whose_null_device_is_something_else(self, image: Path) -> None:
        def run() -> int:
            trees = {"root": clone(image)}
            context = Context(trees=trees, null_fd=clone("/dev/zero"))
            fields = {"path": "", "propagation": "rslave", "own_namespace": True}
            return errno_of(root.prepare_root, context, fields, 0)

        assert in_child(run) == errno.ENXIO

    def test_the_usual_paths_of_a_procfs(self, image: Path) -> None:
        def run() -> Any:
            context = furnish(image)
            mounts.mount_proc(context, filesystem("/proc"), 0)
            switch(context)
            for path in (
                "/proc/bus",
                "/proc/fs",
                "/proc/irq",
                "/proc/sys",
                "/proc/sysrq-trigger",
                "/proc/uptime",
            ):
                protect.readonly_path(context, {"path": path}, 0)
            mask(context, "/proc/keys", "/proc/timer_list", "/proc/scsi", "/proc/acpi")
            writing = [
                errno_of(lambda path=path: os.close(os.open(path, os.O_WRONLY)))
                for path in ("/proc/uptime", "/proc/sys/kernel/core_pattern")
            ]
            return [writing, Path("/proc/sys/kernel/ostype").read_text(encoding="utf-8")]

        assert in_child(run) == [[errno.EROFS, errno.EROFS], "Linux\n"]


class TestReadonly:
    def test_with_all_below(self, image: Path) -> None:
        def run() -> Any:
            context = furnish(image)
            mounts.mount_filesystem(context, filesystem("/one/sub"), 0)
            switch(context)
            fds = open_fds()
            for path in ("/one", "/two.file", "/link", "/missing", "/two.file/x", "/fifo"):
                protect.readonly_path(context, {"path": path}, 0)
            assert open_fds() == fds
            found = [errno_of(os.mkdir, path) for path in ("/one/x", "/one/sub/x", "/two/x")]
            found.append(errno_of(lambda: os.open("/two.file", os.O_WRONLY)))
            return [
                found,
                Path("/one/inside").read_text(encoding="utf-8"),
                Path("/link").read_text(encoding="utf-8"),
            ]

        assert in_child(run) == [[errno.EROFS, errno.EROFS, 0, errno.EROFS], "inside", "text"]
        assert (image / "two/x").is_dir()

    def test_the_root_is_refused(self, image: Path) -> None:
        def look(context: Context) -> Any:
            return errno_of(protect.readonly_path, context, {"path": "/"}, 0)

        assert confined(image, look) == errno.EBUSY


def test_everything_in_a_user_namespace(image: Path) -> None:
    """The trees come from the host; the namespace's root may mount, but make no nodes."""
    os.chown(image, 0, 0)
    trees = {"root": clone(image), "device:0": clone("/dev/null"), "mount:3": clone("/sys")}
    null = {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "mode": 0o666, "uid": 0, "gid": 0}

    def run() -> Any:
        context = Context(proc_fd=procfs.open_private(new_pid_namespace=False), trees=trees, has_userns=True)
        root.prepare_root(context, {"path": "", "propagation": "rslave", "own_namespace": True}, 0)
        mounts.mount_filesystem(context, filesystem("/dev", data=("mode=755",), attributes=("ro",)), 1)
        mounts.mount_filesystem(
            context, filesystem("/dev/pts", "devpts", data=("newinstance", "mode=0620", "gid=5")), 2
        )
        mounts.mount_sysfs(context, filesystem("/sys", attributes=("ro",)), 3)
        devices.create_device(context, null, 0)
        refused = errno_of(devices.create_device, context, {**null, "path": "/dev/zero", "minor": 5}, 4)
        switch(context)
        context.end_of_phase("container")
        mask(context, "/one", "/two", "/one.file", "/two.file", "/sys/firmware")
        protect.readonly_path(context, {"path": "/sys/kernel"}, 0)
        root.make_root_readonly(context, {}, 0)
        fd = os.open("/dev/null", os.O_RDWR)
        written = os.write(fd, b"x")
        writing = [errno_of(os.mkdir, path) for path in ("/x", "/dev/x", "/one/x")]
        kinds = {line[0]: line[3] for line in mount_table(context)}
        below = [line[2] for line in mount_table(context) if line[0].startswith("/sys/fs/cgroup")]
        below_readonly = bool(below) and all("ro" in options for options in below)
        return [refused, written, writing, kinds["/sys"], os.listdir("/one"), below_readonly]

    try:
        namespaces = syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS
        found = in_child(run, namespaces=namespaces)
    finally:
        for fd in trees.values():
            os.close(fd)
    assert found == [errno.EPERM, 1, [errno.EROFS] * 3, "sysfs", [], True]
