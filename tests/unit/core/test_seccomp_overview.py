"""A seccomp profile as a whole, on hosts that lack something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orlop.documents.codec import decode
from orlop.engine.overview import overview
from orlop_fake import FakeKernel
from orlop_hookspecs.availability import Answer, Capability
from orlop_hookspecs.documents.seccomp import Seccomp


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
