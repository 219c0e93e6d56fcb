"""Filters of a user without privileges, with and without an agent."""

from __future__ import annotations

import platform
from typing import Any

import pytest
from tests.linux.child.agents import Agent, Call
from tests.linux.rootless.plain import Plain

if platform.machine() != "x86_64":
    pytest.skip("the numbers below are those of x86_64", allow_module_level=True)

MKDIR = 83


def filtered(plain: Plain, *, late: bool, **section: Any) -> dict[str, Any]:
    made = plain.script("busybox mkdir /tmp/made 2>&1; busybox id -u")
    made["process"]["noNewPrivileges"] = late
    made["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", **section}
    return made


@pytest.mark.parametrize("late", [True, False])
def test_a_filter_of_a_plain_user(plain: Plain, late: bool) -> None:
    rule = {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77}
    shown = plain.output_of(filtered(plain, late=late, syscalls=[rule]))
    assert shown == ["mkdir: can't create directory '/tmp/made': File descriptor in bad state", "0"]


@pytest.mark.parametrize("late", [True, False])
def test_an_agent_of_a_plain_user(plain: Plain, late: bool) -> None:
    """Nothing needs the right to trace the container process, which is not to be traced."""

    def decide(call: Call) -> int:
        return 77 if call.number == MKDIR else 0

    path = plain.place / "agent.sock"
    rule = {"names": ["mkdir", "write", "sendmsg", "close"], "action": "SCMP_ACT_NOTIFY"}
    with Agent(path, decide) as agent:
        path.chmod(0o777)
        config = filtered(plain, late=late, syscalls=[rule], listenerPath=str(path))
        shown = plain.output_of(config)
    assert shown == ["mkdir: can't create directory '/tmp/made': File descriptor in bad state", "0"]
    assert len(agent.states) == 1
    assert MKDIR in {call.number for call in agent.calls}


def test_an_agent_that_the_user_may_not_ask(plain: Plain) -> None:
    path = plain.place / "agent.sock"
    with Agent(path):
        path.chmod(0o600)
        rule = {"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}
        config = filtered(plain, late=True, syscalls=[rule], listenerPath=str(path))
        plain.refuses(config, "/linux/seccomp/listenerPath", "permission denied")
