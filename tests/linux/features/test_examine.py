"""What the examination of this host says is what happens on it, and it leaves no trace."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from tests.linux.features.test_features import BUSYBOX, Place
from tests.needs import lacks
from tests.unit.features.usage import FLAGS, LISTS

import orlop
from orlop_hookspecs.availability import CATALOGUE

# Each kernel answers something else.
pytestmark = pytest.mark.every_lane


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    if not BUSYBOX.exists():
        pytest.skip("needs a static busybox")
    made = Place(tmp_path_factory.mktemp("examine"))
    yield made
    made.close()


def uses(name: str) -> Iterator[dict[str, Any]]:
    """Yield configs that need the capability *name*, made by the engine itself."""
    one = next(one for one in CATALOGUE if one.name == name)
    if one.feature in LISTS and one.values:
        for word in sorted(one.values):
            yield from LISTS[one.feature](word)
    else:
        yield from (config for config, _, _ in FLAGS.get(one.feature, ()))


# Any version of cgroups will do, systemd is asked for by a flag, and a device of the test is not there.
APART = {"cgroups.v1", "cgroups.v2", "cgroups.systemd", "cgroups.systemdUser", "netDevices", "mounts.idmap"}
TRIED = [one.name for one in CATALOGUE if one.name not in APART and any(True for _ in uses(one.name))]


@pytest.mark.parametrize("name", TRIED)
def test_what_is_said_is_what_happens(place: Place, name: str) -> None:
    (answer,) = place.runtime.examine([name]).diagnoses[:1]
    refusals = [str(found) for config in uses(name) if (found := place.try_out(config)) is not None]
    if name in {"apparmor", "selinux", "controller.rdma"} and answer.usable:
        return  # the profile, the label or the device of these configs is not the host's
    assert answer.usable == (not refusals), (answer, refusals)


LIMITS: dict[str, dict[str, Any]] = {
    "cpu": {"cpu": {"shares": 100}},
    "cpuset": {"cpu": {"cpus": "0"}},
    "memory": {"memory": {"limit": 1 << 30}},
    "pids": {"pids": {"limit": 10}},
    "devices": {"devices": [{"allow": False, "access": "rwm"}]},
    "network": {"network": {"classID": 5}},
    "hugetlb": {"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]},
}


@pytest.mark.parametrize("name", LIMITS)
def test_controllers(place: Place, name: str) -> None:
    (answer,) = place.runtime.examine([f"controller.{name}"]).diagnoses
    config = next(LISTS["hooks"]("prestart"))
    config["linux"] = {**config["linux"], "resources": LIMITS[name]}
    refused = place.try_out(config)
    if name == "hugetlb" and refused is not None and "2MB" in str(refused):
        pytest.skip("needs pages of 2 MB")
    assert answer.usable == (refused is None), (answer, refused)


# In mounts of its own: other programs of the host mount as they like.
_UNCHANGED = """
import os, sys
from pathlib import Path
sys.path[:0] = {path!r}
import orlop

def everything():
    status = Path("/proc/self/status").read_text().splitlines()
    kept = ("Cap", "Seccomp:", "NoNewPrivs", "Umask", "Uid", "Gid", "Groups", "FDSize")
    return [
        Path("/proc/self/mountinfo").read_text(),
        Path("/proc/self/cgroup").read_text(),
        Path("/proc/self/limits").read_text(),
        {{name: os.readlink(f"/proc/self/ns/{{name}}") for name in os.listdir("/proc/self/ns")}},
        [line for line in status if line.startswith(kept)],
        sorted(os.listdir("/proc/self/fd")),
        [file.read_text() for file in Path("/proc/self/task").glob("*/children")],
        # Unlike a glob this goes on when somebody else removes a group meanwhile.
        [place for place, _, _ in os.walk("/sys/fs/cgroup") if "examination" in place],
    ]

def examine():
    with orlop.Runtime.compose(platform="linux") as runtime:
        runtime.examine()

examine()  # the protected interpreter is kept open from the first time on, as for a create
before = everything()
examine()
after = everything()
for one, other in zip(before, after):
    if one != other:
        print(one, "became", other)
"""


def test_an_examination_changes_nothing() -> None:
    script = _UNCHANGED.format(path=[one for one in sys.path if one])
    command = ["unshare", "--mount", sys.executable, "-I", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_there_is_an_answer_to_everything_and_each_no_has_a_remedy() -> None:
    with orlop.Runtime.compose(platform="linux") as runtime:
        found = runtime.examine()
    assert {one.name for one in found.diagnoses} == {one.name for one in CATALOGUE}
    for one in found.diagnoses:
        assert one.available is not None, one
        assert one.usable or (one.reason and one.remedy), one


def test_checkpoints_are_there_where_criu_works() -> None:
    """Whether it works says the program by which the tests that need it are chosen."""
    with orlop.Runtime.compose(platform="linux") as runtime:
        found = {one.name: one for one in runtime.examine(["checkpoint"]).diagnoses}
    assert set(found) == {"checkpoint", "checkpoint.preDump", "checkpoint.lazyPages"}
    whole = found["checkpoint"]
    assert whole.plugins == ("checkpoint",)
    assert whole.usable == (lacks("criu") == ""), whole
    assert whole.usable or not any(one.usable for one in found.values())
