"""Each kind of mount, on destinations that an image controls."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.linux.init.forked import (
    bind,
    clone,
    errno_of,
    filesystem,
    furnish,
    in_child,
    mount_table,
    names,
    open_fds,
)

from orlop_linux.init import mounts, syscalls
from orlop_linux.init.context import Context

pytestmark = pytest.mark.usefixtures("unchanged_host")

ATTRIBUTES = (
    "ro",
    "nosuid",
    "nodev",
    "noexec",
    "nodiratime",
    "nosymfollow",
    "noatime",
    "relatime",
    "strictatime",
)
SUPERBLOCK = ("sync", "dirsync", "lazytime", "mand", "iversion", "silent", "ro")


def refuse(context: Context, operation: Callable[..., None], fields: dict[str, Any], index: int = 0) -> int:
    """Return the errno of an operation that must neither mount nor leave a descriptor."""
    before = mount_table(context), open_fds() - {context.trees.get(f"mount:{index}", -1)}
    number = errno_of(operation, context, fields, index)
    after = mount_table(context), open_fds()
    assert before == after
    return number


def add_tree(context: Context, path: Path | str, index: int = 0) -> None:
    """Give *context* the tree that the engine would send; the path is the host's."""
    context.trees[f"mount:{index}"] = clone(path)


class TestFilesystem:
    def test_options_of_the_file_system(self, rootfs: Path) -> None:
        def run() -> Any:
            context = furnish(rootfs)
            before = open_fds()
            mounts.mount_filesystem(context, filesystem("/a/b", data=("size=64k", "mode=0711")), 0)
            fd = os.open("a/b", os.O_RDONLY, dir_fd=context.root_fd)
            size = os.fstatvfs(fd).f_blocks * os.fstatvfs(fd).f_bsize
            mode = stat.S_IMODE(os.fstat(fd).st_mode)
            os.close(fd)
            return [size, mode, open_fds() == before, names(mount_table(context))[-1]]

        assert in_child(run) == [65536, 0o711, True, "/a/b"]
        assert os.listdir(rootfs / "a/b") == []

    def test_attributes(self, rootfs: Path) -> None:
        def run() -> Any:
            context = furnish(rootfs)
            for name in ATTRIBUTES:
                mounts.mount_filesystem(context, filesystem(f"/{name}", attributes=(name, "nosuid")), 0)
            context.end_of_phase("container")
            return {point.lstrip("/"): options for point, _, options, _ in mount_table(context)}

        found = in_child(run)
        for name in ATTRIBUTES:
            if name == "strictatime":  # shown by the absence of the other two
                assert not {"relatime", "noatime"} & set(found[name])
            else:
                assert name in found[name]
            assert "nosuid" in found[name]
        assert "ro" not in found["nodev"]

    @pytest.mark.parametrize("name", SUPERBLOCK)
    def test_flags_of_the_file_system(self, rootfs: Path, name: str) -> None:
        def run() -> Any:
            context = furnish(rootfs)
            fields = filesystem("/x", superblock=(name,), attributes=("noexec",), data=("mode=0700",))
            mounts.mount_filesystem(context, fields, 0)
            flags = mount_table(context)[-1]
            fd = os.open("x", os.O_RDONLY, dir_fd=context.root_fd)
            return [flags, errno_of(lambda: os.mkdir("y", dir_fd=fd)), stat.S_IMODE(os.fstat(fd).st_mode)]

        line, writing, mode = in_child(run)
        assert line[0] == "/x"
        assert "noexec" in line[2]
        assert mode == 0o700
        assert writing == (errno.EROFS if name == "ro" else 0)

    def test_a_tmpfs_becomes_read_only_when_it_is_furnished(self, rootfs: Path) -> None:
        def run() -> Any:
            context = furnish(rootfs)
            mounts.mount_filesystem(context, filesystem("/dev", attributes=("ro", "nosuid")), 0)
            mounts.mount_filesystem(context, filesystem("/dev/shm"), 1)
            context.end_of_phase("container")
            dev = os.open("dev", os.O_RDONLY, dir_fd=context.root_fd)
            os.mkdir("shm/x", dir_fd=dev)
            return errno_of(lambda: os.mkdir("x", dir_fd=dev))

        assert in_child(run) == errno.EROFS

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"type_": "nosuchfs"}, errno.ENODEV),
            ({"data": ("nosuchoption",)}, errno.EINVAL),
            ({"data": ("size=many",)}, errno.EINVAL),
            ({"attributes": ("nosuchattribute",)}, errno.EINVAL),
            ({"propagation": ("nosuch",)}, errno.EINVAL),
            ({"idmap": {"recursive": False, "uid": (), "gid": ()}}, errno.EOPNOTSUPP),
            ({"type_": "tmp\0fs"}, errno.EINVAL),
            ({"data": ("mode=0700\0",)}, errno.EINVAL),
            ({"data": ("mode=\ud800",)}, errno.EINVAL),
            ({"source": "\ud800"}, errno.EINVAL),
            ({"type_": ""}, errno.ENOENT),
        ],
    )
    def test_what_cannot_be_applied_is_refused(
        self, rootfs: Path, fields: dict[str, Any], expected: int
    ) -> None:
        def run() -> int:
            context = furnish(rootfs)
            return refuse(context, mounts.mount_filesystem, filesystem("/x", **fields))

        assert in_child(run) == expected

    def test_values_longer_than_fsconfig_takes(self, rootfs: Path, tmp_path: Path) -> None:
        lower = tmp_path / ("l" * 200) / ("m" * 200)
        lower.mkdir(parents=True)
        (lower / "file").touch()
        (tmp_path / "upper").mkdir()
        (tmp_path / "work").mkdir()

        def run() -> Any:
            context = furnish(rootfs)
            data = (f"lowerdir={lower}", f"upperdir={tmp_path}/upper", f"workdir={tmp_path}/work")
            fields = filesystem("/x", "overlay", data=data, attributes=("nodev",), propagation=("rshared",))
            before = open_fds()
            mounts.mount_filesystem(context, fields, 0)
            leaked = open_fds() - before
            point, _, options, kind = mount_table(context)[-1]
            return [
                os.listdir(os.open("x", os.O_RDONLY, dir_fd=context.root_fd)),
                sorted(leaked),
                point,
                kind,
                options,
            ]

        found, leaked, point, kind, options = in_child(run)
        assert (found, leaked, point, kind) == (["file"], [], "/x", "overlay")
        assert "nodev" in options
        assert any(option.startswith("shared:") for option in options)

    def test_a_failed_call_leaves_no_private_place(self, rootfs: Path) -> None:
        def run() -> int:
            context = furnish(rootfs)
            return refuse(context, mounts.mount_filesystem, filesystem("/x", data=("mpol=" + "x" * 300,)))

        assert in_child(run) == errno.EINVAL

    def test_devpts_and_mqueue(self, rootfs: Path) -> None:
        def run() -> Any:
            context = furnish(rootfs)
            data = ("newinstance", "ptmxmode=0666", "mode=0620", "gid=5")
            mounts.mount_filesystem(context, filesystem("/dev/pts", "devpts", data=data), 0)
            mounts.mount_filesystem(context, filesystem("/dev/mqueue", "mqueue", attributes=("ro",)), 1)
            return [[line[0], line[3]] for line in mount_table(context)[-2:]]

        assert in_child(run) == [["/dev/pts", "devpts"], ["/dev/mqueue", "mqueue"]]


class TestDestination:
    def test_links_lead_into_the_root(self, rootfs: Path, host: Path) -> None:
        (rootfs / "absolute").symlink_to(host)
        (rootfs / "up").symlink_to("../" * 40 + str(host).lstrip("/"))
        (rootfs / "dangling").symlink_to("/not/there")

        def run() -> Any:
            context = furnish(rootfs)
            for path in ("/absolute/new", "/up", "/dangling"):
                mounts.mount_filesystem(context, filesystem(path), 0)
            return names(mount_table(context))[-3:]

        assert in_child(run) == [f"{host}/new", str(host), "/not/there"]

    def test_the_root_itself_is_refused(self, rootfs: Path) -> None:
        (rootfs / "self").symlink_to("/")

        def run() -> Any:
            context = furnish(rootfs)
            return [
                refuse(context, mounts.mount_filesystem, filesystem(path)) for path in ("/self", "/", "/..")
            ]

        assert in_child(run) == [errno.EBUSY] * 3

    def test_a_file_is_no_destination_for_a_file_system(self, rootfs: Path) -> None:
        (rootfs / "file").touch()
        os.mkfifo(rootfs / "fifo")

        def run() -> Any:
            context = furnish(rootfs)
            return [refuse(context, mounts.mount_filesystem, filesystem(path)) for path in ("/file", "/fifo")]

        assert in_child(run) == [errno.ENOTDIR] * 2

    def test_a_destination_that_is_swapped_all_the_time(self, rootfs: Path, host: Path) -> None:
        (rootfs / "volume/real").mkdir(parents=True)
        (rootfs / "volume/evil").symlink_to("../" * 40 + str(host).lstrip("/"))

        def run() -> Any:
            rename = ctypes.CDLL(None, use_errno=True).renameat2
            one, other = (os.fsencode(rootfs / "volume" / name) for name in ("real", "evil"))
            pid = os.fork()
            if pid == 0:
                while os.getppid() != 1:
                    rename(-100, one, -100, other, 2)
            try:
                context = furnish(rootfs)
                done = 0
                for number in range(150):
                    fields = filesystem(f"/volume/real/{number}/x", source=f"race{number}")
                    done += not errno_of(mounts.mount_filesystem, context, fields, 0)
                places = [line[0] for line in mount_table(context) if line[3] == "tmpfs"]
            finally:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            return [done, places]

        done, places = in_child(run)
        inside = [place for place in places if place.endswith("/x")]
        assert done == len(inside) > 0
        # Paths in the child's table are those of the new root, which lies over the old one.
        allowed = ("/volume/real/", "/volume/evil/", f"{host}/")
        assert all(place.startswith(allowed) for place in inside)


class TestBind:
    def test_directories_and_files(self, rootfs: Path, host: Path) -> None:
        os.mkfifo(rootfs / "fifo")

        def run() -> Any:
            context = furnish(rootfs)
            for index, (source, destination) in enumerate(
                (("directory", "/new/directory"), ("secret", "/new/file"), ("secret", "/fifo"))
            ):
                add_tree(context, host / source, index)
                mounts.mount_bind(context, bind(destination, attributes=("ro",)), index)
            fd = os.open("fifo", os.O_RDONLY, dir_fd=context.root_fd)
            text = os.read(fd, 100).decode()
            writing = errno_of(lambda: os.open("new/file", os.O_WRONLY, dir_fd=context.root_fd))
            return [text, writing, names(mount_table(context))[-3:], context.trees]

        assert in_child(run) == ["secret", errno.EROFS, ["/new/directory", "/new/file", "/fifo"], {}]
        assert stat.S_ISREG((rootfs / "new/file").stat().st_mode)

    @pytest.mark.parametrize(("source", "destination"), [("secret", "/directory"), ("directory", "/file")])
    def test_a_file_and_a_directory_do_not_fit(
        self, rootfs: Path, host: Path, source: str, destination: str
    ) -> None:
        (rootfs / "directory").mkdir()
        (rootfs / "file").touch()

        def run() -> int:
            context = furnish(rootfs)
            add_tree(context, host / source)
            return refuse(context, mounts.mount_bind, bind(destination))

        assert in_child(run) == errno.ENOTDIR

    def test_recursive_attributes(self, rootfs: Path, tmp_path: Path) -> None:
        (tmp_path / "source/sub").mkdir(parents=True)

        def run() -> Any:
            sub = os.open(tmp_path / "source/sub", os.O_PATH)
            syscalls.move_mount(mounts.new_filesystem("tmpfs", "sub", ()), sub)
            context = furnish(rootfs)
            for index, fields in enumerate(
                (
                    bind("/plain", attributes=("ro",)),
                    bind("/all", recursive=(("ro", True), ("noatime", True))),
                    bind("/back", attributes=("noexec",), recursive=(("noexec", False), ("nosuid", True))),
                )
            ):
                add_tree(context, tmp_path / "source", index)
                mounts.mount_bind(context, fields, index)
            return {point: options for point, _, options, _ in mount_table(context)}

        found = in_child(run)
        assert "ro" in found["/plain"]
        assert "ro" not in found["/plain/sub"]
        assert all({"ro", "noatime"} <= set(found[point]) for point in ("/all", "/all/sub"))
        assert all(
            "nosuid" in found[point] and "noexec" not in found[point] for point in ("/back", "/back/sub")
        )

    def test_access_times_have_one_attribute(self, rootfs: Path, tmp_path: Path) -> None:
        (tmp_path / "source").mkdir()

        def run() -> Any:
            source = os.open(tmp_path / "source", os.O_PATH)
            mount = mounts.new_filesystem("tmpfs", "sub", (), (), syscalls.MOUNT_ATTR_NOATIME)
            syscalls.move_mount(mount, source)
            context = furnish(rootfs)
            cases = {
                "/kept": bind("/kept"),
                "/cleared": bind("/cleared", cleared=("noatime",)),
                "/other": bind("/other", cleared=("strictatime", "relatime")),
                "/strict": bind("/strict", attributes=("strictatime",)),
                "/rcleared": bind("/rcleared", recursive=(("noatime", False),)),
            }
            for index, fields in enumerate(cases.values()):
                add_tree(context, tmp_path / "source", index)
                mounts.mount_bind(context, fields, index)
            shown = {"noatime", "relatime"}
            return {
                line[0]: sorted(shown & set(line[2])) for line in mount_table(context) if line[0] in cases
            }

        assert in_child(run) == {
            "/kept": ["noatime"],
            "/cleared": ["relatime"],
            "/other": ["noatime"],
            "/strict": [],
            "/rcleared": ["relatime"],
        }

    def test_no_mount_point_is_made_in_a_read_only_bind(self, rootfs: Path, host: Path) -> None:
        def run() -> int:
            context = furnish(rootfs)
            add_tree(context, host)
            mounts.mount_bind(context, bind("/ro", attributes=("ro",)), 0)
            return refuse(context, mounts.mount_filesystem, filesystem("/ro/missing"))

        assert in_child(run) == errno.EROFS

    def test_a_tree_that_the_engine_did_not_send(self, rootfs: Path) -> None:
        def run() -> int:
            return refuse(furnish(rootfs), mounts.mount_bind, bind("/x"))

        assert in_child(run) == errno.EBADF

    def test_propagation(self, rootfs: Path, host: Path) -> None:
        def run() -> Any:
            context = furnish(rootfs)
            for index, kinds in enumerate((("rshared",), ("unbindable",), ("shared", "private"), ())):
                add_tree(context, host, index)
                mounts.mount_bind(context, bind(f"/{index}", propagation=kinds), index)
            return [line[2] for line in mount_table(context)[-4:]]

        kinds = [
            [
                option.partition(":")[0]
                for option in options
                if option.startswith(("shared", "unbindable", "master"))
            ]
            for options in in_child(run)
        ]
        assert kinds == [["shared"], ["unbindable"], [], []]


class TestProc:
    def test_proc_and_sysfs(self, rootfs: Path) -> None:
        def run() -> Any:
            context = furnish(rootfs)
            mounts.mount_proc(context, filesystem("/proc", attributes=("nosuid",), data=("hidepid=2",)), 0)
            mounts.mount_sysfs(context, filesystem("/sys", attributes=("ro",)), 1)
            return [[line[0], line[3]] for line in mount_table(context)[-2:]]

        assert in_child(run) == [["/proc", "proc"], ["/sys", "sysfs"]]

    @pytest.mark.parametrize("target", ["/tmp/p", "etc", "/missing", "../../../tmp/p"])
    @pytest.mark.parametrize("name", ["proc", "sys"])
    def test_a_link_in_their_place_is_refused(self, rootfs: Path, name: str, target: str) -> None:
        (rootfs / "tmp/p").mkdir(parents=True)
        (rootfs / "etc").mkdir()
        (rootfs / name).symlink_to(target)

        def run() -> int:
            operation = mounts.mount_proc if name == "proc" else mounts.mount_sysfs
            return refuse(furnish(rootfs), operation, filesystem(f"/{name}"))

        assert in_child(run) == errno.ELOOP

    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            ("/proc", errno.EPERM),
            ("/alias", errno.EPERM),
            ("/proc/self", errno.EPERM),
            ("/proc/sys", errno.EPERM),
            ("/alias/self/attr", errno.EPERM),
            ("/proc/uptime", 0),
            ("/proc/net/dev", 0),
            ("/alias/uptime", errno.EPERM),
            ("/dev/core", errno.EPERM),
        ],
    )
    def test_nothing_hides_a_procfs(self, rootfs: Path, host: Path, path: str, expected: int) -> None:
        (rootfs / "alias").symlink_to("proc")
        (rootfs / "dev").mkdir()
        (rootfs / "dev/core").symlink_to("/proc/version")
        is_file = path.endswith(("uptime", "net/dev", "core"))

        def run() -> int:
            context = furnish(rootfs)
            mounts.mount_proc(context, filesystem("/proc"), 0)
            add_tree(context, host / ("secret" if is_file else "directory"), 1)
            number = errno_of(mounts.mount_bind, context, bind(path), 1)
            if not is_file:
                assert refuse(context, mounts.mount_filesystem, filesystem(path)) == expected
            return number

        assert in_child(run) == expected

    def test_proc_is_no_place_for_anything_else(self, rootfs: Path, host: Path) -> None:
        def run() -> Any:
            context = furnish(rootfs)
            add_tree(context, host)
            first = refuse(context, mounts.mount_bind, bind("/proc"))
            add_tree(context, "/proc/self/task")
            second = refuse(context, mounts.mount_bind, bind("/proc"))
            add_tree(context, "/proc")
            return [first, second, errno_of(mounts.mount_bind, context, bind("/proc"), 0)]

        assert in_child(run) == [errno.EPERM, errno.EPERM, 0]


def test_nobody_elses_root_is_covered_for_a_moment(rootfs: Path) -> None:
    """In a shared mount namespace there is no private place for mount(2)."""

    def run() -> int:
        context = furnish(rootfs, new_namespaces=frozenset())
        return refuse(context, mounts.mount_filesystem, filesystem("/x", superblock=("iversion",)))

    assert in_child(run) == errno.EOPNOTSUPP
