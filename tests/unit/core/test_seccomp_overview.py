"""A seccomp profile as a whole, on hosts that lack something."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import orlop
from orlop import aio
from orlop.documents.codec import decode
from orlop.engine.overview import overview
from orlop_fake import FakeKernel, FakePlatform, machine_of
from orlop_hookspecs.availability import Answer, Capability
from orlop_hookspecs.documents.seccomp import Seccomp
from orlop_hookspecs.errors import ConfigError, DocumentError, UsageError


def profile(**changes: Any) -> Seccomp:
    return decode({"defaultAction": "SCMP_ACT_ALLOW"} | changes, Seccomp)


def without(*names: str) -> Any:
    def examine(asked: Sequence[Capability]) -> Mapping[str, Answer]:
        no = Answer(available=False, reason="it is too old", remedy="use a newer kernel")
        return {one.name: no if one.name in names else Answer(available=True) for one in asked}

    return examine


def test_flags_and_actions_that_the_host_lacks_are_named_where_they_stand() -> None:
    wanted = profile(
        flags=["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        listenerPath="/run/agent",
        syscalls=[
            {"names": ["read"], "action": "SCMP_ACT_LOG"},
            {"names": ["mount"], "action": "SCMP_ACT_NOTIFY"},
        ],
    )
    examine = without(
        "seccomp.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "seccomp.SCMP_ACT_NOTIFY", "seccomp.SCMP_ACT_TRAP"
    )
    found = overview(wanted, FakeKernel().call_table, examine)
    assert {(one.pointer, one.value) for one in found.lacking} == {
        ("/linux/seccomp/flags/1", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"),
        ("/linux/seccomp/syscalls/1/action", "SCMP_ACT_NOTIFY"),
    }
    assert (
        "lacking /linux/seccomp/flags/1: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: it is too old"
        in found.as_text()
    )
    assert overview(wanted, FakeKernel().call_table, without()).lacking == ()
    assert overview(wanted, FakeKernel().call_table, None).lacking == ()


def test_a_profile_without_rules_names_no_newest_call() -> None:
    (one,) = overview(profile(), FakeKernel().call_table, None).architectures
    assert (one.name, one.newest, one.number) == ("SCMP_ARCH_X86_64", "", -1)


def test_a_host_that_knows_no_system_calls_at_all_says_nothing_of_them() -> None:
    found = overview(profile(syscalls=[{"names": ["read"], "action": "SCMP_ACT_LOG"}]), lambda *_: None, None)
    assert found.architectures == ()
    assert [one.kind for one in found.places] == ["unresolvable"]


ASKED: dict[str, Any] = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "flags": ["SECCOMP_FILTER_FLAG_LOG"],
    "syscalls": [
        {
            "names": ["socket"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": 22,
            "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_EQ"}],
        },
        {"names": ["socket", "no_such_call"], "action": "SCMP_ACT_ALLOW"},
    ],
}
WHOLE: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "root": {"path": "rootfs"},
    "linux": {"namespaces": [], "seccomp": ASKED},
}


@pytest.fixture
def runtime() -> orlop.Runtime:
    return orlop.Runtime.compose("fake")


def test_a_program_asks_which_rule_decides(runtime: orlop.Runtime, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(WHOLE))
    for source in (ASKED, WHOLE, json.dumps(WHOLE).encode(), tmp_path, decode(ASKED, Seccomp)):
        found = runtime.explain_call(source, "socket", 40)
        assert (found.call, found.number, found.arguments) == ("socket", 41, (40,))
        (outcome,) = found.outcomes
        assert (outcome.action, outcome.errno, outcome.rule) == (
            "SCMP_ACT_ERRNO",
            22,
            "/linux/seccomp/syscalls/0",
        )
        assert [one.value for one in runtime.explain_profile(source).places] == ["no_such_call"]
    assert [one.action for one in runtime.explain_call(ASKED, "socket").outcomes] == [
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_ALLOW",
    ]
    assert runtime.explain_call(ASKED, 41, None, 1).arguments == (None, 1)


def test_a_program_is_told_what_this_host_lacks() -> None:
    runtime = orlop.Runtime.compose(FakePlatform(machine_of("no-seccomp")))
    assert [one.value for one in runtime.explain_profile(ASKED).lacking] != []


def test_what_cannot_be_asked_is_refused(runtime: orlop.Runtime) -> None:
    with pytest.raises(ConfigError, match="the config has no seccomp profile"):
        runtime.explain_profile({"ociVersion": "1.3.0"})
    with pytest.raises(DocumentError):
        runtime.explain_profile({"defaultAction": 7})
    with pytest.raises(UsageError, match="no system call of this name"):
        runtime.explain_call(ASKED, "no_such_call")
    with pytest.raises(UsageError, match="no architecture of this name"):
        runtime.explain_call(ASKED, "read", architecture="vax")
    with pytest.raises(UsageError, match="64 bits"):
        runtime.explain_call(ASKED, "read", 1 << 64)


def test_the_same_for_asyncio() -> None:
    async def ask() -> tuple[str, int, bool]:
        async with await aio.Runtime.compose("fake") as runtime:
            call = await runtime.explain_call(ASKED, "socket", 40)
            overview = await runtime.explain_profile(ASKED)
            examined = await runtime.examine(["seccomp"])
            return call.outcomes[0].action, overview.rules, examined.diagnoses[0].usable

    assert asyncio.run(ask()) == ("SCMP_ACT_ERRNO", 2, True)


def test_both_runtimes_have_the_same_methods() -> None:
    def public(of: type) -> set[str]:
        return {name for name in dir(of) if not name.startswith("_")}

    only_here = {"composition", "features_provenance", "inactive", "kernel", "platform", "plugins", "site"}
    assert public(orlop.Runtime) - only_here == public(aio.Runtime)
    assert public(orlop.Container) - {"config", "record", "bundle", "pid", "status"} == public(aio.Container)
