"""Cases of ``process``: what runs, as whom, with which limits and rights (config.md, Process)."""

from __future__ import annotations

import os
import re

from tests.properties.case import Config, Seen, case, merge

STATUS = "busybox sed -n 's/^{0}:[[:space:]]*//p' /proc/self/status"
"""A probe that prints one line of the process's status."""

CHOWN, KILL, MKNOD = 1 << 0, 1 << 5, 1 << 27
"""Capabilities as they stand in a set of the status (linux/capability.h)."""


# The arguments are the base config's.
case("process.args[]", config={}, probe='echo "$0|$1|$2|$#"', shows="zero|one|two words|2")
case("process.cwd", config={"process": {"cwd": "/tmp"}}, probe="pwd", shows="/tmp")
case(
    "process.env[]",
    config={"process": {"env": ["ORLOP_CASE=a b=c", "ORLOP_EMPTY="]}},
    probe='echo "$ORLOP_CASE|${ORLOP_EMPTY-unset}|${NOTHING-unset}"',
    shows="a b=c||unset",
)
case("process.user.uid", config={"process": {"user": {"uid": 1234}}}, probe="id -u", shows="1234", alone=True)
case("process.user.gid", config={"process": {"user": {"gid": 4321}}}, probe="id -g", shows="4321", alone=True)
case(
    "process.user.additionalGids[]",
    config={"process": {"user": {"additionalGids": [7, 70000]}}},
    probe=STATUS.format("Groups"),
    shows=re.compile(r"7 70000 ?"),
)
case("process.user.umask", config={"process": {"user": {"umask": 0o27}}}, probe="umask", shows="0027")
case(
    "process.noNewPrivileges",
    config={"process": {"noNewPrivileges": True}},
    probe=STATUS.format("NoNewPrivs"),
    shows="1",
)
case(
    "process.noNewPrivileges",
    config={"process": {"noNewPrivileges": False}},
    probe=STATUS.format("NoNewPrivs"),
    shows="0",
    name="process.noNewPrivileges false",
)
case(
    "process.oomScoreAdj",
    config={"process": {"oomScoreAdj": 321}},
    probe="cat /proc/self/oom_score_adj",
    shows="321",
)


def _unchanged_score(seen: Seen) -> None:
    with open("/proc/self/oom_score_adj", encoding="ascii") as own:
        assert seen.proc("oom_score_adj") == own.read()


case(config={}, host=_unchanged_score, name="process.oomScoreAdj unset", alone=True)


def _capabilities(*names: str, **over: list[str]) -> Config:
    """Return a config with the same capabilities in each set, but for ambient and inheritable."""
    made = {one: list(names) for one in ("bounding", "effective", "permitted")} | over
    return {"process": {"capabilities": made}}


# What is bounding only, root would permit itself with execve(2), were it not for no_new_privs.
for _set, _line, _wanted in (
    ("bounding", "CapBnd", CHOWN | KILL | MKNOD),
    ("permitted", "CapPrm", CHOWN | KILL),
    ("effective", "CapEff", CHOWN | KILL),
):
    case(
        f"process.capabilities.{_set}[]",
        config=merge(
            _capabilities("CAP_CHOWN", "CAP_KILL", bounding=["CAP_CHOWN", "CAP_KILL", "CAP_MKNOD"]),
            {"process": {"noNewPrivileges": True}},
        ),
        probe=STATUS.format(_line),
        shows=f"{_wanted:016x}",
        alone=True,
    )
case(
    "process.capabilities.inheritable[]",
    config=_capabilities("CAP_CHOWN", "CAP_KILL", inheritable=["CAP_KILL"]),
    probe=STATUS.format("CapInh"),
    shows=f"{KILL:016x}",
    alone=True,
)
case(
    "process.capabilities.ambient[]",
    config=merge(
        _capabilities("CAP_CHOWN", "CAP_KILL", inheritable=["CAP_CHOWN"], ambient=["CAP_CHOWN"]),
        {"process": {"user": {"uid": 1000, "gid": 1000}}},
    ),
    probe=f"{STATUS.format('CapAmb')}; {STATUS.format('CapEff')}",
    shows=f"{CHOWN:016x}\n{CHOWN:016x}",
    alone=True,
)
case(
    "process.rlimits[].soft",
    "process.rlimits[].hard",
    "process.rlimits[].type",
    config={
        "process": {
            "rlimits": [
                {"type": "RLIMIT_NOFILE", "soft": 99, "hard": 200},
                {"type": "RLIMIT_CORE", "soft": 0, "hard": 4096},
            ]
        }
    },
    probe=r"busybox sed -n -E 's/^Max (open|core) [a-z ]+ ([0-9]+) +([0-9]+).*/\2 \3/p' /proc/self/limits",
    shows="0 4096\n99 200",
)


def _annotations(seen: Seen) -> None:
    assert seen.state["annotations"]["com.example.orlop"] == "wanted"


case("annotations.*", config={"annotations": {"com.example.orlop": "wanted"}}, host=_annotations)


def _version(seen: Seen) -> None:
    assert re.fullmatch(r"1\.\d+\.\d+", seen.state["ociVersion"])
    assert seen.state["pid"] == seen.pid
    assert os.path.samefile(seen.state["bundle"], seen.rootfs.parent)


case("ociVersion", config={"ociVersion": "1.1.0"}, host=_version)
