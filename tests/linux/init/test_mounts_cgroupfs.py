"""The container sees its own cgroup directories, whatever hierarchies the host has."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from tests.linux.init.forked import RefusedError, clone, filesystem, furnish, in_child, mount_table, open_fds

from orlop_linux.init import cgroupfs, syscalls

pytestmark = [pytest.mark.usefixtures("unchanged_host"), pytest.mark.every_lane]


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    """Return directories that stand for the container's own cgroups."""
    for name in ("cpu", "systemd", "unified"):
        (tmp_path / "groups" / name).mkdir(parents=True)
        (tmp_path / "groups" / name / "tasks").touch()
    return tmp_path / "groups"


def test_one_directory_for_each_hierarchy(rootfs: Path, groups: Path) -> None:
    def run() -> Any:
        trees = {
            f"cgroup:0:{number}": clone(groups / name)
            for number, name in enumerate(("cpu", "systemd", "unified"))
        }
        shown = [("cpu,cpuacct", ("cpu", "cpuacct", "cpu,cpuacct")), ("systemd", ()), ("unified", ())]
        context = furnish(rootfs, trees=trees, cgroup_mounts=shown)
        before = open_fds() - set(trees.values())
        fields = filesystem("/sys/fs/cgroup", own_namespace=False, attributes=("ro", "nosuid", "noexec"))
        cgroupfs.mount_cgroup(context, fields, 0)
        assert open_fds() == before
        os.fchdir(context.root_fd)
        links = {name: os.readlink(f"sys/fs/cgroup/{name}") for name in ("cpu", "cpuacct")}
        files = [os.listdir(f"sys/fs/cgroup/{name}") for name in ("cpuacct", "systemd", "unified")]
        return [sorted(os.listdir("sys/fs/cgroup")), links, files, mount_table(context)]

    entries, links, files, table = in_child(run)
    assert entries == ["cpu", "cpu,cpuacct", "cpuacct", "systemd", "unified"]
    assert links == {"cpu": "cpu,cpuacct", "cpuacct": "cpu,cpuacct"}
    assert files == [["tasks"]] * 3
    made = {line[0]: line[2] for line in table if "/groups/" in line[1] or line[3] == "tmpfs"}
    for place in ("", "/cpu,cpuacct", "/systemd", "/unified"):
        assert {"ro", "nosuid", "noexec"} <= set(made[f"/sys/fs/cgroup{place}"])


def test_a_unified_hierarchy_is_mounted_at_the_destination(rootfs: Path, groups: Path) -> None:
    def run() -> Any:
        context = furnish(rootfs, trees={"cgroup:0:0": clone(groups / "unified")}, cgroup_mounts=[("", ())])
        fields = filesystem("/sys/fs/cgroup", own_namespace=False, attributes=("ro",))
        cgroupfs.mount_cgroup(context, fields, 0)
        os.fchdir(context.root_fd)
        return [os.listdir("sys/fs/cgroup"), [line for line in mount_table(context) if "/groups/" in line[1]]]

    files, [line] = in_child(run)
    assert files == ["tasks"]
    assert line[0] == "/sys/fs/cgroup"
    assert "ro" in line[2]


@pytest.mark.parametrize("new", [True, False])
def test_a_cgroup_namespace(rootfs: Path, groups: Path, new: bool) -> None:
    """In one that is joined, hierarchies are mounted anew; what cannot be is shown as the engine's tree."""
    if "cgroup2" not in Path("/proc/filesystems").read_text(encoding="utf-8"):
        pytest.skip("the kernel has no cgroup2")

    def run() -> Any:
        trees = {"cgroup:0:0": clone(groups / "unified"), "cgroup:0:1": clone(groups / "cpu")}
        context = furnish(rootfs, trees=trees, cgroup_mounts=[("unified", ()), ("cpu,memory,pids,blkio", ())])
        context.new_namespaces = frozenset(["cgroup"] if new else [])
        cgroupfs.mount_cgroup(context, filesystem("/cgroup", own_namespace=True), 0)
        os.fchdir(context.root_fd)
        kinds = {line[0]: line[3] == "cgroup2" for line in mount_table(context)}
        return [kinds["/cgroup/unified"], os.listdir("cgroup/cpu,memory,pids,blkio"), context.trees]

    namespaces = syscalls.CLONE_NEWNS | syscalls.CLONE_NEWCGROUP
    assert in_child(run, namespaces=namespaces) == [not new, ["tasks"], {}]


@pytest.mark.parametrize("name", ["..", ".", "a/b"])
def test_names_that_lead_elsewhere_are_refused(rootfs: Path, groups: Path, name: str) -> None:
    def run() -> None:
        trees = {"cgroup:0:0": clone(groups / "cpu")}
        context = furnish(rootfs, trees=trees, cgroup_mounts=[(name, ()), ("other", ())])
        cgroupfs.mount_cgroup(context, filesystem("/cgroup", own_namespace=False), 0)

    with pytest.raises(RefusedError) as caught:
        in_child(run)
    assert caught.value.errno == errno.EINVAL
