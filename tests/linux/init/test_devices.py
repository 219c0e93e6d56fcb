"""Device nodes and links are made below the root only, and never through a link."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from tests.linux.init.forked import clone, errno_of, furnish, in_child, mount_table, names, open_fds

from orlop_linux.init import devices

pytestmark = pytest.mark.usefixtures("unchanged_host")

NULL = {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "mode": 0o666, "uid": 0, "gid": 0}


def make(rootfs: Path, *steps: dict[str, Any], **facts: Any) -> Any:
    """Execute CreateDevice steps; return the errno of each."""

    def run() -> Any:
        context = furnish(rootfs, **facts)
        before = open_fds() - set(context.trees.values())
        found = [
            errno_of(devices.create_device, context, fields, index) for index, fields in enumerate(steps)
        ]
        assert open_fds() - set(context.trees.values()) == before
        return found

    return in_child(run)


def link(rootfs: Path, *steps: tuple[str, str, bool]) -> Any:
    """Execute CreateSymlink steps; return the errno of each."""

    def run() -> Any:
        context = furnish(rootfs)
        before = open_fds()
        found = [
            errno_of(devices.create_symlink, context, {"path": path, "target": target, "replace": replace}, 0)
            for path, target, replace in steps
        ]
        assert open_fds() == before
        return found

    return in_child(run)


@pytest.mark.parametrize(
    ("type_", "mode", "kind", "number"),
    [
        ("c", 0o666, stat.S_IFCHR, (1, 3)),
        ("u", 0o600, stat.S_IFCHR, (1, 3)),
        ("b", 0o640, stat.S_IFBLK, (1, 3)),
        ("p", 0o622, stat.S_IFIFO, (0, 0)),
    ],
)
def test_a_node_is_made_as_asked(
    rootfs: Path, type_: str, mode: int, kind: int, number: tuple[int, int]
) -> None:
    step = {**NULL, "path": "/dev/new/node", "type": type_, "mode": mode, "uid": 7, "gid": 8}
    assert make(rootfs, step) == [0]
    info = (rootfs / "dev/new/node").lstat()
    assert info.st_mode == kind | mode
    assert (info.st_uid, info.st_gid) == (7, 8)
    assert (os.major(info.st_rdev), os.minor(info.st_rdev)) == number


def test_the_right_node_is_kept_and_anything_else_is_an_error(rootfs: Path, host: Path) -> None:
    (rootfs / "dev").mkdir()
    os.mknod(rootfs / "dev/same", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.mknod(rootfs / "dev/full", stat.S_IFCHR | 0o600, os.makedev(1, 7))
    os.mknod(rootfs / "dev/block", stat.S_IFBLK | 0o600, os.makedev(1, 3))
    os.mkfifo(rootfs / "dev/fifo")
    (rootfs / "dev/file").touch()
    (rootfs / "dev/directory").mkdir()
    (rootfs / "dev/secret").symlink_to(host / "secret")
    (rootfs / "dev/dangling").symlink_to(host / "new")
    (rootfs / "dev/null").symlink_to("same")
    wrong = ("full", "block", "fifo", "file", "directory", "secret", "dangling", "null")
    found = make(rootfs, *({**NULL, "path": f"/dev/{name}"} for name in ("same", *wrong)))
    assert found == [0] + [errno.EEXIST] * len(wrong)
    assert stat.S_IMODE((rootfs / "dev/same").lstat().st_mode) == 0o600


@pytest.mark.parametrize("absolute", [True, False])
def test_a_linked_dev_stays_inside(rootfs: Path, host: Path, absolute: bool) -> None:
    (rootfs / "dev").symlink_to(host if absolute else "../" * 40 + str(host).lstrip("/"))
    assert make(rootfs, NULL) == [0]
    assert link(rootfs, ("/dev/ptmx", "pts/ptmx", True), ("/dev/fd", "/proc/self/fd", False)) == [0, 0]
    inside = rootfs / str(host).lstrip("/")
    assert sorted(os.listdir(inside)) == ["fd", "null", "ptmx"]


@pytest.mark.parametrize("path", ["/", "/dev/..", "/dev/."])
def test_a_path_without_a_name_is_refused(rootfs: Path, path: str) -> None:
    assert make(rootfs, {**NULL, "path": path}) == [errno.EINVAL]


def test_an_unknown_type_is_refused(rootfs: Path) -> None:
    assert make(rootfs, {**NULL, "type": "s"}) == [errno.EINVAL]


class TestBound:
    """In a user namespace, the host's node is bound."""

    def run(self, rootfs: Path, source: str, *, has_userns: bool = True, **fields: Any) -> Any:
        def run() -> Any:
            context = furnish(rootfs, has_userns=has_userns, trees={"device:0": clone(source)})
            before = open_fds() - set(context.trees.values())
            old = names(mount_table(context))
            number = errno_of(devices.create_device, context, {**NULL, **fields}, 0)
            assert open_fds() == before
            new = names(mount_table(context))
            return [number, [path for path in new if new.count(path) > old.count(path)][-1:]]

        return in_child(run)

    def test_over_a_new_file(self, rootfs: Path) -> None:
        assert self.run(rootfs, "/dev/null") == [0, ["/dev/null"]]
        assert stat.S_ISREG((rootfs / "dev/null").lstat().st_mode)

    def test_over_the_same_node(self, rootfs: Path) -> None:
        (rootfs / "dev").mkdir()
        os.mknod(rootfs / "dev/null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        assert self.run(rootfs, "/dev/null") == [0, ["/dev/null"]]

    def test_a_tree_of_another_device_is_refused(self, rootfs: Path) -> None:
        assert self.run(rootfs, "/dev/zero") == [errno.ENXIO, []]

    def test_without_a_user_namespace_only_over_an_empty_file(self, rootfs: Path) -> None:
        (rootfs / "dev").mkdir()
        assert self.run(rootfs, "/dev/null", has_userns=False) == [0, []]
        assert stat.S_ISCHR((rootfs / "dev/null").lstat().st_mode)
        (rootfs / "dev/null").unlink()
        (rootfs / "dev/null").touch()
        assert self.run(rootfs, "/dev/null", has_userns=False) == [0, ["/dev/null"]]
        (rootfs / "dev/null").write_text("content", encoding="utf-8")
        assert self.run(rootfs, "/dev/null", has_userns=False) == [errno.EEXIST, []]

    def test_nothing_is_bound_over_something_else(self, rootfs: Path, host: Path) -> None:
        (rootfs / "dev").mkdir()
        (rootfs / "dev/null").symlink_to(host / "secret")
        assert self.run(rootfs, "/dev/null") == [errno.EEXIST, []]
        (rootfs / "dev/null").unlink()
        (rootfs / "dev/null").write_text("content", encoding="utf-8")
        assert self.run(rootfs, "/dev/null") == [errno.EEXIST, []]


class TestSymlink:
    def test_made_kept_and_replaced(self, rootfs: Path) -> None:
        steps = (
            ("/dev/fd", "/proc/self/fd", False),
            ("/dev/fd", "/proc/self/fd", False),
            ("/dev/fd", "/elsewhere", False),
            ("/dev/fd", "/elsewhere", True),
        )
        assert link(rootfs, *steps) == [0, 0, errno.EEXIST, 0]
        assert os.readlink(rootfs / "dev/fd") == "/elsewhere"

    def test_what_is_replaced(self, rootfs: Path, host: Path) -> None:
        (rootfs / "dev").mkdir()
        (rootfs / "dev/file").touch()
        os.mkfifo(rootfs / "dev/fifo")
        (rootfs / "dev/link").symlink_to(host / "ptmx")
        (rootfs / "dev/directory").mkdir()
        found = link(rootfs, *((f"/dev/{name}", "x", True) for name in ("file", "fifo", "link", "directory")))
        assert found == [0, 0, 0, errno.EEXIST]
        assert (rootfs / "dev/directory").is_dir()

    def test_a_target_with_a_nul_is_refused(self, rootfs: Path) -> None:
        assert link(rootfs, ("/x", "a\0b", False)) == [errno.EINVAL]
