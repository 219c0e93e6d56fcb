"""The fake machine's answers are what then happens, for everything that a config can use."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from tests.unit.features.usage import AGENT, FLAGS, HOOK, LISTS, MAPPINGS, ROOTFS, SOURCE

import orlop
from orlop_fake import FakeKernel, FakePlatform, Host, Resctrl
from orlop_hookspecs.availability import CATALOGUE
from orlop_hookspecs.errors import OrlopError
from orlop_hookspecs.launch import LaunchOptions

PROFILES: dict[str, dict[str, Any]] = {
    "everything": {"resctrl": Resctrl(), "host": Host(apparmor=("box",), selinux=True)},
    "plain": {},
    "v1": {"cgroups": "v1", "systemd": False},
    "hybrid": {"cgroups": "hybrid"},
    "old kernel": {"host": Host(linux=(5, 14))},
    "no cgroups": {"cgroups": "none"},
    "no monitoring": {"resctrl": Resctrl(rmids=0)},
    "no systemd": {"systemd": False},
    "rootless": {"uid": 1000, "resctrl": Resctrl()},
    "rootless v1": {"uid": 1000, "cgroups": "v1"},
}
"""Machines by what is special about them."""


def machine(profile: str) -> tuple[FakeKernel, orlop.Runtime]:
    kernel = FakeKernel(**PROFILES[profile])
    kernel.add_rootfs(ROOTFS, None)
    kernel.add_files({SOURCE: {"file": "content"}, HOOK: b""})
    kernel.hooks[HOOK] = lambda _: 0
    kernel.agents[AGENT] = lambda _: None
    return kernel, orlop.Runtime.compose(platform=FakePlatform(kernel))


def uses(name: str) -> Iterator[tuple[dict[str, Any], LaunchOptions]]:
    """Yield configs that need the capability *name*."""
    one = next(one for one in CATALOGUE if one.name == name)
    if one.feature in LISTS and one.values:
        for word in sorted(one.values):
            for config in LISTS[one.feature](word):
                yield config, LaunchOptions()
    for config, _, options in FLAGS.get(one.feature, ()):
        yield config, options


def without_root(config: dict[str, Any]) -> dict[str, Any]:
    """Return *config* for a caller who may only map its own id."""
    config = copy.deepcopy(config)
    linux = config["linux"]
    linux["namespaces"] = [*linux["namespaces"], {"type": "user"}]
    own = [{"containerID": 0, "hostID": 1000, "size": 1}]
    linux["uidMappings"] = linux["gidMappings"] = own
    return config


TRIED = [
    one.name
    for one in CATALOGUE
    if any(True for _ in uses(one.name)) and one.name not in {"cgroups.v1", "cgroups.v2"}
]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", TRIED)
def test_what_is_said_is_what_happens(profile: str, name: str) -> None:
    kernel, runtime = machine(profile)
    (answer,) = runtime.examine([name]).diagnoses[:1]
    for config, options in uses(name):
        if not kernel.hierarchies or kernel.uid:
            # Who asks for nothing of cgroups can leave them alone.
            managed = name.startswith(("cgroups", "controller"))
            options = options.evolve(manage_cgroups=managed)  # noqa: PLW2901 - the same, without cgroups
        if kernel.uid and name == "namespace.user":
            continue  # more ids than the caller's own are refused, as the answer about user.ids says
        if kernel.uid:
            config = without_root(config)  # noqa: PLW2901 - the same config, as such a caller writes it
        kernel.add_rootfs(ROOTFS, None)
        try:
            runtime.create("box", config, options).delete(force=True)
            done = ""
        except OrlopError as error:
            done = str(error)
        assert answer.usable == (not done), (answer, done)
        assert kernel.leaks() == []


@pytest.mark.parametrize("profile", PROFILES)
def test_controllers(profile: str) -> None:
    limits: dict[str, dict[str, Any]] = {
        "cpu": {"cpu": {"shares": 100}},
        "cpuset": {"cpu": {"cpus": "0"}},
        "memory": {"memory": {"limit": 1 << 30}},
        "pids": {"pids": {"limit": 10}},
        "io": {"blockIO": {"weight": 100}},
        "hugetlb": {"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]},
        "network": {"network": {"classID": 5}},
        "devices": {"devices": [{"allow": False, "access": "rwm"}]},
        "rdma": {"rdma": {"mlx5_0": {"hcaHandles": 3}}},
    }
    kernel, runtime = machine(profile)
    answers = {one.name: one for one in runtime.examine(["controller"]).diagnoses}
    assert set(answers) == {f"controller.{name}" for name in limits}
    for name, resources in limits.items():
        config: dict[str, Any] = next(LISTS["hooks"]("prestart"))
        config["linux"] |= {"cgroupsPath": "/examined/box", "resources": resources}
        if kernel.uid:
            config = without_root(config)
        kernel.add_rootfs(ROOTFS, None)
        try:
            runtime.create("box", config).delete(force=True)
            done = ""
        except OrlopError as error:
            done = str(error)
        assert answers[f"controller.{name}"].usable == (not done), (name, answers[f"controller.{name}"], done)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_answer_that_is_no_says_why_and_what_to_do(profile: str) -> None:
    kernel, runtime = machine(profile)
    before = kernel.snapshot()
    found = runtime.examine()
    assert len(found.diagnoses) == len(CATALOGUE)
    for one in found.diagnoses:
        assert one.available is not None, one
        if not one.usable:
            assert one.reason, one
            assert one.remedy, one
    assert before.diff(kernel.snapshot()) == ""
    assert kernel.leaks() == []


def test_the_ids_of_others_can_be_mapped_by_root_only() -> None:
    for profile, reason in (("plain", ""), ("rootless", "only the caller's own id can be mapped")):
        (answer,) = machine(profile)[1].examine(["user.ids"]).diagnoses
        assert (answer.usable, answer.reason) == (True, reason)
    assert MAPPINGS[0]["size"] > 1
