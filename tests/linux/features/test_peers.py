"""The installed runtimes' own documents: judged rightly, whatever version this machine has."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.linux.features.foreign import Foreign, config
from tests.needs import lacks

import orlop
from orlop_hookspecs.errors import PlatformError

# The virtual machine has newer versions of both.
pytestmark = pytest.mark.every_lane

REASON = "prints no features document"


def document(name: str) -> dict[str, Any]:
    """Return the features document of the runtime *name*, or skip: old versions of crun print none."""
    try:
        return orlop.read_features(name)
    except PlatformError as error:
        if REASON not in str(error):
            raise
        pytest.skip(f"needs a {name} that has the command features: {error}")


def has_resctrl() -> bool:
    return os.path.isdir("/sys/fs/resctrl/info")


def rules(report: Any) -> set[tuple[str, str]]:
    return {(one.rule, one.pointer) for one in report.remarks}


@pytest.mark.needs("program:runc")
def test_the_document_of_runc() -> None:
    found = document("runc")
    assert found == json.loads(subprocess.run(["runc", "features"], capture_output=True, check=True).stdout)
    report = orlop.validate_features(found)
    version = found["annotations"]["org.opencontainers.runc.version"]
    assert report.runtime == f"runc {version}"
    newest = tuple(int(part.split("-")[0]) for part in found["ociVersionMax"].split(".")[:3])
    # Its version 1.1.5 prints a document that the version of the specification it names does not have.
    assert report.valid == (newest >= (1, 1, 0))
    assert (("version-gate", "/ociVersionMax") in rules(report)) == (newest < (1, 1, 0))
    if "intelRdt" not in found["linux"]:
        assert ("understated", "/linux/intelRdt") in rules(report)


@pytest.mark.needs("program:runc")
def test_what_runc_does_not_say_is_true_nevertheless(tmp_path: Path) -> None:
    """It knows linux.intelRdt and linux.resources.rdma: it complains where the host has none of them."""
    silent = {
        pointer for rule, pointer in rules(orlop.validate_features(document("runc"))) if rule == "understated"
    }
    runc = Foreign("runc", tmp_path)
    status, _, complaint = runc.run(config())
    assert status == 0, complaint
    if "/linux/intelRdt" in silent and not has_resctrl():
        status, _, complaint = runc.run(config(intelRdt={"l3CacheSchema": "L3:0=f"}))
        assert (status, "RDT" in complaint) == (1, True), complaint
    if "/linux/cgroup/rdma" in silent and lacks("controller:rdma"):
        status, _, complaint = runc.run(config(resources={"rdma": {"mlx5_0": {"hcaHandles": 3}}}))
        assert (status, "rdma" in complaint) == (1, True), complaint


@pytest.mark.needs("program:crun")
def test_time_namespaces_that_crun_does_not_list(tmp_path: Path) -> None:
    if ("understated", "/linux/namespaces") not in rules(orlop.validate_features(document("crun"))):
        pytest.skip("needs a crun that does not list the time namespace")
    offset = {"boottime": {"secs": 1000}}
    wanted = config("cat /proc/self/timens_offsets", namespaces=[{"type": "time"}], timeOffsets=offset)
    status, output, complaint = Foreign("crun", tmp_path).run(wanted)
    assert status == 0, complaint
    assert "boottime 1000 0" in " ".join(output.split())


@pytest.mark.needs("program:crun")
def test_the_document_of_crun() -> None:
    report = orlop.validate_features(document("crun"))
    assert report.runtime.startswith("crun ")
    assert not report.valid
    assert ("constant", "/ociVersionMax") in rules(report)
    assert any(rule == "version-gate" for rule, _ in rules(report))


@pytest.mark.needs("program:crun")
def test_a_crun_without_the_command_is_told_of_in_one_line() -> None:
    done = subprocess.run(["crun", "features"], capture_output=True, check=False)
    if done.returncode == 0:
        pytest.skip("needs a crun that has no command features")
    with pytest.raises(PlatformError, match=REASON) as caught:
        orlop.read_features("crun")
    assert str(caught.value).count("\n") == 0


@pytest.mark.needs("program:runc")
def test_the_difference_to_runc() -> None:
    found = orlop.diff_features({"ociVersionMin": "1.0.0", "ociVersionMax": "1.3.0"}, document("runc"))
    assert {d.path for d in found.differences} >= {"hooks", "linux.namespaces", "linux.capabilities"}
    assert all(d.one is None for d in found.differences if d.path.startswith("linux."))
