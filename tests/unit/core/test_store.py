"""The store on disk: what is taken, locked, trusted, and what survives a crash or an attack."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from orlop.store import directory
from orlop.store import root as roots
from orlop.store.directory import DirectoryStore
from orlop.store.identifiers import check_identifier, is_identifier
from orlop.store.root import default_root, label_of
from orlop_hookspecs.errors import (
    ContainerExistsError,
    ContainerNotFoundError,
    InvalidIdError,
    StateError,
    StoreError,
)


@pytest.fixture
def store(root: str) -> DirectoryStore:
    return DirectoryStore(root)


@pytest.mark.parametrize(
    "name", ["a", "A-b_c.d+e", "...", "0", "_", "a" * 1024, "a-", ".a", "+", "container.1"]
)
def test_identifiers(name: str) -> None:
    assert check_identifier(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "-a",
        "--help",
        "a/b",
        "/",
        "a b",
        "a\n",
        "a\0",
        "é",
        "a" * 1025,
        "a\\",
        "$(x)",
        "..\u200b",
        "\uff11",
    ],
)
def test_invalid_identifiers(name: str, store: DirectoryStore, root: str) -> None:
    assert not is_identifier(name)
    with pytest.raises(InvalidIdError):
        store.create(name)
    with pytest.raises(InvalidIdError):
        store.open(name)
    assert not os.path.exists(root)


def test_a_name_that_the_file_system_cannot_hold_changes_nothing(store: DirectoryStore) -> None:
    with pytest.raises(StoreError) as caught:
        store.create("a" * 300)
    assert caught.value.errno == errno.ENAMETOOLONG
    with pytest.raises(ContainerNotFoundError):
        store.open("a" * 300)
    assert store.list() == []


def test_a_slot_from_create_to_remove(store: DirectoryStore, root: str) -> None:
    with store.create("box") as slot:
        assert slot.path == f"{root}/box"
        assert stat.S_IMODE(os.stat(slot.path).st_mode) == 0o700
        assert stat.S_IMODE(os.stat(root).st_mode) == 0o700
        assert slot.read("x") is None
        slot.write("x", b"one")
        slot.write("x", b"two")
        assert slot.read("x") == b"two"
        slot.append("log", b"1\n")
        slot.append("log", b"2\n")
        assert slot.read("log") == b"1\n2\n"
        slot.write("log", b"new\n")
        slot.append("log", b"3\n")
        assert slot.read("log") == b"new\n3\n"
        assert stat.S_IMODE(os.stat(f"{slot.path}/x").st_mode) == 0o600
        with pytest.raises(ContainerExistsError, match="container with given ID already exists"):
            store.create("box")
    assert store.list() == ["box"]
    with store.open("box") as slot:
        slot.remove()
        slot.remove()
        slot.close()
    assert store.list() == []
    with pytest.raises(ContainerNotFoundError, match="does not exist"):
        store.open("box")


def test_remove_takes_everything_and_follows_nothing(store: DirectoryStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    with store.create("box") as slot:
        os.symlink(outside, f"{slot.path}/link")
        os.mkdir(f"{slot.path}/dir")
        os.symlink(outside / "precious", f"{slot.path}/dir/link")
        os.mkfifo(f"{slot.path}/fifo")
        with socket.socket(socket.AF_UNIX) as unix:
            unix.bind(f"{slot.path}/start.sock")
        slot.write("record.json", b"{}")
        slot.append("journal", b"x\n")
        slot.remove()
    assert store.list() == []
    assert (outside / "precious").read_text() == "x"


def test_links_and_special_files_in_a_slot_are_not_followed(store: DirectoryStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    with store.create("box") as slot:
        os.symlink(secret, f"{slot.path}/record.json")
        os.symlink(secret, f"{slot.path}/journal")
        os.mkfifo(f"{slot.path}/fifo")
        os.mkdir(f"{slot.path}/dir")
        for name in ("record.json", "fifo", "dir"):
            with pytest.raises(StoreError):
                slot.read(name)
        with pytest.raises(StoreError):
            slot.append("journal", b"x")
        with pytest.raises(StoreError):
            slot.append("fifo", b"x")
        slot.write("record.json", b"new")
        assert slot.read("record.json") == b"new"
    assert secret.read_bytes() == b"secret"


def test_a_temporary_file_left_by_a_killed_runtime_is_replaced(store: DirectoryStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    with store.create("box") as slot:
        os.symlink(secret, f"{slot.path}/.x.new")
        slot.write("x", b"1")
        assert slot.read("x") == b"1"
    assert secret.read_bytes() == b"secret"


def test_huge_files_are_refused(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "SIZE_LIMIT", 10)
    with store.create("box") as slot:
        slot.write("x", b"12345678901")
        with pytest.raises(StoreError, match="too large"):
            slot.read("x")


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777, 0o770])
def test_a_root_that_others_can_write_to_is_refused(root: str, mode: int) -> None:
    os.mkdir(root)
    os.chmod(root, mode)
    store = DirectoryStore(root)
    for act in (store.list, lambda: store.create("a"), lambda: store.open("a")):
        with pytest.raises(StoreError, match="writable by others"):
            act()


def test_a_root_that_is_a_link_or_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    os.symlink(tmp_path / "real", tmp_path / "link")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="symbolic link"):
        DirectoryStore(str(tmp_path / "link")).create("a")
    for act in ("create", "open"):
        with pytest.raises(StoreError, match="not a directory"):
            getattr(DirectoryStore(str(tmp_path / "file")), act)("a")
    assert list((tmp_path / "real").iterdir()) == []
    with pytest.raises(StoreError, match="root directory"):
        DirectoryStore("/")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a directory away")
def test_a_root_or_container_of_somebody_else_is_refused(root: str) -> None:
    store = DirectoryStore(root)
    store.create("a").close()
    os.chown(f"{root}/a", 12345, 12345)
    with pytest.raises(StoreError, match="belongs to another user"):
        store.open("a", wait=False)
    os.chown(root, 12345, 12345)
    with pytest.raises(StoreError, match="belongs to another user"):
        store.list()


def test_a_missing_root_is_an_empty_store(store: DirectoryStore, root: str) -> None:
    assert store.list() == []
    with pytest.raises(ContainerNotFoundError):
        store.open("a")
    assert not os.path.exists(root)


def test_what_is_no_container_is_not_listed(store: DirectoryStore, root: str) -> None:
    store.create("b").close()
    store.create("a").close()
    Path(root, "file").write_text("")
    os.symlink("a", f"{root}/link")
    os.mkdir(f"{root}/-odd")
    os.mkdir(f"{root}/with space")
    assert store.list() == ["a", "b"]


def test_where_the_root_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert default_root() == "/run/orlop"
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert default_root() == "/run/user/1000/orlop"
    monkeypatch.setenv("XDG_RUNTIME_DIR", "relative")
    assert default_root() == "/run/orlop"
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(roots, "_in_user_namespace", lambda: False)
    monkeypatch.setenv("USER", "somebody")
    assert default_root() == "/run/orlop"
    monkeypatch.setattr(roots, "_in_user_namespace", lambda: True)
    assert default_root() == "/run/user/1000/orlop"
    monkeypatch.setenv("USER", "root")
    assert default_root() == "/run/orlop"


def test_each_root_has_its_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert label_of(None) == label_of("/run/orlop") == label_of("/run/orlop/") == ""
    one = label_of(str(tmp_path / "one"))
    assert re.fullmatch("[0-9a-f]{8}", one)
    assert one != label_of(str(tmp_path / "two"))
    monkeypatch.chdir(tmp_path)
    assert label_of("one") == one
    assert label_of("\udcff") != ""


def test_a_root_in_the_runtime_directory_is_sticky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    DirectoryStore(str(tmp_path / "orlop")).create("a").close()
    assert stat.S_IMODE(os.stat(tmp_path / "orlop").st_mode) == 0o1700


def test_only_one_of_many_wins_an_identifier(store: DirectoryStore) -> None:
    won: list[Any] = []
    lost: list[Exception] = []
    barrier = threading.Barrier(8)

    def take() -> None:
        barrier.wait()
        try:
            won.append(store.create("box"))
        except ContainerExistsError as error:
            lost.append(error)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert len(lost) == 7
    won[0].close()


def test_a_locked_slot_is_waited_for_and_then_refused(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "LOCK_TIMEOUT", 0.0)
    slot = store.create("box")
    with pytest.raises(StateError, match="container is busy"):
        store.open("box")
    store.open("box", wait=False).close()
    slot.close()
    store.open("box").close()


def test_a_waiter_gets_the_slot_when_its_holder_closes_it(store: DirectoryStore) -> None:
    slot = store.create("box")
    slot.write("x", b"1")
    got: list[bytes | None] = []

    def wait() -> None:
        with store.open("box") as mine:
            got.append(mine.read("x"))

    thread = threading.Thread(target=wait)
    thread.start()
    slot.write("x", b"2")
    slot.close()
    thread.join()
    assert got == [b"2"]


def test_a_waiter_on_a_removed_slot_learns_that_it_is_gone(store: DirectoryStore) -> None:
    slot = store.create("box")
    errors: list[Exception] = []

    def wait() -> None:
        try:
            store.open("box").close()
        except ContainerNotFoundError as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    slot.remove()
    slot.close()
    thread.join()
    assert len(errors) == 1


def test_a_slot_that_is_removed_before_its_creator_locks_it_is_taken_again(
    store: DirectoryStore, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fcntl.flock
    times: list[int] = []

    def flock(descriptor: int, operation: int) -> None:
        times.append(descriptor)
        if len(times) == 1:
            os.rmdir(f"{root}/box")
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with store.create("box"):
        assert os.path.isdir(f"{root}/box")
    assert len(times) == 2


def test_remove_leaves_a_successor_of_the_same_name_alone(store: DirectoryStore, root: str) -> None:
    slot = store.create("box")
    os.rename(f"{root}/box", f"{root}/moved")
    os.mkdir(f"{root}/box")
    slot.remove()
    slot.close()
    assert os.path.isdir(f"{root}/box")


def test_no_descriptor_leaks(store: DirectoryStore) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    slot = store.create("box")
    slot.append("journal", b"x\n")
    slot.close()
    store.open("box", wait=False).close()
    with pytest.raises(ContainerExistsError):
        store.create("box")
    with pytest.raises(ContainerNotFoundError):
        store.open("other")
    with store.open("box") as slot:
        slot.remove()
    assert sorted(os.listdir("/proc/self/fd")) == before
