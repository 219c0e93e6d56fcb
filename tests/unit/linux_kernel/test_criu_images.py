"""Directories of images, and names in them, are input: attacks H5 and H6."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from orlop_hookspecs.errors import PlatformError, StepError, UsageError
from orlop_linux.kernel.criu import images, keys


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    made = tmp_path / "images"
    made.mkdir()
    (made / "inventory.img").write_bytes(b"")
    fd = images.open_directory(str(made), "image directory")
    yield made, fd
    os.close(fd)


def test_regular_files_and_directories_are_accepted(place: tuple[Path, int]) -> None:
    path, fd = place
    (path / "dump.log").write_text("")
    (path / "below").mkdir()
    images.verify(fd, str(path))
    images.require_inventory(fd, str(path))


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702])
def test_a_directory_that_others_can_write_is_refused(place: tuple[Path, int], mode: int) -> None:
    path, fd = place
    path.chmod(mode)
    with pytest.raises(PlatformError, match="others can write to its directory") as caught:
        images.verify(fd, str(path))
    assert (caught.value.path, caught.value.errno) == (str(path), errno.EPERM)
    path.chmod(0o775)
    images.verify(fd, str(path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
@pytest.mark.parametrize(("owner", "group", "mode"), [(1000, 0, 0o700), (0, 1000, 0o770)])
def test_a_directory_of_somebody_else_is_refused(
    place: tuple[Path, int], owner: int, group: int, mode: int
) -> None:
    path, fd = place
    path.chmod(mode)
    os.chown(path, owner, group)
    with pytest.raises(PlatformError, match="others can write to its directory"):
        images.verify(fd, str(path))


def test_an_inventory_says_whose_labels_the_images_hold(place: tuple[Path, int]) -> None:
    """A varint in field 6 behind two magic numbers and the length of the message."""
    path, fd = place
    head = bytes(8) + b"\x04\0\0\0"
    (path / "inventory.img").write_bytes(head + b"\x08\x01\x30\x02")
    images.require_labels(fd, str(path), "apparmor")
    with pytest.raises(PlatformError, match="criu keeps no labels of SELinux") as caught:
        images.require_labels(fd, str(path), "selinux")
    assert caught.value.errno == errno.EOPNOTSUPP
    for content in (head + b"\x08\x01\x30\x00", head + b"\x30", b""):
        (path / "inventory.img").write_bytes(content)
        with pytest.raises(PlatformError, match="criu keeps no labels of AppArmor"):
            images.require_labels(fd, str(path), "apparmor")


@pytest.mark.parametrize(
    "name", ["inventory.img", "dump.log", "restore.log", "pages-1.img", "descriptors.json"]
)
def test_a_link_in_place_of_a_file_is_refused(place: tuple[Path, int], tmp_path: Path, name: str) -> None:
    path, fd = place
    secret = tmp_path / "secret"
    secret.write_text("kept")
    (path / name).unlink(missing_ok=True)
    (path / name).symlink_to(secret)
    with pytest.raises(PlatformError, match="not a regular file") as caught:
        images.verify(fd, str(path))
    assert caught.value.path == f"{path}/{name}"
    assert secret.read_text() == "kept"


def test_pipes_are_refused_without_being_opened(place: tuple[Path, int]) -> None:
    path, fd = place
    os.mkfifo(path / "core-1.img")
    with pytest.raises(PlatformError, match="not a regular file"):
        images.verify(fd, str(path))


def test_a_parent_is_a_relative_path_to_images(place: tuple[Path, int]) -> None:
    path, fd = place
    before = path.parent / "before"
    before.mkdir()
    (path / "parent").symlink_to("../before")
    images.verify(fd, str(path))
    (before / "pages-1.img").symlink_to("/etc/passwd")
    with pytest.raises(PlatformError, match="not a regular file"):
        images.verify(fd, str(path))
    (before / "pages-1.img").unlink()
    (before / "parent").symlink_to("../before")
    with pytest.raises(PlatformError, match="no relative path to earlier images"):
        images.verify(fd, str(path))
    (path / "parent").unlink()
    (path / "parent").symlink_to(before)
    with pytest.raises(PlatformError, match="no relative path to earlier images"):
        images.verify(fd, str(path))


def test_logs_of_before_are_removed_and_links_are_not_followed(
    place: tuple[Path, int], tmp_path: Path
) -> None:
    path, fd = place
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("kept")
    os.link(elsewhere, path / "dump.log")
    images.clear(fd, str(path), ("dump.log", "stats-dump"))
    assert not (path / "dump.log").exists()
    assert elsewhere.read_text() == "kept"
    (path / "dump.log").symlink_to(elsewhere)
    with pytest.raises(PlatformError, match="in the way"):
        images.clear(fd, str(path), ("dump.log",))


def test_a_log_is_not_written_where_everybody_can_put_a_link(place: tuple[Path, int]) -> None:
    path, fd = place
    for mode in (0o777, 0o703):
        path.chmod(mode)
        with pytest.raises(PlatformError, match="everybody can write to the directory of the log") as caught:
            images.clear(fd, str(path), ())
        assert (caught.value.path, caught.value.errno) == (str(path), errno.EPERM)
    for mode in (0o1777, 0o775):
        path.chmod(mode)
        images.clear(fd, str(path), ())


def test_without_an_inventory_there_is_no_checkpoint(place: tuple[Path, int]) -> None:
    path, fd = place
    (path / "inventory.img").unlink()
    with pytest.raises(PlatformError, match=r"inventory.img is missing"):
        images.require_inventory(fd, str(path))
    with pytest.raises(UsageError, match="cannot open the image directory"):
        images.open_directory(f"{path}/none", "image directory")


def test_descriptors_are_written_and_read(place: tuple[Path, int]) -> None:
    path, fd = place
    assert images.read_descriptors(fd, str(path)) == ["", "", ""]
    images.write_descriptors(fd, str(path), ["null:file[1b:3]", "pipe:[123]", "/dev/pts/0"])
    assert (path / "descriptors.json").stat().st_mode & 0o777 == 0o600
    assert images.read_descriptors(fd, str(path)) == ["null:file[1b:3]", "pipe:[123]", ""]
    images.write_descriptors(fd, str(path), ["tty[8801:17]", "", ""])
    assert images.read_descriptors(fd, str(path)) == ["tty[8801:17]", "", ""]
    images.write_descriptors(fd, str(path), ["", "", ""])
    assert json.loads((path / "descriptors.json").read_text()) == ["", "", ""]


@pytest.mark.parametrize("text", ["", "{}", '["", ""]', '["", "", 1]', '["a', "[" * 5000])
def test_malformed_descriptors_are_refused(place: tuple[Path, int], text: str) -> None:
    path, fd = place
    (path / "descriptors.json").write_text(text)
    with pytest.raises(PlatformError, match="three texts are expected"):
        images.read_descriptors(fd, str(path))


@pytest.mark.parametrize(
    "key",
    [
        "pipe:[1]\n",
        "pipe:[x]",
        "extRootNetNS",
        "file[1:2]:/etc",
        "socket:[1]",
        "pipe:[]",
        "tty[x:1]",
        "tty[8801]",
        "null:pipe:[1]",
        "null:",
    ],
)
def test_a_key_that_is_none_replaces_nothing(place: tuple[Path, int], key: str) -> None:
    path, fd = place
    (path / "descriptors.json").write_text(json.dumps([key, "", ""]))
    assert images.read_descriptors(fd, str(path)) == ["", "", ""]


@pytest.mark.parametrize("key", ["/data", "/a/b:c", "/with blank", "/umlaut-\u00e4", "/" + "x" * 4094])
def test_names_that_criu_can_keep(key: str) -> None:
    assert keys.verify_key(key, "/mounts/0") == key


@pytest.mark.parametrize(
    "key",
    [
        "/a]:/etc",
        "/a[",
        "/a]",
        "/a,b",
        "/a\nb",
        "/a\x1bb",
        "relative",
        "/a/../b",
        "/" + "x" * 4095,
        "/a\udcff",
    ],
)
def test_names_that_could_be_read_as_others_are_refused(key: str) -> None:
    with pytest.raises(StepError, match="cannot tell this mount point from others") as caught:
        keys.verify_key(key, "/mounts/0")
    assert caught.value.pointer == "/mounts/0"


def test_hierarchies_of_cgroups_have_commas_and_nothing_else_that_is_forbidden() -> None:
    assert keys.hierarchy_key("/sys/fs/cgroup", "", "/mounts/0") == "/sys/fs/cgroup"
    assert keys.hierarchy_key("/cg", "cpu,cpuacct", "/mounts/0") == "/cg/cpu,cpuacct"
    for directory, name in (
        ("/a,b", "cpu"),
        ("/cg", "a]:b"),
        ("/cg", "a,"),
        ("/cg", ",a"),
        ("/" + "x" * 4090, "a,bcd"),
    ):
        with pytest.raises(StepError, match="cannot tell this mount point from others"):
            keys.hierarchy_key(directory, name, "/mounts/0")


def test_mount_points_are_found_where_links_lead(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("/real")
    root = os.open(tmp_path, os.O_PATH)
    try:
        assert keys.resolved(root, "/link") == str(tmp_path / "real")
        assert keys.resolved(root, "/../../real") == str(tmp_path / "real")
        assert keys.resolved(root, "/nothing") is None
    finally:
        os.close(root)


def test_only_the_null_device_stays_where_what_is_given_has_no_position(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    try:
        for key, given, stays in (
            ("null:file[1:2]", reader, True),
            ("null:file[1:2]", file, False),
            ("file[1:2]", reader, False),
            ("pipe:[1]", reader, False),
            ("", reader, False),
        ):
            assert images.stays_null(given, key) is stays, key
    finally:
        for fd in (reader, writer, file):
            os.close(fd)
