"""Seccomp agents of the fake kernel."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from tests.unit.fake.planned import IMAGE, Container, base, machine, made

from orlop_fake import AgentCall, Task
from orlop_hookspecs import steps
from orlop_hookspecs.errors import StepError

PATH = "/run/agent.sock"


def loading(*names: str, action: str = "SCMP_ACT_ALLOW", path: str = PATH) -> steps.Step:
    rule = {"names": names, "action": "SCMP_ACT_NOTIFY", "errno": None, "args": ()}
    return made(steps.LoadSeccomp, default_action=action, syscalls=(rule,), listener_path=path)


def program(p: Task) -> None:
    for name in ("one", "two"):
        try:
            p.mkdir(f"/tmp/{name}")
        except OSError as error:
            p.write(f"{error.errno} ")
        else:
            p.write("made ")


def container(*filters: steps.Step, **kernel: Any) -> Container:
    box = machine(**kernel)
    box.add_files({f"{IMAGE}/bin/program": program, f"{IMAGE}/tmp": {}})
    box.agents[PATH] = lambda _: None
    return Container(box, base(*filters, args=("/bin/program",)))


def test_an_agent_decides_call_by_call() -> None:
    one = container(loading("mkdirat", "write"))
    calls: list[AgentCall] = []

    def agent(call: AgentCall) -> int | None:
        calls.append(call)
        return errno.EXDEV if len(calls) == 1 else None

    one.kernel.agents[PATH] = agent
    one.create().start()
    assert one.kernel.output("one") == f"{errno.EXDEV} made "
    assert [call.name for call in calls] == ["mkdirat", "write", "mkdirat", "write"]
    assert calls[1].args == (1,)
    assert {call.pid for call in calls} == {one.record.pid}
    assert {call.state["pid"] for call in calls} == {one.record.pid}
    assert [state["fds"] for state in one.kernel.agent_states] == [["seccompFd"]]
    assert "metadata" not in one.kernel.agent_states[0]


def test_calls_after_the_death_of_an_agent_are_not_implemented() -> None:
    one = container(loading("mkdirat"))

    def dies(_: AgentCall) -> None:
        del one.kernel.agents[PATH]

    one.kernel.agents[PATH] = dies
    one.create().start()
    assert one.kernel.output("one") == f"made {errno.ENOSYS} "


@pytest.mark.parametrize(("path", "number"), [("/run/none", errno.ENOENT), ("/etc", errno.ECONNREFUSED)])
def test_an_absent_agent_is_an_error_before_anything_is_touched(path: str, number: int) -> None:
    with pytest.raises(StepError, match="seccomp agent") as caught:
        container(loading("mkdirat", path=path))
    assert (caught.value.errno, caught.value.path) == (number, path)


def test_a_second_listener_is_busy() -> None:
    """A process has at most one (seccomp(2), EBUSY)."""
    one = container(loading("mkdirat"), loading("write")).create()
    with pytest.raises(StepError) as caught:
        one.start()
    assert caught.value.errno == errno.EBUSY
    assert one.kernel.status(one.record) == "stopped"


@pytest.mark.parametrize(
    "fields",
    [
        {"default_action": "SCMP_ACT_DREAM"},
        {"default_action": "SCMP_ACT_ALLOW", "flags": ("DREAM",)},
        {"default_action": "SCMP_ACT_ALLOW", "architectures": ("DREAM",)},
    ],
)
def test_a_filter_that_cannot_be_compiled_is_an_error_before_anything_is_touched(
    fields: dict[str, Any],
) -> None:
    with pytest.raises(StepError) as caught:
        container(made(steps.LoadSeccomp, **fields))
    assert caught.value.errno == errno.EINVAL
    assert caught.value.plugin == "test"
