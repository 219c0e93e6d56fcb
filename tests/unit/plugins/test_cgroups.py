"""Plugins cgroups and rdma: the path, device rules, updates."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.plugins.support import (
    RESOURCES,
    call,
    config,
    forms,
    limited,
    pointers,
    refused,
    steps,
    update,
    writes,
)

from orlop_hookspecs.errors import ConfigError
from orlop_hookspecs.launch import PlanContext
from orlop_hookspecs.steps import CreateCgroup, DelegateCgroup, JoinCgroup, SetDeviceRules, WriteCgroup
from orlop_linux.plugins.cgroup_controllers.devices import DEFAULTS, DENY_ALL


def test_every_container_has_a_cgroup() -> None:
    assert steps("cgroups", config()) == [
        CreateCgroup(because="/linux/cgroupsPath", path="/orlop/box", explicit=False),
        SetDeviceRules(because="/linux/resources/devices", rules=(DENY_ALL, *DEFAULTS)),
        JoinCgroup(because="/linux/cgroupsPath"),
    ]
    assert steps("cgroups", config(linux=None))[0].as_data()["explicit"] is False


def test_containers_of_another_store_have_another_parent() -> None:
    elsewhere = PlanContext("box", "/bundle", "/bundle/rootfs", store="0a1b2c3d")
    found = call("cgroups", "orlop_plan", config=config(), context=elsewhere)
    assert found[0].path == "/orlop-0a1b2c3d/box"


def test_a_denial_that_the_config_begins_with_is_not_repeated() -> None:
    rules = [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 10, "access": "r"}]
    _, planned, _ = steps("cgroups", config(linux={"resources": {"devices": rules}}))
    assert planned.as_data()["rules"] == (DENY_ALL, (True, "c", 10, None, "r"), *DEFAULTS)


@pytest.mark.parametrize("path", ["/a/b", "a/b", "/a..b/c", "user.slice:libpod:x", "machine.slice/x"])
def test_paths_are_taken_as_they_are(path: str) -> None:
    planned = steps("cgroups", config(linux={"cgroupsPath": path}))
    assert planned[0] == CreateCgroup(because="/linux/cgroupsPath", path=path)


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "/../x",
        "a/../../b",
        "a/..",
        "/",
        "//",
        ".",
        "/./",
        "a\nb",
        "a\x1bb",
        "/" + "x" * 256,
        "/" + "x/" * 2048,
    ],
)
def test_paths_that_leave_the_hierarchy(path: str) -> None:
    assert pointers("cgroups", config(linux={"cgroupsPath": path})) == ["/linux/cgroupsPath"]


def test_a_caller_may_keep_its_cgroups() -> None:
    assert steps("cgroups", limited(devices=[{"allow": False}]), manage_cgroups=False) == []
    wanted = limited(pids={"limit": 1}, memory={"limit": 1}, rdma={"a": {"hcaHandles": 1}})
    assert pointers("cgroups", wanted, manage_cgroups=False) == [f"{RESOURCES}/memory", f"{RESOURCES}/pids"]
    assert pointers("rdma", wanted, manage_cgroups=False) == [f"{RESOURCES}/rdma"]


def test_device_rules_stand_between_deny_all_and_the_default_ones() -> None:
    rules = [
        {"allow": True},
        {"allow": False, "type": "a", "access": "rwm"},
        {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "wr"},
        {"allow": True, "type": "b", "major": -1, "minor": 0, "access": "r"},
        {"allow": False, "type": "", "major": 8, "access": ""},
    ]
    (_, planned, _) = steps("cgroups", limited(devices=rules))
    assert isinstance(planned, SetDeviceRules)
    assert planned.rules == (
        (False, "a", None, None, "rwm"),
        (True, "a", None, None, "rwm"),
        (False, "a", None, None, "rwm"),
        (True, "c", 10, 229, "rw"),
        (True, "b", None, 0, "r"),
        (False, "a", 8, None, "rwm"),
        *DEFAULTS,
    )
    # No disk, no memory, no kernel log: what the default ones allow to be opened.
    opened = {
        (kind, major, minor) for allow, kind, major, minor, access in DEFAULTS if "r" in access and allow
    }
    assert opened == {
        *(("c", 1, minor) for minor in (3, 5, 7, 8, 9)),
        ("c", 5, 0),
        ("c", 5, 2),
        ("c", 136, None),
    }


@pytest.mark.parametrize(
    ("rule", "pointer"),
    [
        ({"allow": True, "type": "u"}, "type"),
        ({"allow": True, "type": "p"}, "type"),
        ({"allow": True, "major": -2}, "major"),
        ({"allow": True, "major": 4096}, "major"),
        ({"allow": True, "minor": 1 << 20}, "minor"),
        ({"allow": True, "access": "x"}, "access"),
        ({"allow": True, "access": ""}, "access"),
    ],
)
def test_device_rules_that_cannot_be(rule: dict[str, Any], pointer: str) -> None:
    assert refused(devices=[{"allow": False}, rule]) == [f"/devices/1/{pointer}"]


def test_rdma() -> None:
    devices = {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}, "rxe3": {"hcaObjects": 0}}
    expected = [
        WriteCgroup(
            because=f"{RESOURCES}/rdma/{name}",
            controller="rdma",
            v1=(("rdma.max", line),),
            v2=(("rdma.max", line),),
            append=True,
        )
        for name, line in (
            ("mlx5_1", "mlx5_1 hca_handle=3 hca_object=10000"),
            ("rxe3", "rxe3 hca_object=0"),
        )
    ]
    assert steps("rdma", limited(rdma=devices)) == expected
    assert list(update("rdma", {"rdma": devices})) == expected
    assert steps("rdma", config()) == []
    assert writes(rdma=devices) == []
    assert call("rdma", "orlop_features") == {"linux.cgroup.rdma": True}
    assert call("rdma", "orlop_plugin").requires == ("cgroups",)


@pytest.mark.parametrize(
    ("name", "limits", "suffix"),
    [
        ("mlx5", {}, ""),
        ("a b", {"hcaHandles": 1}, ""),
        ("a=b", {"hcaHandles": 1}, ""),
        ("a/b", {"hcaHandles": 1}, ""),
        ("..", {"hcaHandles": 1}, ""),
        ("a\nb", {"hcaHandles": 1}, ""),
        ("x" * 64, {"hcaHandles": 1}, ""),
        ("mlx5", {"hcaHandles": 1 << 31}, "/hcaHandles"),
        ("mlx5", {"hcaObjects": 1 << 31}, "/hcaObjects"),
    ],
)
def test_rdma_that_cannot_be(name: str, limits: dict[str, int], suffix: str) -> None:
    pointer = f"{RESOURCES}/rdma/{name.replace('/', '~1')}{suffix}"
    assert pointers("rdma", limited(rdma={name: limits})) == [pointer]
    with pytest.raises(ConfigError) as caught:
        update("rdma", {"rdma": {name: limits}})
    assert caught.value.pointer == pointer


def test_an_update_writes_what_it_sets() -> None:
    planned = update("cgroups", {"pids": {"limit": 5}, "devices": [{"allow": False}]})
    assert forms(planned[:1]) == [("/pids/limit", (("pids.max", "5"),), (("pids.max", "5"),))]
    (made,) = (one for one in steps("cgroups", limited(devices=[{"allow": False}])) if "Device" in str(one))
    assert list(planned[1:]) == [made]
    assert len(update("cgroups", {"pids": {"limit": 5}, "devices": []})) == 1


def test_an_update_gets_past_the_limits_in_force() -> None:
    assert forms(update("cgroups", {"memory": {"limit": 5, "swap": 7}})) == [
        ("/memory/swap", (("memory.memsw.limit_in_bytes", "-1"),), ()),
        ("/memory/limit", (("memory.limit_in_bytes", "5"),), (("memory.max", "5"),)),
        ("/memory/swap", (("memory.memsw.limit_in_bytes", "7"),), (("memory.swap.max", "2"),)),
    ]
    (swap,) = update("cgroups", {"memory": {"swap": 7}})
    assert forms([swap]) == [
        ("/memory/swap", (("memory.memsw.limit_in_bytes", "7"),), (("memory.swap.max", "7"),))
    ]
    assert swap.as_data()["minus"] == "memory.max"
    assert forms(update("cgroups", {"cpu": {"quota": 5000, "burst": 2000}})) == [
        ("/cpu/burst", (("cpu.cfs_burst_us", "0"),), (("cpu.max.burst", "0"),)),
        ("/cpu/quota", (("cpu.cfs_quota_us", "5000"),), (("cpu.max", "5000 ="),)),
        ("/cpu/burst", (("cpu.cfs_burst_us", "2000"),), (("cpu.max.burst", "2000"),)),
    ]
    # v2 keeps quota and period in one file.
    (period,) = update("cgroups", {"cpu": {"period": 5000}})
    assert forms([period]) == [("/cpu/period", (("cpu.cfs_period_us", "5000"),), (("cpu.max", "= 5000"),))]
    assert period.as_data()["keep"]
    assert [form[0] for form in forms(update("cgroups", {"cpu": {"idle": 1, "shares": 5}}))] == [
        "/cpu/idle",
        "/cpu/shares",
        "/cpu/idle",
    ]


def test_an_update_that_cannot_be() -> None:
    with pytest.raises(ConfigError) as caught:
        update("cgroups", {"pids": {"limit": -2}})
    assert caught.value.pointer == "/linux/resources/pids/limit"


MOUNT = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"]}
SPACES = [{"type": "mount"}, {"type": "cgroup"}]


@pytest.mark.parametrize(
    ("mount", "spaces", "given"),
    [
        (MOUNT, SPACES, True),
        (MOUNT | {"type": "cgroup2"}, SPACES, True),
        (MOUNT | {"options": ["nosuid", "ro"]}, SPACES, False),
        (MOUNT | {"source": "cgroup2"}, SPACES, False),
        (MOUNT | {"destination": "/cgroup"}, SPACES, False),
        (MOUNT, [{"type": "mount"}], False),
        (MOUNT, [{"type": "mount"}, {"type": "cgroup", "path": "/proc/1/ns/cgroup"}], False),
    ],
)
def test_the_cgroup_is_given_to_the_user_who_may_write_to_it(
    mount: dict[str, Any], spaces: list[dict[str, str]], given: bool
) -> None:
    process = {"user": {"uid": 7, "gid": 8}, "args": ["sh"], "cwd": "/"}
    planned = steps("cgroups", config(mounts=[mount], linux={"namespaces": spaces}, process=process))
    expected = [DelegateCgroup(because="/mounts/0", uid=7)] if given else []
    assert [one for one in planned if isinstance(one, DelegateCgroup)] == expected
