"""Scopes of the system's manager: their names and places, their limits, their end."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.linux.systemd.conftest import CONFIG, Box, cgroup_of, is_loaded, show

from orlop_hookspecs.errors import OrlopError, StepError

pytestmark = pytest.mark.needs("systemd", "cgroup-v2")

MIB = 1 << 20


def test_a_container_is_a_scope_in_its_slice(box: Box) -> None:
    unit = f"orlop-{box.name}.scope"
    made = box.create()
    assert cgroup_of(made) == Path(f"/sys/fs/cgroup/system.slice/{unit}")
    assert show(unit, "ActiveState", "Slice", "Delegate", "Description", "Transient", "ControlGroup") == {
        "ActiveState": "active",
        "Slice": "system.slice",
        "Delegate": "yes",
        "Description": f"orlop container {box.name}",
        "Transient": "yes",
        "ControlGroup": f"/system.slice/{unit}",
    }
    assert list(made.processes()) == [made.pid]
    made.start()
    assert list(made.processes()) == [made.pid]
    made.delete(force=True)
    assert not is_loaded(unit)
    assert not Path(f"/sys/fs/cgroup/system.slice/{unit}").exists()


def test_a_slice_is_below_the_slices_in_its_name(box: Box) -> None:
    made = box.create(path=f"{box.name}-a-b.slice:libpod:{box.name}")
    place = f"{box.name}.slice/{box.name}-a.slice/{box.name}-a-b.slice/libpod-{box.name}.scope"
    assert cgroup_of(made) == Path("/sys/fs/cgroup", place)
    made.delete(force=True)
    assert not Path("/sys/fs/cgroup", place).exists()


def test_without_a_path_the_scope_is_in_the_system_slice(box: Box) -> None:
    made = box.create(path=None)
    # Each store has a word of its own in the names of what its containers have on the host.
    name = cgroup_of(made).name
    assert name.startswith("orlop-")
    assert name.endswith(f"-{box.name}.scope")
    assert cgroup_of(made).parent.name == "system.slice"


def test_letters_that_no_unit_has_are_escaped(box: Box) -> None:
    made = box.create(path=f":a+b:{box.name}")
    assert cgroup_of(made).name == f"a\\x2bb-{box.name}.scope"


LIMITS: dict[str, Any] = {
    "memory": {"limit": 64 * MIB, "reservation": 32 * MIB, "swap": 96 * MIB},
    "cpu": {"shares": 512, "quota": 25000, "period": 100000, "cpus": "0-1", "mems": "0", "burst": 1000},
    "pids": {"limit": 77},
    "unified": {"memory.high": str(48 * MIB)},
}
FILES = {
    "memory.max": str(64 * MIB),
    "memory.low": str(32 * MIB),
    "memory.swap.max": str(32 * MIB),
    "memory.high": str(48 * MIB),
    "cpu.weight": "59",
    "cpu.max": "25000 100000",
    "cpu.max.burst": "1000",
    "cpuset.cpus": "0-1",
    "cpuset.mems": "0",
    "pids.max": "77",
}


def files(directory: Path, names: dict[str, str]) -> dict[str, str]:
    return {name: (directory / name).read_text().strip() for name in names}


def test_limits_are_the_kernels_and_systemds(box: Box) -> None:
    made = box.create(resources=LIMITS)
    assert files(cgroup_of(made), FILES) == FILES
    unit = f"orlop-{box.name}.scope"
    assert show(unit, "MemoryMax", "MemoryLow", "MemoryHigh", "MemorySwapMax", "TasksMax", "CPUWeight") == {
        "MemoryMax": str(64 * MIB),
        "MemoryLow": str(32 * MIB),
        "MemoryHigh": str(48 * MIB),
        "MemorySwapMax": str(32 * MIB),
        "TasksMax": "77",
        "CPUWeight": "59",
    }
    assert show(unit, "AllowedCPUs", "AllowedMemoryNodes") == {
        "AllowedCPUs": "0-1",
        "AllowedMemoryNodes": "0",
    }
    # systemd writes its files again when it is told to look for new ones.
    subprocess.run(["systemctl", "daemon-reload"], check=True, timeout=240)
    subprocess.run(["systemctl", "set-property", "--runtime", unit, "IOWeight=50"], check=True, timeout=240)
    assert files(cgroup_of(made), FILES) == FILES


@pytest.mark.parametrize("limit", [1, 2])
def test_the_limit_of_tasks_counts_none_of_the_runtime(box: Box, limit: int) -> None:
    made = box.create(resources={"pids": {"limit": limit}})
    assert (cgroup_of(made) / "pids.max").read_text().strip() == str(limit)
    made.start()
    assert list(made.processes()) == [made.pid]


def test_controllers_that_systemd_does_not_know_are_enabled(box: Box) -> None:
    made = box.create(resources={"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]})
    assert (cgroup_of(made) / "hugetlb.2MB.max").read_text().strip() == str(4 * MIB)
    assert (cgroup_of(made) / "hugetlb.2MB.rsvd.max").read_text().strip() == str(4 * MIB)


def test_devices_are_denied_by_both(box: Box) -> None:
    script = "cat </dev/null && cat </dev/zero | dd bs=1 count=1 of=/dev/null 2>/dev/null && echo defaults"
    rule = {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}
    made = box.create(resources={"devices": [{"allow": False, "access": "rwm"}, rule]})
    found = show(f"orlop-{box.name}.scope", "DevicePolicy", "DeviceAllow")
    assert found["DevicePolicy"] == "strict"
    assert "/dev/char/10:229 rw" in found["DeviceAllow"] or "/dev/fuse rw" in found["DeviceAllow"]
    made.delete(force=True)
    assert box.run("/bin/sh", "-c", script, name=f"{box.name}-d") == "defaults\n"


def test_a_further_process_is_in_the_scope_or_below(box: Box) -> None:
    made = box.create()
    made.start()
    group = cgroup_of(made)
    (group / "below").mkdir()
    null = os.open("/dev/null", os.O_RDWR)
    for cgroups, place in (({}, group), ({"": "below"}, group / "below")):
        process = made.exec(["/bin/sleep", "600"], stdio=(null, null, null), cgroups=cgroups)
        text = Path(f"/proc/{process.pid}/cgroup").read_text()
        assert text == f"0::{str(place).removeprefix('/sys/fs/cgroup')}\n"
    os.close(null)
    assert len(made.processes()) == 3


def test_an_update_reaches_kernel_and_systemd(box: Box) -> None:
    made = box.create(resources=LIMITS)
    unit = f"orlop-{box.name}.scope"
    made.update({"memory": {"limit": 80 * MIB}, "cpu": {"quota": 50000}, "pids": {"limit": 99}})
    changed = FILES | {"memory.max": str(80 * MIB), "cpu.max": "50000 100000", "pids.max": "99"}
    assert files(cgroup_of(made), FILES) == changed
    told = {"MemoryMax": str(80 * MIB), "TasksMax": "99", "CPUQuotaPerSecUSec": "500ms"}
    assert show(unit, *told) == told
    with pytest.raises(StepError):
        made.update({"memory": {"limit": 90 * MIB}, "unified": {"memory.oom.group": "7"}})
    assert files(cgroup_of(made), FILES) == changed
    assert show(unit, *told) == told


def test_a_failed_creation_leaves_no_unit(box: Box) -> None:
    with pytest.raises(OrlopError):
        box.create(resources={"unified": {"memory.high": "much"}})
    assert not is_loaded(f"orlop-{box.name}.scope")
    assert not Path(f"/sys/fs/cgroup/system.slice/orlop-{box.name}.scope").exists()
    box.create().delete(force=True)


def test_a_unit_that_is_there_is_refused_and_goes_on(box: Box) -> None:
    unit = f"orlop-{box.name}.scope"
    other = subprocess.Popen(["systemd-run", "--scope", f"--unit={unit}", "--quiet", "sleep", "300"])
    try:
        deadline = select.poll()
        while not is_loaded(unit):
            deadline.poll(50)
        with pytest.raises(StepError, match="there is a unit") as caught:
            box.create()
        assert caught.value.pointer == "/linux/cgroupsPath"
        assert show(unit, "ActiveState") == {"ActiveState": "active"}
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_the_end_of_the_program_is_the_end_of_the_scope(box: Box) -> None:
    made = box.create(args=("/bin/true",))
    made.start()
    assert made.wait(timeout=240) == 0
    made.delete()
    assert not is_loaded(f"orlop-{box.name}.scope")


def test_a_later_unit_of_the_same_name_is_left_alone(box: Box) -> None:
    unit = f"orlop-{box.name}.scope"
    made = box.create(args=("/bin/true",))
    made.start()
    made.wait(timeout=240)
    waiter = select.poll()
    while Path(f"/sys/fs/cgroup/system.slice/{unit}").exists() or is_loaded(unit):
        waiter.poll(20)
    second = box.create(f"{box.name}-2", path=f"system.slice:orlop:{box.name}")
    made.delete()
    assert show(unit, "ActiveState") == {"ActiveState": "active"}
    assert second.state()["status"] == "created"


def test_annotations_set_what_they_may(box: Box) -> None:
    box.create(
        annotations={
            "org.systemd.property.TimeoutStopUSec": "uint64 5000000",
            "org.systemd.property.KillSignal": "37",
            "org.systemd.property.After": "['local-fs.target']",
        }
    )
    found = show(f"orlop-{box.name}.scope", "TimeoutStopUSec", "KillSignal", "After")
    assert (found["TimeoutStopUSec"], found["KillSignal"]) == ("5s", "37")
    assert "local-fs.target" in found["After"].split()


def test_freezing_killing_and_figures_need_no_systemd(box: Box) -> None:
    made = box.create(resources=LIMITS)
    made.start()
    assert made.stats()["pids"]["current"] == 1
    assert made.stats()["pids"]["max"] == 77
    made.pause()
    assert made.state()["status"] == "paused"
    made.resume()
    made.kill("KILL")
    made.wait(timeout=240)
    made.delete()


def test_the_cgroup_namespace_begins_at_the_scope(box: Box) -> None:
    assert box.run("/bin/cat", "/proc/self/cgroup") == "0::/\n"


HANG = "while kill -0 $PPID 2>/dev/null; do /bin/busybox usleep 50000; done"
CREATE = """
import sys
import orlop
from orlop_hookspecs.launch import LaunchOptions

place, name = sys.argv[1:]
null = open("/dev/null", "r+b").fileno()
runtime = orlop.Runtime.compose(platform="linux", root=place + "/state")
runtime.create(name, place, LaunchOptions(stdio=(null, null, null), systemd_cgroup=True))
"""


def test_the_scope_of_a_creation_that_was_killed_goes_with_delete(box: Box) -> None:
    unit = f"orlop-{box.name}.scope"
    config = CONFIG | {
        # The creation waits for its hook when it is killed; the hook ends with it.
        "hooks": {"createRuntime": [{"path": "/bin/busybox", "args": ["busybox", "sh", "-c", HANG]}]},
        "linux": CONFIG["linux"] | {"cgroupsPath": f"system.slice:orlop:{box.name}"},
    }
    (box.place / "config.json").write_text(json.dumps(config))
    engine = subprocess.Popen([sys.executable, "-c", CREATE, str(box.place), box.name])
    try:
        waiter = select.poll()
        while not any(Path(f"/sys/fs/cgroup/system.slice/{unit}").glob("cgroup.procs")):
            assert engine.poll() is None
            waiter.poll(20)
    finally:
        engine.kill()
        engine.wait()
    box.runtime.get(box.name).delete(force=True)
    assert not is_loaded(unit)
    assert not Path(f"/sys/fs/cgroup/system.slice/{unit}").exists()
    box.create().delete(force=True)


def test_leftovers_of_a_killed_creation_are_removed(box: Box) -> None:
    made = box.create()
    child = made.pid
    os.kill(child, 9)
    made.delete(force=True)
    assert not is_loaded(f"orlop-{box.name}.scope")
