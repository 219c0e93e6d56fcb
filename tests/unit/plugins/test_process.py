"""Plugins process, capabilities, rlimits, terminal, hooks and annotations."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.plugins.support import call, config, objections, pointers, steps

from orlop_hookspecs.hooks.capability import Remark
from orlop_hookspecs.steps import (
    CheckExecutable,
    Execute,
    NewSession,
    OpenTerminal,
    RunHook,
    SetCapabilities,
    SetNoNewPrivileges,
    SetOomScore,
    SetRlimits,
    SetUmask,
    SetUser,
)
from orlop_linux.plugins import capabilities, hooks, rlimits
from orlop_linux.plugins.process import environment


def test_a_process() -> None:
    wanted = config(
        process={
            "user": {"uid": 1, "gid": 2, "umask": 0o27, "additionalGids": [3, 4]},
            "args": ["sh", "-c", ""],
            "env": ["A=1", "PATH=/bin:/sbin"],
            "cwd": "/tmp",
            "noNewPrivileges": True,
            "oomScoreAdj": -1000,
        }
    )
    assert steps("process", wanted) == [
        CheckExecutable(because="/process/args", args=("sh", "-c", ""), path="/bin:/sbin", cwd="/tmp"),
        SetUmask(because="/process/user/umask", umask=0o27),
        SetUser(because="/process/user", uid=1, gid=2, groups=(3, 4)),
        SetNoNewPrivileges(because="/process/noNewPrivileges"),
        SetOomScore(because="/process/oomScoreAdj", score=-1000),
        Execute(because="/process/args", args=("sh", "-c", ""), env=("A=1", "PATH=/bin:/sbin"), cwd="/tmp"),
    ]


def test_a_small_process() -> None:
    wanted = config(process={"user": None, "oomScoreAdj": 0})
    assert steps("process", wanted) == [
        CheckExecutable(because="/process/args", args=("sh",)),
        SetUser(because="/process/user", uid=0, gid=0),
        SetOomScore(because="/process/oomScoreAdj", score=0),
        Execute(because="/process/args", args=("sh",)),
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"args": None}, ["/process/args"]),
        ({"args": []}, ["/process/args"]),
        ({"args": [""]}, ["/process/args/0"]),
        ({"args": ["sh", "x" * 131072]}, ["/process/args/1"]),
        ({"args": ["sh", "\u00e9" * 65536]}, ["/process/args/1"]),
        ({"args": ["sh", "x" * 131071]}, []),
        ({"env": ["A"]}, ["/process/env/0"]),
        ({"env": ["A=1", "=x"]}, ["/process/env/1"]),
        ({"env": [""]}, ["/process/env/0"]),
        ({"env": ["A="]}, []),
        ({"env": ["A=" + "x" * 131070]}, ["/process/env/0"]),
        ({"cwd": ""}, ["/process/cwd"]),
        ({"cwd": "tmp"}, ["/process/cwd"]),
        ({"cwd": "/" + "x" * 256}, ["/process/cwd"]),
        ({"oomScoreAdj": 1001}, ["/process/oomScoreAdj"]),
        ({"oomScoreAdj": -1001}, ["/process/oomScoreAdj"]),
        ({"user": {"uid": None}}, ["/process/user/uid"]),
        ({"user": {"gid": None}}, ["/process/user/gid"]),
        ({"user": {"uid": 0xFFFFFFFF}}, ["/process/user/uid"]),
        ({"user": {"gid": 0xFFFFFFFF}}, ["/process/user/gid"]),
        ({"user": {"uid": 0xFFFFFFFE}}, []),
        ({"user": {"additionalGids": [0, 0xFFFFFFFF]}}, ["/process/user/additionalGids/1"]),
        ({"user": {"additionalGids": [1] * 65537}}, ["/process/user/additionalGids"]),
        ({"user": {"umask": 0o777}}, []),
        ({"user": {"umask": 0o1000}}, ["/process/user/umask"]),
    ],
)
def test_what_a_process_may_be(changes: dict[str, Any], expected: list[str]) -> None:
    assert pointers("process", config(process=changes)) == expected


def test_only_start_needs_a_process() -> None:
    assert pointers("process", config(process=None)) == []
    assert steps("process", config(process=None)) == []


def test_the_last_of_two_values_of_a_variable_counts() -> None:
    assert environment(["A=1", "B=2", "A=3", "C=A=4"]) == ("B=2", "A=3", "C=A=4")
    wanted = config(process={"env": ["PATH=/a", "PATH=/b"]})
    assert steps("process", wanted)[0] == CheckExecutable(because="/process/args", args=("sh",), path="/b")


@given(st.lists(st.tuples(st.sampled_from("ABC"), st.text(max_size=3)).map("=".join)))
def test_an_environment_names_each_variable_once(entries: list[str]) -> None:
    kept = environment(entries)
    assert dict(entry.split("=", 1) for entry in kept) == dict(entry.split("=", 1) for entry in entries)
    assert len(kept) == len({entry.split("=", 1)[0] for entry in entries})


def test_there_are_41_capabilities() -> None:
    assert len(capabilities.NAMES) == len(set(capabilities.NAMES)) == 41
    assert capabilities.NAMES.index("CAP_CHOWN") == 0
    assert capabilities.NAMES.index("CAP_SYS_ADMIN") == 21
    assert capabilities.NAMES.index("CAP_CHECKPOINT_RESTORE") == 40
    assert call("capabilities", "orlop_features") == {"linux.capabilities": list(capabilities.NAMES)}


def test_capability_sets() -> None:
    wanted = config(
        process={
            "capabilities": {
                "bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_KILL"],
                "permitted": ["CAP_KILL", "CAP_CHOWN"],
                "effective": ["CAP_KILL"],
                "inheritable": ["CAP_CHOWN"],
                "ambient": ["CAP_KILL", "CAP_CHOWN"],
            }
        }
    )
    assert steps("capabilities", wanted) == [
        SetCapabilities(
            because="/process/capabilities",
            bounding=("CAP_KILL", "CAP_CHOWN", "CAP_KILL"),
            effective=("CAP_KILL",),
            permitted=("CAP_KILL", "CAP_CHOWN"),
            inheritable=("CAP_CHOWN",),
            ambient=("CAP_KILL", "CAP_CHOWN"),
        )
    ]


def test_what_is_not_listed_is_dropped() -> None:
    nothing = [SetCapabilities(because="/process/capabilities")]
    assert steps("capabilities", config()) == nothing
    assert steps("capabilities", config(process={"capabilities": {}})) == nothing


def test_effective_capabilities_must_be_permitted() -> None:
    sets = {"effective": ["CAP_KILL", "CAP_CHOWN"], "permitted": ["CAP_KILL"]}
    wanted = config(process={"capabilities": sets})
    assert pointers("capabilities", wanted) == ["/process/capabilities/effective/1"]


def test_an_unknown_name_may_be_effective_alone() -> None:
    """It is left out of every set."""
    wanted = config(process={"capabilities": {"effective": ["CAP_DREAM"], "permitted": []}})
    assert pointers("capabilities", wanted) == []


def test_capabilities_that_are_left_out_everywhere_are_told() -> None:
    sets = {
        "bounding": ["CAP_KILL", "CAP_DREAM", "sys_admin"],
        "permitted": ["CAP_KILL", "CAP_CHOWN"],
        "inheritable": ["CAP_KILL"],
        "ambient": ["CAP_KILL", "CAP_CHOWN"],
    }
    unknown = "no capability of this name is known: it is left out with a warning"
    assert call("capabilities", "orlop_remark", config=config(process={"capabilities": sets})) == (
        Remark("/process/capabilities/bounding/1", unknown, "CAP_DREAM"),
        Remark("/process/capabilities/bounding/2", unknown, "sys_admin", "did you mean CAP_SYS_ADMIN?"),
        Remark(
            "/process/capabilities/ambient/1",
            "it is not both permitted and inheritable: it is left out with a warning",
            "CAP_CHOWN",
        ),
    )
    assert call("capabilities", "orlop_remark", config=config()) == ()


def test_limits() -> None:
    limits = [
        {"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": (1 << 64) - 1},
    ]
    assert steps("rlimits", config(process={"rlimits": limits})) == [
        SetRlimits(
            because="/process/rlimits", limits=(("RLIMIT_NOFILE", 1, 2), ("RLIMIT_CORE", 0, (1 << 64) - 1))
        )
    ]
    assert steps("rlimits", config()) == []
    assert len(rlimits.NAMES) == 16


def test_limits_that_cannot_be() -> None:
    limits = [
        {"type": "RLIMIT_NOFILE", "soft": 3, "hard": 2},
        {"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2},
    ]
    wanted = config(process={"rlimits": limits})
    assert pointers("rlimits", wanted) == ["/process/rlimits/0/soft", "/process/rlimits/1/type"]


def test_without_a_terminal_there_is_a_session() -> None:
    assert steps("terminal", config()) == [NewSession(because="/process/terminal")]


def test_a_terminal() -> None:
    process = {"terminal": True, "consoleSize": {"height": 25, "width": 80}, "user": {"uid": 7}}
    expected = OpenTerminal(because="/process/terminal", height=25, width=80, uid=7)
    for options in ({"console_socket": "/tmp/s"}, {"foreground": True}):
        planned = steps("terminal", config(process=process), **options)
        assert planned == [expected]
    small = steps("terminal", config(process={"terminal": True}), foreground=True)
    assert small[0] == OpenTerminal(because="/process/terminal")


@pytest.mark.parametrize(
    ("process", "options"),
    [
        ({"terminal": True}, {}),
        ({"terminal": True}, {"foreground": True, "console_socket": "/s"}),
        ({"terminal": False}, {"console_socket": "/s"}),
        ({}, {"console_socket": "/s"}),
    ],
)
def test_a_terminal_needs_exactly_one_holder(process: dict[str, Any], options: dict[str, Any]) -> None:
    (problem,) = objections("terminal", config(process=process), **options)
    assert problem.pointer == "/process/terminal"
    assert problem.hint


def test_sizes_of_a_terminal() -> None:
    size = {"height": 65536, "width": 1 << 40}
    wanted = config(process={"terminal": True, "consoleSize": size})
    expected = ["/process/consoleSize/height", "/process/consoleSize/width"]
    assert pointers("terminal", wanted, foreground=True) == expected
    # Without a terminal the size is ignored, whatever it is (config.md, Process).
    assert pointers("terminal", config(process={"consoleSize": size})) == []


def test_a_terminal_needs_a_mount_namespace() -> None:
    shared = config(process={"terminal": True}, linux={"namespaces": []})
    assert pointers("terminal", shared, foreground=True) == []
    wanted = config(process={"terminal": True}, linux={"namespaces": [{"type": "user"}]})
    assert pointers("terminal", wanted, foreground=True) == ["/process/terminal"]


def test_hooks_are_steps() -> None:
    hook = {"path": "/bin/h", "args": ["h", ""], "env": ["A=1"], "timeout": 5}
    wanted = config(hooks={kind: [{"path": "/bin/first"}, hook] for kind in hooks.KINDS})
    planned = steps("hooks", wanted)
    assert planned == [
        step
        for kind in hooks.KINDS
        for step in (
            RunHook(because=f"/hooks/{kind}/0", kind=kind, index=0, path="/bin/first"),
            RunHook(
                because=f"/hooks/{kind}/1",
                kind=kind,
                index=1,
                path="/bin/h",
                args=("h", ""),
                env=("A=1",),
                timeout=5,
            ),
        )
    ]
    phases = ["host-with-pid", "host-with-pid", "container", "exec", "", ""]
    assert [step.phase for step in planned][::2] == phases
    assert call("hooks", "orlop_features") == {"hooks": hooks.KINDS}
    assert steps("hooks", config()) == []


@pytest.mark.parametrize(
    "kind", ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
)
@pytest.mark.parametrize(
    ("hook", "expected"),
    [
        ({"path": "bin/h"}, "path"),
        ({"path": ""}, "path"),
        ({"path": "/" + "x" * 256}, "path"),
        ({"path": "/h", "env": ["A"]}, "env/0"),
        ({"path": "/h", "env": ["=x"]}, "env/0"),
        ({"path": "/h", "args": ["x" * 131072]}, "args/0"),
        ({"path": "/h", "timeout": 1 << 40}, "timeout"),
    ],
)
def test_hooks_that_cannot_be(kind: str, hook: dict[str, Any], expected: str) -> None:
    assert pointers("hooks", config(hooks={kind: [hook]})) == [f"/hooks/{kind}/0/{expected}"]


def test_annotations_change_nothing() -> None:
    wanted = config(annotations={"run.oci.handler": "krun", "org.systemd.property.X": "1"})
    assert "potentiallyUnsafeConfigAnnotations" not in call("annotations", "orlop_features")
    for name in ("annotations", "process", "cgroups", "rootfs"):
        assert steps(name, wanted) == steps(name, config())
