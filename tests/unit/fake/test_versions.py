"""Machines with older kernels: what each refuses, and that the doctor and the Linux platform say the same."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from tests.unit.fake.test_profiles import IDMAPPED, PLAIN, config, runtime

from orlop_fake import FakeKernel, Host, machine_of, versions
from orlop_hookspecs.errors import OrlopError, PlatformError
from orlop_linux.kernel import needs

LEAST = max(versions.CALLS.values())
FILTER: dict[str, Any] = {"defaultAction": "SCMP_ACT_ALLOW"}


def linux(major: int, minor: int, **options: Any) -> FakeKernel:
    return FakeKernel(host=Host(linux=(major, minor)), **options)


def refused(kernel: FakeKernel, wanted: dict[str, Any]) -> int | None:
    """Return the errno with which a container is refused; ``None``: it runs."""
    engine = runtime(kernel)
    number = None
    try:
        engine.create("box", wanted).start()
    except OrlopError as error:
        number = error.errno
    for container in engine.list():
        container.delete(force=True)
    assert kernel.leaks() == []
    return number


def test_the_calls_that_every_container_needs_are_those_of_the_linux_platform() -> None:
    assert {name: since for name, (since, _) in needs.CALLS.items()} == versions.CALLS
    assert needs.LEAST == LEAST
    seen = {versions.lacking((5, minor)) for minor in range(12)}
    assert seen == {
        needs.words(name) for name in ("open_tree", "clone3", "openat2", "close_range", "mount_setattr")
    }
    assert versions.lacking(LEAST) == ""


@pytest.mark.parametrize("profile", ["too-old-kernel", "ancient-kernel"])
def test_a_kernel_that_is_too_old_makes_no_container_and_the_doctor_says_why(profile: str) -> None:
    kernel = machine_of(profile)
    engine = runtime(kernel)
    before = kernel.snapshot()
    with pytest.raises(
        PlatformError, match=r"the kernel has no [a-z0-9_]+\(2\), which came with Linux 5"
    ) as caught:
        engine.create("box", config(PLAIN))
    assert caught.value.errno == errno.ENOSYS
    assert "use Linux 5.12 or newer" in caught.value.hint
    assert before.diff(kernel.snapshot()) == ""
    assert engine.list() == []
    for one in engine.examine(["namespace", "mounts"]).diagnoses:
        assert one.available is False
        assert one.reason.startswith("the kernel has no ")
        assert one.remedy


CASES: list[tuple[str, tuple[int, int], dict[str, Any], int]] = [
    ("id maps of the host's disk", LEAST, config(PLAIN, mounts=[IDMAPPED]), 0),
    (
        "nosymfollow",
        (5, 14),
        config(
            PLAIN, mounts=[{"destination": "/data", "source": "/usr", "options": ["bind", "nosymfollow"]}]
        ),
        errno.EINVAL,
    ),
    (
        "id maps of a tmpfs",
        (6, 3),
        config(PLAIN, mounts=[IDMAPPED | {"source": "/dev/shm"}]),
        errno.EINVAL,
    ),
    (
        "a filter's flag",
        (5, 19),
        config(PLAIN | {"seccomp": FILTER | {"flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}}),
        errno.EINVAL,
    ),
    (
        "a memory policy",
        (6, 9),
        config(PLAIN | {"memoryPolicy": {"mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0"}}),
        errno.EINVAL,
    ),
    (
        "an older memory policy",
        (5, 15),
        config(PLAIN | {"memoryPolicy": {"mode": "MPOL_PREFERRED_MANY", "nodes": "0"}}),
        errno.EINVAL,
    ),
    ("cpu.idle", (5, 15), config(PLAIN | {"resources": {"cpu": {"idle": 1}}}), errno.ENOENT),
    (
        "cpu.max.burst",
        (5, 14),
        config(PLAIN | {"resources": {"cpu": {"quota": 9000, "burst": 5000}}}),
        errno.ENOENT,
    ),
]


@pytest.mark.parametrize(("what", "since", "wanted", "number"), CASES, ids=[case[0] for case in CASES])
def test_what_came_later_is_refused_before(
    what: str, since: tuple[int, int], wanted: dict[str, Any], number: int
) -> None:
    assert what
    major, minor = since
    kernel = linux(major, minor)
    if "tmpfs" in what:
        kernel.mount(kernel.host_find("/dev/shm").node, "/dev/shm")
    assert refused(kernel, wanted) is None
    if number:
        kernel = linux(major, minor - 1)
        if "tmpfs" in what:
            kernel.mount(kernel.host_find("/dev/shm").node, "/dev/shm")
        assert refused(kernel, wanted) == number


def test_cgroups_have_the_files_and_controllers_of_their_kernel() -> None:
    for file, since in versions.FILES.items():
        mode = "v1" if file == "cpu.cfs_burst_us" else "v2"
        for version, there in ((since, True), ((since[0], since[1] - 1), False)):
            kernel = linux(*version, cgroups=mode)
            name = "cpu,cpuacct" if mode == "v1" else ""
            root = kernel.hierarchies[name].root
            if mode == "v2":
                root.write("cgroup.subtree_control", "+cpu +memory")
            group = root.make("box")
            assert (file in group.files()) is there, (file, version)
            if not there:
                with pytest.raises(FileNotFoundError):
                    group.write(file, "1")
    assert "misc" not in linux(5, 12).hierarchies[""].controllers
    assert "misc" in linux(5, 13).hierarchies[""].controllers
    assert "misc" not in linux(5, 12, cgroups="v1").hierarchies
    assert {"cpuset", "hugetlb"}.isdisjoint(linux(4, 18).hierarchies[""].controllers)


@pytest.mark.parametrize("version", [(4, 18), (5, 4), LEAST, (5, 14), (5, 15), (6, 12)])
def test_what_the_doctor_says_of_namespaces_and_filters_is_what_happens(version: tuple[int, int]) -> None:
    flag = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
    asked: dict[str, dict[str, Any]] = {
        "namespace.mount": config(PLAIN),
        "namespace.time": config({"namespaces": [{"type": "mount"}, {"type": "time"}]}),
        "mounts.recursive": config(
            PLAIN, mounts=[{"destination": "/data", "source": "/usr", "options": ["rbind", "rro"]}]
        ),
        "mounts.idmap": config(PLAIN, mounts=[IDMAPPED]),
    }
    if version >= LEAST:
        asked[f"seccomp.{flag}"] = config(PLAIN | {"seccomp": FILTER | {"flags": [flag]}})
    for name, wanted in asked.items():
        kernel = linux(*version)
        (answer,) = runtime(kernel).examine([name]).diagnoses[:1]
        assert answer.usable == (refused(linux(*version), wanted) is None), name
