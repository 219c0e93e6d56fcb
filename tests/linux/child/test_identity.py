"""Capabilities, ids, groups, limits and scores of the program are those of the config."""

from __future__ import annotations

import errno
import json
import os
import resource
from pathlib import Path
from typing import Any

import pytest
from tests.linux.child.support import NAMESPACES, PATIENCE, Box, command_line, status_of

import orlop
from orlop_linux.init.identity import NUMBER
from orlop_linux.init.syscalls import capget

SETS = {
    "CapBnd": "bounding",
    "CapEff": "effective",
    "CapPrm": "permitted",
    "CapInh": "inheritable",
    "CapAmb": "ambient",
}
SOME = ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
MORE = [*SOME, "CAP_SETPCAP", "CAP_SYS_ADMIN"]


def mask(names: list[str]) -> int:
    return sum(1 << NUMBER[name] for name in names)


def sets_of(pid: int) -> dict[str, int]:
    found = status_of(pid)
    return {name: int(found[line], 16) for line, name in SETS.items()}


CASES: dict[str, tuple[int, dict[str, list[str]], dict[str, list[str]]]] = {
    # When root executes a program, its permitted and effective sets are the bounding and inheritable ones.
    "root": (
        0,
        {"bounding": MORE, "effective": SOME, "permitted": SOME},
        {"bounding": MORE, "effective": MORE, "permitted": MORE, "inheritable": [], "ambient": []},
    ),
    "root with an empty bounding set": (
        0,
        {"effective": SOME, "permitted": SOME, "inheritable": SOME[:1]},
        {
            "bounding": [],
            "effective": SOME[:1],
            "permitted": SOME[:1],
            "inheritable": SOME[:1],
            "ambient": [],
        },
    ),
    "root with nothing": (
        0,
        {},
        {"bounding": [], "effective": [], "permitted": [], "inheritable": [], "ambient": []},
    ),
    "user": (
        1000,
        {"bounding": MORE, "effective": SOME, "permitted": SOME, "inheritable": MORE[-1:]},
        {"bounding": MORE, "effective": [], "permitted": [], "inheritable": MORE[-1:], "ambient": []},
    ),
    "user with ambient ones": (
        1000,
        {
            "bounding": MORE,
            "effective": SOME[:1],
            "permitted": SOME,
            "inheritable": SOME,
            "ambient": SOME[1:],
        },
        {
            "bounding": MORE,
            "effective": SOME[1:],
            "permitted": SOME[1:],
            "inheritable": SOME,
            "ambient": SOME[1:],
        },
    ),
    "user with ambient ones that are not inheritable": (
        1000,
        {"bounding": MORE, "permitted": SOME, "inheritable": SOME[:1], "ambient": SOME},
        {
            "bounding": MORE,
            "effective": SOME[:1],
            "permitted": SOME[:1],
            "inheritable": SOME[:1],
            "ambient": SOME[:1],
        },
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_five_sets(box: Box, case: str) -> None:
    uid, asked, expected = CASES[case]
    process = {"user": {"uid": uid, "gid": uid}, "capabilities": asked}
    found = sets_of(box.start(box.config(process=process)).pid)
    assert found == {name: mask(names) for name, names in expected.items()}


def test_no_capabilities_in_the_config_are_no_capabilities(box: Box) -> None:
    assert set(sets_of(box.start().pid).values()) == {0}


def test_all_that_the_caller_has(box: Box) -> None:
    _, had, _ = capget()
    names = [name for name, number in NUMBER.items() if had >> number & 1]
    asked = dict.fromkeys(SETS.values(), names)
    found = sets_of(box.start(box.config(process={"capabilities": asked})).pid)
    assert set(found.values()) == {had}
    assert box.warnings == []


def test_capabilities_that_the_caller_lacks_are_left_out_with_a_warning(box: Box) -> None:
    _, had, _ = capget()
    lacking = [name for name, number in NUMBER.items() if not had >> number & 1]
    if not lacking:
        pytest.skip("the caller has all capabilities")
    asked = {name: [*SOME, lacking[0]] for name in ("bounding", "effective", "permitted")}
    found = sets_of(box.start(box.config(process={"capabilities": asked})).pid)
    assert found["permitted"] & mask(SOME) == mask(SOME)
    places = ", ".join(f"/process/capabilities/{name}/{len(SOME)}" for name in asked)
    (warning,) = box.warnings
    assert warning.endswith(f"capability {lacking[0]} is left out: the caller does not have it ({places})")


# A caller whose bounding set lacks CAP_KILL, and one that is permitted what its bounding set lacks.
BOUNDED = "import ctypes; ctypes.CDLL(None).prctl(24, 5, 0, 0, 0)\n"
KEPT = """
import ctypes
call = ctypes.CDLL(None).capset
data = (ctypes.c_uint32 * 6)(0xffffffff, 0xffffffff, 1 << 5, 0xffffffff, 0xffffffff, 0)
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
old = (ctypes.c_uint32 * 6)()
ctypes.CDLL(None).capget(header, old)
data[0] = data[1] = old[1]
data[3] = data[4] = old[4]
assert call(header, data) == 0
"""
"""Makes CAP_KILL inheritable, so that execve(2) leaves it permitted to root in spite of the bounding set."""


@pytest.mark.parametrize("kept", [False, True])
def test_capabilities_outside_of_the_callers_bounding_set(box: Box, kept: bool) -> None:
    names = dict.fromkeys(SETS.values(), SOME)
    config = box.config(process={"capabilities": names})
    log = box.place / "log"
    options = ("--log", str(log), "--log-format", "json")
    done = command_line(
        box, *options, "create", "box", before=(KEPT if kept else "") + BOUNDED, config=config
    )
    assert done.returncode == 0
    assert command_line(box, "start", "box", before=(KEPT if kept else "") + BOUNDED).returncode == 0
    found = sets_of(box.runtime.get("box").pid)
    without = mask([name for name in SOME if name != "CAP_KILL"])
    (line,) = log.read_text().splitlines()
    said = json.loads(line)
    assert said["level"] == "warning"
    assert (
        "capability CAP_KILL is left out: the caller does not have it (/process/capabilities/bounding/1"
        in said["msg"]
    )
    assert found["bounding"] == without
    assert found["inheritable"] == (mask(SOME) if kept else without)


def test_names_that_are_not_known_reach_the_log(box: Box) -> None:
    config = box.config(process={"capabilities": {"bounding": ["CAP_KILL", "CAP_DREAM", "NET_RAW"]}})
    log = box.place / "log"
    assert command_line(box, "--log", str(log), "create", "box", config=config).returncode == 0
    first, second = log.read_text().splitlines()
    assert "capability 'CAP_DREAM' is left out: no capability of this name is known" in first
    assert "(/process/capabilities/bounding/1)" in first
    assert "capability 'NET_RAW' is left out" in second


@pytest.mark.parametrize("uid", [0, 1234])
@pytest.mark.parametrize("groups", [[], [5, 6, 4000000000]])
def test_groups_are_exactly_the_configs(box: Box, uid: int, groups: list[int]) -> None:
    config = box.config(process={"user": {"uid": uid, "gid": 77, "additionalGids": groups}})
    command_line(box, "create", "box", before="os.setgroups([8, 9])", config=config)
    command_line(box, "start", "box")
    found = status_of(box.runtime.get("box").pid)
    assert found["Groups"].split() == [str(group) for group in groups]
    assert found["Uid"].split() == [str(uid)] * 4
    assert found["Gid"].split() == ["77"] * 4


@pytest.mark.parametrize("wanted", [False, True])
def test_no_new_privileges(box: Box, wanted: bool) -> None:
    config = box.config(process={"noNewPrivileges": wanted})
    assert status_of(box.start(config).pid)["NoNewPrivs"] == str(int(wanted))


def limits_of(pid: int) -> dict[str, tuple[str, str]]:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]
    return {line[:26].strip(): (line[26:47].strip(), line[47:68].strip()) for line in lines}


def test_limits(box: Box) -> None:
    limits = [
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        {"type": "RLIMIT_STACK", "soft": 1 << 20, "hard": (1 << 64) - 1},
        {"type": "RLIMIT_FSIZE", "soft": 1 << 40, "hard": 1 << 41},
    ]
    found = limits_of(box.start(box.config(process={"rlimits": limits})).pid)
    assert found["Max open files"] == ("100", "200")
    assert found["Max core file size"] == ("0", "0")
    assert found["Max stack size"] == (str(1 << 20), "unlimited")
    assert found["Max file size"] == (str(1 << 40), str(1 << 41))


def test_a_limit_that_leaves_no_room_for_descriptors(box: Box) -> None:
    limits = [{"type": "RLIMIT_NOFILE", "soft": 3, "hard": 3}]
    assert limits_of(box.start(box.config(process={"rlimits": limits})).pid)["Max open files"] == ("3", "3")


def test_other_limits_are_the_callers(box: Box) -> None:
    pid = box.start().pid
    for number in range(16):
        assert resource.prlimit(pid, number) == resource.getrlimit(number)


def test_raising_a_hard_limit_without_the_privilege(box: Box) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_MSGQUEUE)
    effective, _, _ = capget()
    if effective >> NUMBER["CAP_SYS_RESOURCE"] & 1 or hard == resource.RLIM_INFINITY:
        pytest.skip("the caller may raise its limits")
    limits = [{"type": "RLIMIT_MSGQUEUE", "soft": soft, "hard": hard + 1}]
    with pytest.raises(orlop.StepError, match="cannot raise the hard limit of RLIMIT_MSGQUEUE") as caught:
        box.create(box.config(process={"rlimits": limits}))
    assert "CAP_SYS_RESOURCE" in caught.value.hint
    assert (caught.value.pointer, caught.value.value) == ("/process/rlimits/0/hard", hard + 1)
    assert box.left() == []


def test_more_files_than_the_host_lets_any_process_have(box: Box) -> None:
    most = int(Path("/proc/sys/fs/nr_open").read_text())
    for hard in (most + 1, (1 << 64) - 1):
        limits = [
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            {"type": "RLIMIT_NOFILE", "soft": 9, "hard": hard},
        ]
        with pytest.raises(orlop.StepError, match="cannot raise the hard limit of RLIMIT_NOFILE") as caught:
            box.create(box.config(process={"rlimits": limits}))
        assert caught.value.pointer == "/process/rlimits/1/hard"
        assert f"more than {most} files" in caught.value.hint
        assert box.left() == []


def test_soft_limit_above_the_hard_one(box: Box) -> None:
    limits = [{"type": "RLIMIT_NOFILE", "soft": 300, "hard": 200}]
    with pytest.raises(orlop.OrlopError) as caught:
        box.create(box.config(process={"rlimits": limits}))
    assert caught.value.pointer.startswith("/process/rlimits")
    assert box.left() == []


@pytest.mark.parametrize("score", [0, 500, 1000])
def test_oom_score(box: Box, score: int) -> None:
    pid = box.start(box.config(process={"oomScoreAdj": score})).pid
    assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) == score


def test_an_oom_score_that_may_not_be_lowered(box: Box) -> None:
    """The specification demands the value, so a container with another one is not made."""
    effective, _, _ = capget()
    if effective >> NUMBER["CAP_SYS_RESOURCE"] & 1:
        pytest.skip("the caller may lower scores")
    with pytest.raises(
        orlop.StepError, match="cannot set the OOM score to -500: permission denied"
    ) as caught:
        box.create(box.config(process={"oomScoreAdj": -500}))
    assert (caught.value.pointer, caught.value.errno) == ("/process/oomScoreAdj", errno.EACCES)
    assert caught.value.hint == "lowering it needs CAP_SYS_RESOURCE"
    assert box.left() == []


def test_ambient_capabilities_that_cannot_be_raised_are_left_out_with_a_warning(box: Box) -> None:
    sets = {"permitted": SOME[:3], "inheritable": SOME[:1], "ambient": SOME[:3]}
    found = sets_of(box.start(box.config(process={"capabilities": sets})).pid)
    assert found["ambient"] == mask(SOME[:1])
    (warning,) = box.warnings
    places = "/process/capabilities/ambient/1, /process/capabilities/ambient/2"
    named = f"capabilities {SOME[1]}, {SOME[2]} are left out: they are"
    assert warning.endswith(f"{named} not both permitted and inheritable ({places})")


@pytest.mark.parametrize(
    ("user", "place", "number"),
    [
        ({"uid": 70_000, "gid": 0}, "uid", 70_000),
        ({"uid": 0, "gid": 65_536}, "gid", 65_536),
        ({"uid": 1, "gid": 1, "additionalGids": [5, 4_000_000_000]}, "additionalGids/1", 4_000_000_000),
    ],
)
def test_ids_that_a_joined_user_namespace_does_not_map(
    box: Box, user: dict[str, Any], place: str, number: int
) -> None:
    maps = [{"containerID": 0, "hostID": 100_000, "size": 65_536}]
    spaces = [{"type": kind} for kind in ("user", *NAMESPACES)]
    first = box.start(
        box.config(linux={"namespaces": spaces, "uidMappings": maps, "gidMappings": maps}), "first"
    )
    joined = [{"type": "user", "path": f"/proc/{first.pid}/ns/user"}, *spaces[1:]]
    with pytest.raises(orlop.StepError, match="the id is not mapped") as caught:
        box.create(box.config(process={"user": user}, linux={"namespaces": joined}))
    assert (caught.value.pointer, caught.value.value) == (f"/process/user/{place}", number)
    user = {"uid": 65_535, "gid": 65_535, "additionalGids": [1]}
    box.create(box.config(process={"user": user}, linux={"namespaces": joined})).start()
    assert status_of(box.runtime.get("box").pid)["Uid"].split()[0] == "165535"


def test_identity_is_that_of_the_program_before_it_starts_too(box: Box) -> None:
    """The waiting child keeps root: nobody but root may trace it or look into it."""
    made = box.create(box.config(process={"user": {"uid": 1000, "gid": 1000}}))
    assert status_of(made.pid)["Uid"].split()[0] == "0"
    for name in ("environ", "fd", "exe"):
        assert os.lstat(f"/proc/{made.pid}/{name}").st_uid == 0


def test_ids_in_the_program(box: Box) -> None:
    config = box.config("busybox", "id", process={"user": {"uid": 3, "gid": 4, "additionalGids": [5]}})
    assert box.run(config).output.split() == ["uid=3", "gid=4", "groups=5"]


def test_output_can_be_reopened_by_its_user(box: Box) -> None:
    read, write = os.pipe2(os.O_CLOEXEC)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        config = box.script("echo again >/proc/self/fd/1", process={"user": {"uid": 9, "gid": 9}})
        made = box.start(config, stdio=(null, write, null))
        made.wait(PATIENCE)
        os.set_blocking(read, False)
        assert os.read(read, 100) == b"again\n"
        assert os.fstat(null).st_uid != 9
    finally:
        for fd in (read, write, null):
            os.close(fd)
