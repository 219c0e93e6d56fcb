"""What the engine opens on the host for a container: the caller's view, detached, nothing by mistake."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from tests.linux.init.forked import RefusedError, clone, in_child, open_fds

from orlop_hookspecs.errors import StepError
from orlop_hookspecs.plan import PlannedStep
from orlop_hookspecs.steps import MountBind, MountFilesystem, MountSysfs, PrepareRoot, Step
from orlop_linux.init import attributes, failure, mounts, syscalls
from orlop_linux.kernel.sources import AT_ONCE, Sources

USER = syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS


def _no_users(_uid: Any, _gid: Any) -> int:
    raise AssertionError


def sources(*steps: Step, user: int | None = None, own_network: bool = False) -> Sources:
    planned = [PlannedStep(one, one.phase, one.slot, "test") for one in steps]
    return Sources(
        planned,
        (),
        user_namespace=user,
        own_network=own_network,
        delegated=False,
        nodes=user is None,
        map_users=_no_users,
    )


def opened(*steps: Step, **facts: Any) -> dict[str, int]:
    """Return what there is for one message, by key."""
    made = sources(*steps, **facts)
    return dict(zip(made.keys(), next(made.batches(), []), strict=True))


def bind(source: Path | str, **fields: Any) -> MountBind:
    return MountBind(because="/mounts/7", destination="/x", source=str(source), **fields)


def flags(path: str) -> set[str]:
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if words[4] == path:
            return set(words[5].split(","))
    raise LookupError(path)


@pytest.mark.parametrize("kind", ["file", "directory", "fifo", "socket", "device", "link"])
def test_a_source_of_any_kind_is_copied_as_it_is(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind in {"socket", "device"}:
        number = os.makedev(1, 3) if kind == "device" else 0
        os.mknod(path, 0o600 | (stat.S_IFCHR if kind == "device" else stat.S_IFSOCK), number)
    elif kind == "link":
        (tmp_path / "goal").touch()
        path.symlink_to("goal")
    else:
        path.touch()
    before = open_fds()
    (tree,) = opened(bind(path)).values()
    assert os.path.samestat(os.fstat(tree), path.stat())
    os.close(tree)
    assert open_fds() == before


@pytest.mark.parametrize(
    "path",
    [
        "/proc/self/exe",
        "/proc/self/root",
        "/proc/self/cwd",
        "/proc/self/root/etc",
        "/proc/thread-self/fd/0",
        "/dev/fd/0",
        "/dev/stdin",
        "/proc/self/ns/mnt",
        *(f"/proc/self/fd/{number}" for number in range(3, 20)),
    ],
)
def test_no_descriptor_of_the_engine_can_be_named(path: str) -> None:
    before = open_fds()
    with pytest.raises(StepError) as caught:
        opened(bind(path))
    assert caught.value.errno in {errno.ELOOP, errno.ENOENT}
    assert caught.value.pointer == "/mounts/7/source"
    assert caught.value.plugin == "test"
    assert open_fds() == before


def test_what_is_refused_leaves_nothing_open(tmp_path: Path) -> None:
    before = open_fds()
    made = sources(bind(tmp_path), bind(tmp_path / "absent"))
    with pytest.raises(StepError) as caught:
        made.keys()
    assert open_fds() != before
    made.close()
    assert open_fds() == before
    assert caught.value.errno == errno.ENOENT
    assert str(tmp_path / "absent") in str(caught.value)


def test_a_missing_root_is_named_by_its_property(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"the root file system .*absent: no such file") as caught:
        opened(PrepareRoot(because="/root/path", path=str(tmp_path / "absent")))
    assert caught.value.pointer == "/root/path"


@pytest.mark.parametrize(
    ("user", "own_network", "needed"),
    [(None, False, False), (None, True, False), (1, False, True), (1, True, False)],
)
def test_a_sysfs_of_the_caller_only_for_its_own_network(
    user: int | None, own_network: bool, needed: bool
) -> None:
    found = opened(MountSysfs(because="", destination="/sys"), user=user, own_network=own_network)
    assert list(found) == ["mount:0"] * needed
    for fd in found.values():
        assert syscalls.statfs_type(fd) == 0x62656572  # SYSFS_MAGIC, linux/magic.h
        os.close(fd)


def test_the_callers_sysfs_comes_without_the_callers_mounts(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()

    def run() -> Any:
        (tree,) = opened(MountSysfs(because="", destination="/sys"), user=1).values()
        target = os.open(place, os.O_PATH)
        syscalls.move_mount(tree, target)
        return [
            line.split()[4]
            for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
            if str(place) in line.split()[4]
        ]

    assert in_child(run) == [str(place)]


def test_locked_mounts_below_the_callers_sysfs_are_read_only(tmp_path: Path) -> None:
    """In a user namespace of the caller's own the host's mounts below /sys cannot be left behind."""
    place = tmp_path / "place"
    place.mkdir()

    def run() -> Any:
        (tree,) = opened(MountSysfs(because="", destination="/sys"), user=1).values()
        target = os.open(place, os.O_PATH)
        syscalls.move_mount(tree, target)
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
        found = {
            words[4]: words[5].split(",")
            for words in map(str.split, lines)
            if words[4].startswith(str(place))
        }
        return ["ro" in found.pop(str(place)), ["ro" in options for options in found.values()]]

    if not any(line.split()[4].startswith("/sys/") for line in _mountinfo()):
        pytest.skip("needs something mounted below /sys")
    top, below = in_child(run, namespaces=USER)
    assert top == ("ro" in flags("/sys"))
    assert below
    assert all(below)


def _mountinfo() -> list[str]:
    return Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()


def test_attributes_that_are_locked_can_be_kept_and_not_taken_off(tmp_path: Path) -> None:
    """A caller in a user namespace of its own, and a source that its owner made nosuid, nodev, noexec, ro."""
    place = tmp_path / "place"
    place.mkdir()

    def inner() -> Any:
        outcome: dict[str, Any] = {}
        for name in ("ro", "nosuid", "nodev", "noexec", "noatime"):
            for cleared, recursive in (((name,), ()), ((), ((name, False),))):
                (tree,) = opened(bind(place)).values()
                try:
                    attributes.apply_attributes(tree, (), cleared, recursive)
                except OSError as error:
                    outcome[name] = [error.errno, getattr(error, "detail", 0)]
                else:
                    outcome[name] = 0
                os.close(tree)
        (tree,) = opened(bind(place)).values()
        attributes.apply_attributes(tree, ("ro", "nosuid", "nosymfollow"), (), ())
        target = os.open(place, os.O_PATH)
        syscalls.move_mount(tree, target)
        return [outcome, sorted(_last(str(place)))]

    def outer() -> Any:
        mask = attributes.mask_of(("ro", "nosuid", "nodev", "noexec", "noatime"))
        target = os.open(place, os.O_PATH)
        syscalls.move_mount(mounts.new_filesystem("tmpfs", "locked", (), (), mask), target)
        return in_child(inner, namespaces=USER)

    outcome, options = in_child(outer)
    assert outcome == {
        name: [errno.EPERM, failure.DETAIL_ATTRIBUTES]
        for name in ("ro", "nosuid", "nodev", "noexec", "noatime")
    }
    assert set(options) == {"ro", "nosuid", "nodev", "noexec", "noatime", "nosymfollow"}


def _last(path: str) -> set[str]:
    return set([line.split()[5] for line in _mountinfo() if line.split()[4] == path][-1].split(","))


def test_only_what_has_no_medium_is_made_for_a_user_namespace() -> None:
    idmap = {"recursive": False, "uid": ((0, 5, 1),), "gid": ((0, 5, 1),)}
    for kind, data in (("ext4", ()), ("overlay", ("lowerdir=/etc:/usr",)), ("tmpfs", ("mpol=" + "x" * 300,))):
        step = MountFilesystem(because="/mounts/1", destination="/x", type=kind, data=data, idmap=idmap)
        with pytest.raises(StepError, match="cannot be id-mapped") as caught:
            opened(step, user=1)
        assert (caught.value.errno, caught.value.pointer) == (errno.EPERM, "/mounts/1")


def test_the_trees_are_cut_off_from_the_host(tmp_path: Path) -> None:
    """A mount that the host makes below a source reaches the copy only if the propagation says so."""
    (tmp_path / "share").mkdir()

    def run() -> Any:
        target = os.open(tmp_path / "share", os.O_PATH)
        share = mounts.new_filesystem("tmpfs", "share", ())
        os.mkdir("below", dir_fd=share)
        syscalls.move_mount(share, target)
        syscalls.mount_setattr(share, propagation=syscalls.MS_SHARED)
        seen = {}
        for propagation in ("rprivate", "rslave", "shared"):
            root = PrepareRoot(because="", path="/", propagation=propagation)
            trees = opened(root, bind(tmp_path / "share"))
            copy = trees["mount:1"]
            (tmp_path / propagation).mkdir()
            syscalls.move_mount(copy, os.open(tmp_path / propagation, os.O_PATH))
            own = os.open("below", os.O_PATH, dir_fd=copy)
            syscalls.move_mount(
                mounts.new_filesystem("tmpfs", "host", ()), os.open("below", os.O_PATH, dir_fd=share)
            )
            now = os.open("below", os.O_PATH, dir_fd=copy)
            seen[propagation] = not os.path.samestat(os.fstat(own), os.fstat(now))
            os.chdir(tmp_path / "share/below")
            syscalls.umount2(b".", syscalls.MNT_DETACH)
        return seen

    assert in_child(run) == {"rprivate": False, "rslave": True, "shared": True}


def test_a_tree_in_another_user_namespace_keeps_its_attributes(tmp_path: Path) -> None:
    """The container process of another user namespace gets trees of the caller: nothing on them is locked."""
    (tmp_path / "x").mkdir()

    def run() -> Any:
        tree = clone(tmp_path / "x")
        syscalls.mount_setattr(tree, set_=syscalls.MOUNT_ATTR_NOSUID)

        def inner() -> int:
            attributes.apply_attributes(tree, ("ro",), ("nosuid",))
            return os.fstatvfs(tree).f_flag & 3

        return in_child(inner, namespaces=USER)

    try:
        assert in_child(run) == os.ST_RDONLY
    except RefusedError as error:
        pytest.fail(f"locked: {error}")


def test_many_sources_need_few_descriptors(tmp_path: Path) -> None:
    """Each is verified before the first one is sent, and opened when it is due."""
    before = open_fds()
    made = sources(*[bind(tmp_path)] * 1001)
    keys = made.keys()
    assert open_fds() == before
    sizes = []
    for batch in made.batches():
        sizes.append(len(batch))
        assert len(open_fds() - before) == len(batch) <= AT_ONCE
    assert keys == [f"mount:{number}" for number in range(1001)]
    assert (sum(sizes), len(sizes)) == (1001, -(-1001 // AT_ONCE))
    assert open_fds() == before


def test_a_copy_is_made_when_the_mounts_before_it_are_there(tmp_path: Path) -> None:
    """So that the kernel lists them in the order of the config."""
    before = open_fds()
    one = bind(tmp_path)
    new = MountFilesystem(because="/mounts/8", destination="/t", type="tmpfs", source="tmpfs")
    made = sources(one, one, new, new, one, new, one, one)
    assert made.keys() == [f"mount:{number}" for number in (0, 1, 4, 6, 7)]
    assert len(open_fds() - before) == 2
    assert [len(batch) for batch in made.batches()] == [2, 1, 2]
    assert open_fds() == before


def test_the_last_of_many_sources_is_missed_at_once(tmp_path: Path) -> None:
    before = open_fds()
    made = sources(*[bind(tmp_path)] * 1000, bind(tmp_path / "absent"))
    with pytest.raises(StepError) as caught:
        made.keys()
    assert caught.value.pointer == "/mounts/7/source"
    assert open_fds() == before


def test_a_source_that_vanishes_on_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "last").mkdir()
    before = open_fds()
    made = sources(*[bind(tmp_path)] * 1000, bind(tmp_path / "last"))
    made.keys()
    (tmp_path / "last").rmdir()
    with pytest.raises(StepError, match="last: no such file") as caught:
        list(made.batches())
    assert caught.value.pointer == "/mounts/7/source"
    made.close()
    assert open_fds() == before
