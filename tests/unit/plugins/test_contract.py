"""What holds for every planner: identity, declarations, purity, and the price of its import."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from typing import Any

import pytest
from tests.unit.plugins.support import PLUGINS, call, config, context, module, namespaces, objections

from orlop_hookspecs import CONTRACT_VERSION
from orlop_hookspecs.hooks.capability import Handle
from orlop_hookspecs.hooks.identity import PluginInfo
from orlop_linux.plugins.shared import VERSION

ALL = sorted(PLUGINS)

# One config that makes every planner plan something.
FULL: dict[str, Any] = {
    "root": {"readonly": True},
    "hostname": "box",
    "domainname": "example",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/data", "source": "data", "options": ["rbind", "rro"]},
    ],
    "hooks": {"createRuntime": [{"path": "/bin/true", "timeout": 1}]},
    "annotations": {"a": "b"},
    "process": {
        "capabilities": {"bounding": ["CAP_KILL"]},
        "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}],
        "oomScoreAdj": 1,
        "apparmorProfile": "box",
        "selinuxLabel": "a:b:c",
        "scheduler": {"policy": "SCHED_BATCH"},
        "env": ["PATH=/bin"],
    },
    "linux": {
        "namespaces": namespaces("user", "uts", "ipc", "network", "cgroup", "time"),
        "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}],
        "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}],
        "netDevices": {"eth0": {"name": "inside"}},
        "timeOffsets": {"boottime": {"secs": 1}},
        "devices": [{"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229}],
        "maskedPaths": ["/proc/kcore"],
        "readonlyPaths": ["/proc/sys"],
        "rootfsPropagation": "slave",
        "sysctl": {"net.core.somaxconn": "1"},
        "seccomp": {"defaultAction": "SCMP_ACT_ALLOW"},
        "intelRdt": {"l3CacheSchema": "L3:0=f"},
        "personality": {"domain": "LINUX32"},
        "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0"},
        "cgroupsPath": "/box",
        "resources": {
            "memory": {"limit": 1 << 20, "swap": 1 << 21},
            "cpu": {"shares": 512, "quota": 5000, "period": 10000, "cpus": "0-1"},
            "pids": {"limit": 10},
            "blockIO": {"weight": 500},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 1}],
            "network": {"classID": 1},
            "rdma": {"mlx5_1": {"hcaHandles": 1}},
            "unified": {"memory.high": "1"},
        },
    },
}


@pytest.mark.parametrize("name", ALL)
def test_identity(name: str) -> None:
    info = call(name, "orlop_plugin")
    assert isinstance(info, PluginInfo)
    assert info.name == name
    assert info.contract == CONTRACT_VERSION
    assert info.platforms == ("linux", "fake")
    assert set(info.requires) <= set(PLUGINS)
    assert set(info.after) | set(info.before) <= set(PLUGINS)
    assert info.summary


def test_the_version_is_the_distributions() -> None:
    assert version("orlop") == VERSION


@pytest.mark.parametrize("name", ALL)
def test_handles_are_handles_of_distinct_paths(name: str) -> None:
    handles = call(name, "orlop_handles")
    assert handles or name in {"keyring", "checkpoint"}, "no property asks for them"
    assert all(isinstance(handle, Handle) for handle in handles)
    paths = [handle.path for handle in handles]
    assert len(paths) == len(set(paths))


@pytest.mark.parametrize("name", ALL)
def test_values_are_never_below_a_wider_handle_of_the_same_plugin(name: str) -> None:
    handles = call(name, "orlop_handles")
    wide = [handle.path for handle in handles if not handle.exact and handle.values is None]
    for handle in handles:
        if handle.values is not None:
            assert not [path for path in wide if handle.path.startswith((f"{path}.", f"{path}["))]


def test_no_two_planners_give_one_feature() -> None:
    seen: dict[str, str] = {}
    for name in ALL:
        given = set(call(name, "orlop_features") or ())
        given |= {handle.feature for handle in call(name, "orlop_handles") if handle.feature}
        # A map and a list to which several add.
        for feature in given - {"annotations", "potentiallyUnsafeConfigAnnotations"}:
            assert feature not in seen, (feature, name, seen[feature])
            seen[feature] = name


def test_every_planner_plans_the_full_config_as_plain_data() -> None:
    wanted = config(**FULL)
    for name in ALL:
        assert objections(name, wanted) == [], name
        planned = call(name, "orlop_plan", config=wanted, context=context())
        if name not in {"annotations", "checkpoint"}:
            assert planned, name
        for step in planned:
            assert step.because.startswith("/")
            assert json.loads(json.dumps(step.as_data()))
            assert step.phase
            assert step.slot


@pytest.mark.parametrize("name", ALL)
def test_absent_properties_are_no_error(name: str) -> None:
    bare = config(linux=None, process={"user": None})
    assert all(problem.pointer.startswith("/") for problem in objections(name, bare))
    call(name, "orlop_plan", config=bare, context=context())


def test_planning_touches_nothing() -> None:
    script = """
import sys
from tests.unit.plugins.support import PLUGINS, call, config, context, module
from tests.unit.plugins.test_contract import FULL
wanted = config(**FULL)
for name in PLUGINS:  # the first call imports what the config needs
    call(name, "orlop_validate", config=wanted, context=context())
    call(name, "orlop_plan", config=wanted, context=context())
seen = []
sys.addaudithook(lambda event, arguments: seen.append(event))
for name in PLUGINS:
    for hook in ("orlop_plugin", "orlop_handles", "orlop_features"):
        call(name, hook)
    call(name, "orlop_validate", config=wanted, context=context())
    call(name, "orlop_plan", config=wanted, context=context())
print(sorted({event for event in seen if event not in {"import", "object.__getattr__"}}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout == "[]\n"


def test_importing_all_planners_imports_nothing_dear() -> None:
    script = f"""
import sys
import attrs, pluggy
before = set(sys.modules)
for name in {sorted(PLUGINS.values())!r}:
    __import__("orlop_linux.plugins." + name)
print(" ".join(sorted(name for name in set(sys.modules) - before if not name.startswith("orlop_"))))
print(" ".join(name for name in ("pyroute2", "pyseccomp", "ctypes", "socket", "json") if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout == "\n\n"


@pytest.mark.parametrize("name", ALL)
def test_no_planner_names_the_operating_system(name: str) -> None:
    loaded = vars(module(name))
    assert not {"os", "sys", "time", "socket", "ctypes", "subprocess", "open"} & set(loaded)
