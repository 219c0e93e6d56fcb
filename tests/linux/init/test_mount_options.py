"""Each option of config.md's table, from its name in a config to what the kernel says about the mount."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tests.linux.init.forked import clone, furnish, in_child

from orlop_hookspecs.documents import Config, Mount, Root
from orlop_hookspecs.documents.linux import Linux, Namespace
from orlop_hookspecs.launch import LaunchOptions, PlanContext
from orlop_linux.init import attributes, mounts, procfs, syscalls
from orlop_linux.plugins import mounts as planner
from orlop_linux.plugins.mount_options import ATTRIBUTES, KNOWN, PROPAGATIONS, RECURSIVE, SUPERBLOCK

pytestmark = pytest.mark.usefixtures("unchanged_host")

OTHERS = {"bind", "rbind", "defaults", "remount", "tmpcopyup", "idmap", "ridmap"}
SHOWN = {"ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime", "nosymfollow"}


def plan(*options: str, kind: str = "tmpfs", source: str = "tmpfs") -> dict[str, Any]:
    """Return the fields of the step that the planner makes of a mount with *options*."""
    mount = Mount(destination="/at", type=kind, source=source, options=options)
    config = Config(
        oci_version="1.3.0",
        root=Root(path="rootfs"),
        mounts=(mount,),
        linux=Linux(namespaces=(Namespace(type="mount"),)),
    )
    assert planner.orlop_validate(config=config) == []
    context = PlanContext(container="box", bundle="/b", rootfs="/b/rootfs", options=LaunchOptions())
    (step,) = planner.orlop_plan(config=config, context=context)
    return step.as_data()


def table(context: Any) -> dict[str, tuple[set[str], set[str], set[str]]]:
    """Return options, tags (propagation) and options of the file system of each mount, by mount point."""
    fd = procfs.open_file(context.proc_fd, b"%d/mountinfo" % os.getpid(), os.O_RDONLY)
    found = {}
    with os.fdopen(fd) as file:
        for line in file:
            words = line.split()
            dash = words.index("-")
            tags = {tag.partition(":")[0] for tag in words[6:dash]}
            found[words[4]] = (set(words[5].split(",")), tags, set(words[dash + 3].split(",")))
    return found


def test_the_table_is_complete() -> None:
    assert {*ATTRIBUTES, *RECURSIVE, *SUPERBLOCK, *PROPAGATIONS, *OTHERS} == KNOWN


def expected(option: str, before: set[str]) -> set[str]:
    """Return the options that a mount with those of *before* has after *option* (mount(8))."""
    name, value = ATTRIBUTES[option]
    if name == "strictatime":
        strict = not before & {"noatime", "relatime"}
        return before - {"noatime", "relatime"} if value else before | {"relatime"} if strict else before
    if name in {"noatime", "relatime"}:
        if value:
            return before - {"noatime", "relatime"} | {name}
        # Without a way of its own a mount keeps access times as the kernel does by itself.
        return before - {name} | {"relatime"} if name in before else before
    return before | {name} if value else before - {name}


STATES = (
    ("plain", ("relatime",)),
    ("locked", ("ro", "nosuid", "nodev", "noexec", "nodiratime", "nosymfollow", "noatime")),
    ("strict", ("strictatime", "nosuid")),
)


def _tree(place: Path, names: tuple[str, ...]) -> None:
    """Mount a tmpfs with the attributes *names* at *place*, and another one below it."""
    mask = attributes.mask_of(names)
    top = mounts.new_filesystem("tmpfs", "top", ())
    os.mkdir("below", dir_fd=top)
    syscalls.move_mount(top, os.open(place, os.O_PATH))
    below = mounts.new_filesystem("tmpfs", "below", (), (), mask)
    syscalls.move_mount(below, os.open("below", os.O_PATH, dir_fd=top))
    syscalls.mount_setattr(top, set_=mask, clear=syscalls.MOUNT_ATTR__ATIME)


@pytest.mark.parametrize("state", STATES, ids=lambda one: str(one[0]))
def test_each_attribute_of_a_bind_mount(
    rootfs: Path, tmp_path: Path, state: tuple[str, tuple[str, ...]]
) -> None:
    """In plain form for the one mount, in r-form for all; what an option does not name is kept."""
    place = tmp_path / "source"
    place.mkdir()
    before = set(state[1]) & SHOWN
    if not before & {"noatime", "relatime"} and "strictatime" not in state[1]:
        before.add("relatime")

    def run() -> Any:
        found: dict[str, Any] = {}
        _tree(place, state[1])
        context = furnish(rootfs)
        for option in (*ATTRIBUTES, *RECURSIVE):
            context.trees["mount:0"] = clone(place)
            fields = plan("rbind", option, kind="none", source=str(place)) | {"destination": f"/{option}"}
            mounts.mount_bind(context, fields, 0)
        seen = table(context)
        for option in (*ATTRIBUTES, *RECURSIVE):
            found[option] = [sorted(seen[f"/{option}{below}"][0] & SHOWN) for below in ("", "/below")]
        return found

    found = in_child(run)
    for option in ATTRIBUTES:
        assert found[option] == [sorted(expected(option, before)), sorted(before)], option
        changed = sorted(expected(option, before))
        if option in {"atime", "nostrictatime"}:
            # mount_setattr(2) cannot make a difference between mounts: each gets the kernel's own way.
            changed = sorted(before - {"noatime"} | {"relatime"})
        assert found[f"r{option}"] == [changed, changed], f"r{option}"


@pytest.mark.parametrize("option", sorted(ATTRIBUTES))
def test_each_attribute_of_a_new_file_system(rootfs: Path, option: str) -> None:
    """Alone, in r-form, and after its opposite."""
    name, value = ATTRIBUTES[option]
    opposite = next(one for one, meaning in ATTRIBUTES.items() if meaning == (name, not value))
    start = set() if name == "strictatime" and not value else {"relatime"}

    def run() -> Any:
        context = furnish(rootfs)
        for number, options in enumerate(((option,), (f"r{option}",), (opposite, option))):
            mounts.mount_filesystem(context, plan(*options) | {"destination": f"/{number}"}, number)
        context.end_of_phase("container")
        seen = table(context)
        return [sorted(seen[f"/{number}"][0] & SHOWN) for number in range(3)]

    wanted = sorted(expected(option, start or {"relatime"}))
    assert in_child(run) == [wanted] * 3


@pytest.mark.parametrize("option", sorted(SUPERBLOCK))
def test_each_flag_of_a_new_file_system(rootfs: Path, option: str) -> None:
    name, value = SUPERBLOCK[option]

    def run() -> Any:
        context = furnish(rootfs)
        mounts.mount_filesystem(context, plan(option), 0)
        return sorted(table(context)["/at"][2])

    found = in_child(run)
    # The kernel shows no others (fs/proc_namespace.c); mand does nothing since 5.15.
    if name in {"sync", "dirsync", "lazytime"}:
        assert (name in found) == value
    else:
        assert "rw" in found


@pytest.mark.parametrize("option", sorted(PROPAGATIONS))
def test_each_propagation(rootfs: Path, tmp_path: Path, option: str) -> None:
    """A plain one is for the mount alone, one in r-form also for the mounts below."""
    place = tmp_path / "source"
    place.mkdir()
    kinds = {"private": set(), "shared": {"shared"}, "slave": {"master"}, "unbindable": {"unbindable"}}

    def run() -> Any:
        _tree(place, ())
        top = os.open(place, os.O_PATH)
        syscalls.mount_setattr(top, propagation=syscalls.MS_SHARED, recursive=True)
        # Both are peers of the host's mount; the first one stays with the host.
        clone(place, propagation=0)
        tree = clone(place, propagation=0)
        context = furnish(rootfs)
        context.trees["mount:0"] = tree
        mounts.mount_bind(context, plan("rbind", option, kind="none", source=str(place)), 0)
        mounts.mount_filesystem(context, plan(option) | {"destination": "/new"}, 1)
        seen = table(context)
        return [sorted(seen[point][1]) for point in ("/at", "/at/below", "/new")]

    recursive = option not in kinds
    wanted = kinds[option.removeprefix("r") if recursive else option]
    fresh = set() if "slave" in option else wanted
    assert in_child(run) == [sorted(wanted), sorted(wanted if recursive else {"shared"}), sorted(fresh)]
