"""What is said of the installed runc is what it does: refused is refused, ignored is ignored."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.linux.features.foreign import Foreign, config

import orlop

# The virtual machine has a newer version.
pytestmark = [pytest.mark.every_lane, pytest.mark.needs("program:runc")]


class Trial(NamedTuple):
    """A config, the property that matters in it, and what shows that the runtime has applied it."""

    pointer: str
    config: Mapping[str, Any]
    applied: str = ""
    """What the program then writes; empty: the program writes nothing that tells."""


def _with(made: dict[str, Any], **process: Any) -> dict[str, Any]:
    made["process"] |= process
    return made


def _mount(kind: str, *options: str) -> dict[str, Any]:
    made = config()
    made["mounts"].append(
        {
            "destination": "/mnt",
            "type": kind,
            "source": "/proc" if kind == "bind" else "tmpfs",
            "options": list(options),
        }
    )
    return made


TRIALS = {
    "time namespace": Trial("/linux/namespaces/2/type", config(namespaces=[{"type": "time"}])),
    "uts namespace": Trial("/linux/namespaces/2/type", config(namespaces=[{"type": "uts"}])),
    "option of no bind mount": Trial("/mounts/2/options/1", _mount("bind", "rbind", "no-such-option")),
    "option of no tmpfs": Trial("/mounts/2/options/0", _mount("tmpfs", "ridmap")),
    "known option": Trial("/mounts/2/options/1", _mount("bind", "rbind", "ro")),
    "scheduler": Trial(
        "/process/scheduler",
        _with(
            config("grep ^policy /proc/self/sched | tr -d ' :'"),
            scheduler={"policy": "SCHED_BATCH", "nice": 5},
        ),
        "policy3",
    ),
    "unknown capability": Trial(
        "/process/capabilities/bounding/0", _with(config(), capabilities={"bounding": ["CAP_NO_SUCH"]})
    ),
    "seccomp action": Trial(
        "/linux/seccomp/defaultAction", config(seccomp={"defaultAction": "SCMP_ACT_ALLOW"})
    ),
    "seccomp architecture": Trial(
        "/linux/seccomp/architectures/0",
        config(seccomp={"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_PARISC"]}),
    ),
    "memory policy": Trial("/linux/memoryPolicy", config(memoryPolicy={"mode": "MPOL_BIND", "nodes": "0"})),
}


@pytest.mark.parametrize("name", TRIALS)
def test_what_is_said_is_what_happens(name: str, tmp_path: Path) -> None:
    trial = TRIALS[name]
    runc = Foreign("runc", tmp_path)
    status, _, complaint = runc.run(config())
    assert status == 0, complaint
    verdict = orlop.check_features(dict(trial.config), orlop.read_features("runc"))
    (one,) = [one for one in verdict.properties if one.pointer == trial.pointer]
    status, output, complaint = runc.run(dict(trial.config))
    if one.outcome == "refused":
        assert status != 0, one
    elif one.outcome != "unknown":
        assert status == 0, (one, complaint)
        if trial.applied:
            assert (trial.applied in output) == (one.outcome == "applied"), (one, output)


def test_what_is_tried_has_every_outcome() -> None:
    features = orlop.read_features("runc")
    seen = {
        one.outcome
        for trial in TRIALS.values()
        for one in orlop.check_features(dict(trial.config), features).properties
        if one.pointer == trial.pointer
    }
    assert seen >= {"refused", "ignored", "applied"}
