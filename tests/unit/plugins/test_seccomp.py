"""Plugin seccomp."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.plugins.support import call, config, context, pointers, steps

from orlop_hookspecs.documents import vocabulary
from orlop_hookspecs.steps import LoadSeccomp
from orlop_linux.plugins import seccomp


def with_seccomp(*, no_new_privileges: bool = True, **changes: Any) -> Any:
    wanted = {"defaultAction": "SCMP_ACT_ALLOW", **changes}
    return config(linux={"seccomp": wanted}, process={"noNewPrivileges": no_new_privileges})


def rule(action: str = "SCMP_ACT_ERRNO", **changes: Any) -> dict[str, Any]:
    return {"names": ["read"], "action": action, **changes}


AGENT: dict[str, Any] = {"listenerPath": "/run/agent.sock"}


def test_a_filter() -> None:
    wanted = with_seccomp(
        defaultAction="SCMP_ACT_ERRNO",
        defaultErrnoRet=38,
        architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"],
        flags=["SECCOMP_FILTER_FLAG_LOG"],
        syscalls=[
            rule("SCMP_ACT_ALLOW", names=["read", "no_such_call"]),
            rule(
                errnoRet=1,
                args=[
                    {"index": 5, "value": (1 << 64) - 1, "valueTwo": 7, "op": "SCMP_CMP_MASKED_EQ"},
                    {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
                ],
            ),
        ],
    )
    assert steps("seccomp", wanted) == [
        LoadSeccomp(
            because="/linux/seccomp",
            default_action="SCMP_ACT_ERRNO",
            default_errno=38,
            architectures=("SCMP_ARCH_X86_64", "SCMP_ARCH_X32"),
            flags=("SECCOMP_FILTER_FLAG_LOG",),
            syscalls=(
                {"names": ("read", "no_such_call"), "action": "SCMP_ACT_ALLOW", "errno": None, "args": ()},
                {
                    "names": ("read",),
                    "action": "SCMP_ACT_ERRNO",
                    "errno": 1,
                    "args": (
                        {"index": 5, "value": (1 << 64) - 1, "value_two": 7, "op": "SCMP_CMP_MASKED_EQ"},
                        {"index": 0, "value": 1, "value_two": 0, "op": "SCMP_CMP_EQ"},
                    ),
                },
            ),
        )
    ]


def test_without_no_new_privileges_the_filter_is_loaded_early() -> None:
    (late,) = steps("seccomp", with_seccomp())
    (early,) = steps("seccomp", with_seccomp(no_new_privileges=False))
    assert (late.slot, early.slot) == ("filter-late", "filter-early")
    assert steps("seccomp", config()) == []


def test_words_are_the_specifications() -> None:
    assert set(vocabulary.SECCOMP_ACTIONS) == seccomp.ACTIONS
    assert set(vocabulary.SECCOMP_OPERATORS) == seccomp.OPERATORS
    assert set(vocabulary.SECCOMP_FLAGS) == seccomp.FLAGS
    assert set(vocabulary.SECCOMP_ARCHITECTURES) == seccomp.ARCHITECTURES
    features = call("seccomp", "orlop_features")
    assert features["linux.seccomp.enabled"] is True
    assert set(features["linux.seccomp.knownFlags"]) == seccomp.FLAGS


@pytest.mark.parametrize("action", sorted(seccomp.ACTIONS))
def test_only_two_actions_return_an_errno(action: str) -> None:
    largest = {"SCMP_ACT_ERRNO": 4095, "SCMP_ACT_TRACE": 65535}.get(action)
    pointer = "/linux/seccomp/defaultErrnoRet"
    assert pointers("seccomp", with_seccomp(defaultAction=action, **AGENT)) == []
    expected = [pointer] if largest is None else []
    assert pointers("seccomp", with_seccomp(defaultAction=action, defaultErrnoRet=1, **AGENT)) == expected
    assert pointers("seccomp", with_seccomp(syscalls=[rule(action, errnoRet=0)], **AGENT)) == [
        "/linux/seccomp/syscalls/0/errnoRet" for _ in expected
    ]
    if largest is not None:
        assert pointers("seccomp", with_seccomp(defaultAction=action, defaultErrnoRet=largest)) == []
        assert pointers("seccomp", with_seccomp(defaultAction=action, defaultErrnoRet=largest + 1)) == [
            pointer
        ]


def test_filters_that_cannot_be() -> None:
    argument = {"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}
    wanted = with_seccomp(syscalls=[rule(names=["read", ""]), rule(args=[argument])])
    assert pointers("seccomp", wanted) == [
        "/linux/seccomp/syscalls/0/names/1",
        "/linux/seccomp/syscalls/1/args/0/index",
    ]


@pytest.mark.parametrize(
    "used", [{"defaultAction": "SCMP_ACT_NOTIFY"}, {"syscalls": [rule(), rule("SCMP_ACT_NOTIFY")]}]
)
def test_the_listener(used: dict[str, Any]) -> None:
    (made,) = steps("seccomp", with_seccomp(**used, **AGENT, listenerMetadata="m"))
    assert isinstance(made, LoadSeccomp)
    assert (made.listener_path, made.listener_metadata) == ("/run/agent.sock", "m")
    for path in (None, "", "agent.sock", "@abstract"):
        listener: dict[str, Any] = {} if path is None else {"listenerPath": path}
        wanted = with_seccomp(**used, **listener)
        assert pointers("seccomp", wanted) == ["/linux/seccomp/listenerPath"], path


def test_the_listener_is_ignored_while_nobody_notifies() -> None:
    assert steps("seccomp", with_seccomp(listenerPath="/run/x", listenerMetadata="m")) == steps(
        "seccomp", with_seccomp()
    )
    assert pointers("seccomp", with_seccomp(listenerMetadata="m")) == ["/linux/seccomp/listenerMetadata"]


def test_names_that_nobody_knows_are_remarked_on() -> None:
    wanted = with_seccomp(syscalls=[rule(), rule(names=["socketcall", "opennat", "zzzzzz", "s390_sthyi"])])
    found = call("seccomp", "orlop_remark", config=wanted, context=context())
    assert [(one.pointer, one.value, one.hint) for one in found] == [
        ("/linux/seccomp/syscalls/1/names/1", "opennat", "did you mean openat?"),
        ("/linux/seccomp/syscalls/1/names/2", "zzzzzz", ""),
    ]
    assert pointers("seccomp", wanted) == []
    assert list(call("seccomp", "orlop_remark", config=config(), context=context())) == []
